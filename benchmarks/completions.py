"""Completions per second of ``genft evaluate-lm`` against transformers' ``generate``.

    python benchmarks/completions.py --output benchmarks/results/completions-cpu.json
    python benchmarks/completions.py --table benchmarks/results/completions-cpu.json

Both have the same random GPT-2 and complete the same prefixes, on the CPU.  The peak memory of
``genft evaluate-lm`` is measured as well, with few completions and with many.
``completion_measurement.py`` says how, and what the JSON holds.
"""

from pathlib import Path
from typing import Any

import click
from completion_tables import SEARCHES, markdown, print_tables
from result_files import (
    NamesType,
    OneLineError,
    require_output_folder,
    result_options,
    show,
    typed_command,
    write_table,
)

DEFAULT_SETTINGS = ("2,128,2", "6,384,6")
SMALLEST_VOCABULARY = 10  # twice the beam, which transformers keeps after every token
POSITIONS = 1024  # of GPT-2
COUNT = click.IntRange(min=1)


class SettingType(click.ParamType):
    """``LAYERS,WIDTH,HEADS``."""

    name = "LAYERS,WIDTH,HEADS"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int, int]:
        """Parse the three numbers."""
        try:
            layers, width, heads = map(int, value.split(","))
        except ValueError:
            layers, width, heads = 0, 0, 0
        if min(layers, width, heads) < 1 or width % heads:
            raise OneLineError(
                f"--setting must be LAYERS,WIDTH,HEADS, with WIDTH a multiple of HEADS, but is "
                f"{value!r}"
            )
        return layers, width, heads


class MemoryType(click.ParamType):
    """Numbers of completions, separated by commas."""

    name = "FEW,MANY"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """Parse two or more numbers, in increasing order."""
        try:
            numbers = tuple(map(int, value.split(",")))
        except ValueError:
            numbers = ()
        if len(numbers) < 2 or numbers[0] < 1 or list(numbers) != sorted(set(numbers)):
            raise OneLineError(
                f"--memory must be numbers of completions in increasing order, two at least, but "
                f"is {value!r}"
            )
        return numbers


@click.command()
@click.option(
    "--setting",
    "settings",
    type=SettingType(),
    multiple=True,
    default=DEFAULT_SETTINGS,
    show_default=True,
    help="Sizes of the model; may be given several times.  DistilGPT-2's are 6,768,12.",
)
@click.option(
    "--vocabulary",
    type=click.IntRange(min=SMALLEST_VOCABULARY),
    default=50257,
    show_default=True,
    help="Tokens of the model.",
)
@click.option("--batch-size", type=COUNT, default=32, show_default=True)
@click.option("--prefix-length", type=COUNT, default=50, show_default=True, help="Tokens read.")
@click.option("--length", type=COUNT, default=100, show_default=True, help="Tokens generated.")
@click.option(
    "--prefixes",
    type=COUNT,
    default=64,
    show_default=True,
    help="Completed in a round; slow searches complete one batch of them.",
)
@click.option(
    "--repeats",
    type=COUNT,
    default=5,
    show_default=True,
    help="Rounds, each with every search once.",
)
@click.option(
    "--slow-repeats",
    type=COUNT,
    default=2,
    show_default=True,
    help="Rounds in which all but greedy search take part.",
)
@click.option(
    "--memory",
    type=MemoryType(),
    default="64,1024",
    show_default=True,
    help="Numbers of completions whose peak memory is compared.",
)
@click.option("--threads", type=COUNT, default=1, show_default=True)
@click.option(
    "--searches",
    "names",
    type=NamesType(SEARCHES),
    default=",".join(SEARCHES),
    help=f"Which to measure, of {', '.join(SEARCHES)}.  [default: all]",
)
@result_options
def main(
    tables: tuple[Path, ...], readme: Path, output: Path | None, as_json: bool, **choices: Any
) -> None:
    """Compare the throughput of evaluate-lm with transformers' generate on the same GPT-2."""
    if tables:
        write_table(tables, readme, "completions", markdown)
        return
    require_output_folder(output)
    results = measure(typed_command("completions.py"), **choices)
    show(results, output, as_json, print_tables)


def measure(
    command: str, batch_size: int, prefix_length: int, length: int, **choices: Any
) -> dict[str, Any]:
    """Compare both; what makes that impossible is shown as one line."""
    if prefix_length + length > POSITIONS:
        raise OneLineError(
            f"--prefix-length {prefix_length} and --length {length} need {prefix_length + length} "
            f"positions, but GPT-2 has {POSITIONS}"
        )
    # Imported here so that a mistake on the command line is reported at once, without torch.
    from completion_measurement import compare
    from loss_comparison import NoResultError

    from genft_fairseq.errors import UserError

    try:
        return compare(command, shape=(batch_size, prefix_length, length), **choices)
    except (NoResultError, UserError) as error:
        raise OneLineError(str(error)) from error


if __name__ == "__main__":
    main()
