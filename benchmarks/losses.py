"""Time and peak memory of the token losses against fairseq's ``cross_entropy``.

    python benchmarks/losses.py --output benchmarks/results/losses-cpu.json
    python benchmarks/losses.py --table benchmarks/results/losses-cpu.json

What is measured is the loss alone: from logits to the loss, and back to the gradient of the logits.
``loss_measurement.py`` says how, and ``loss_comparison.py`` what the JSON holds.
"""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click
from loss_tables import BASELINE, LOSSES, markdown, print_tables
from rich.console import Console

from genft_fairseq.evaluation.records import replace_between_markers

DEFAULT_SHAPES = ("1,300,50257", "32,32,32000", "4,1024,50257")
SMALLEST_VOCABULARY = 8  # fairseq's four special symbols, and some words
REDIRECTED_WIDTH = 120  # characters, so that a log holds whole rows
README = Path(__file__).parent / "README.md"


class OneLineError(click.ClickException):
    """A mistake on the command line, shown as one line."""

    exit_code = 2


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
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
@click.option(
    "--table",
    "tables",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Measure nothing: render these JSON files into --readme.",
)
@click.option(
    "--readme",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=README,
    help="Where --table writes.  [default: benchmarks/README.md]",
)
def main(
    tables: tuple[Path, ...], readme: Path, output: Path | None, as_json: bool, **settings: Any
) -> None:
    """Compare the time and peak memory of token losses, forward and backward."""
    if tables:
        write_table(tables, readme)
        return
    if output is not None and not output.parent.is_dir():
        raise OneLineError(f"--output must lie in a folder that exists, but is {output}")
    command = shlex.join(["python", "benchmarks/losses.py", *sys.argv[1:]])
    results = measure(command, **settings)
    text = json.dumps(results, indent=2) + "\n"
    if output is not None:
        output.write_text(text, encoding="utf-8")
    if as_json:
        click.echo(text, nl=False)
    else:
        console = Console()
        if not console.is_terminal:
            console.width = REDIRECTED_WIDTH
        print_tables(results, console)


def write_table(tables: tuple[Path, ...], readme: Path) -> None:
    """Render results into the part of a README that lies between the markers."""
    try:
        table = markdown([json.loads(path.read_text(encoding="utf-8")) for path in tables])
    except (ValueError, KeyError, TypeError) as error:
        names = ", ".join(map(str, tables))
        raise OneLineError(f"--table {names} is not a JSON file of this script") from error
    try:
        text = replace_between_markers(readme.read_text(encoding="utf-8"), "losses", table)
    except ValueError as error:
        raise OneLineError(f"{readme}: {error}") from error
    readme.write_text(text, encoding="utf-8")


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
