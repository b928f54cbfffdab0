"""Time and peak memory of the token losses against fairseq's ``cross_entropy``.

    python benchmarks/losses.py --output benchmarks/results/losses-cpu.json
    python benchmarks/losses.py --table benchmarks/results/losses-cpu.json

What is measured is the loss alone: from logits to the loss, and back to the gradient of the logits.
``loss_measurement.py`` says how, and ``loss_comparison.py`` what the JSON holds.
"""

from pathlib import Path
from typing import Any

import click
from loss_tables import BASELINE, LOSSES, markdown, print_tables
from result_files import (
    OneLineError,
    require_output_folder,
    result_options,
    show,
    typed_command,
    write_table,
)

DEFAULT_SHAPES = ("1,300,50257", "32,32,32000", "4,1024,50257")
SMALLEST_VOCABULARY = 8  # fairseq's four special symbols, and some words


class ShapeType(click.ParamType):
    """``B,T,V``."""

    name = "B,T,V"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int, int]:
        """Parse the three sizes."""
        try:
            B, T, V = (int(size) for size in value.split(","))
        except ValueError:
            B = T = V = 0
        if min(B, T) < 1 or V < SMALLEST_VOCABULARY:
            raise OneLineError(
                f"--shape must be B,T,V, three positive integers with V at least "
                f"{SMALLEST_VOCABULARY}, but is {value!r}"
            )
        return B, T, V


class LossesType(click.ParamType):
    """Names of losses, separated by commas."""

    name = "NAME,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """Return the names in the order of ``LOSSES``, the baseline always among them."""
        names = value.split(",")
        for name in names:
            if name not in LOSSES:
                raise OneLineError(f"--losses must be among {','.join(LOSSES)}, but has {name!r}")
        return tuple(name for name in LOSSES if name in {BASELINE, *names})


@click.command()
@click.option(
    "--shape",
    "shapes",
    type=ShapeType(),
    multiple=True,
    default=DEFAULT_SHAPES,
    show_default=True,
    help="Sizes of the logits; may be given several times.",
)
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=15,
    show_default=True,
    help="Rounds, each with every loss once.",
)
@click.option(
    "--dense-repeats",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Rounds in which the slow dense masks take part.",
)
@click.option(
    "--dense-limit-gib",
    type=float,
    default=12.0,
    show_default=True,
    help="Skip the dense masks where they would need more memory (GiB).",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: torch's own]")
@click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="Of the logits.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--losses",
    "names",
    type=LossesType(),
    default=",".join(LOSSES),
    show_default=True,
    help=f"Which to measure; {BASELINE} always is.",
)
@result_options
def main(
    tables: tuple[Path, ...], readme: Path, output: Path | None, as_json: bool, **settings: Any
) -> None:
    """Compare the time and peak memory of token losses, forward and backward."""
    if tables:
        write_table(tables, readme, "losses", markdown)
        return
    require_output_folder(output)
    results = measure(typed_command("losses.py"), **settings)
    show(results, output, as_json, print_tables)


def measure(command: str, **settings: Any) -> dict[str, Any]:
    """Compare the losses; what makes that impossible is shown as one line."""
    # Imported here so that a mistake on the command line is reported at once, without torch.
    from loss_comparison import NoResultError, compare

    try:
        return compare(command, **settings)
    except NoResultError as error:
        raise OneLineError(str(error)) from error


if __name__ == "__main__":
    main()
