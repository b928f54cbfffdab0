"""How time and peak memory of projection and loss grow with length, vocabulary and batch.

    python benchmarks/growth.py --output benchmarks/results/growth-cpu.json
    python benchmarks/growth.py --table benchmarks/results/growth-cpu.json

What is measured at each point is what ``projection.py`` measures.  ``growth_curves.py`` describes
the JSON.
"""

from pathlib import Path
from typing import Any

import click
from growth_tables import CURVES, LOSSES, markdown, print_tables
from loss_options import SMALLEST_VOCABULARY, ShapeType, measurement_options
from result_files import (
    OneLineError,
    require_output_folder,
    result_options,
    show,
    typed_command,
    write_table,
)

DEFAULT_SHAPE = "8,128,256,16384"
DEFAULT_LENGTHS = "64,128,256,512,1024,2048"
DEFAULT_VOCABULARIES = "4096,8192,16384,32768,65536,131072,262144"
DEFAULT_BATCHES = "1,2,4,8,16,32,64"


class SizesType(click.ParamType):
    """Sizes in increasing order, separated by commas."""

    name = "N,..."

    def __init__(self, least: int = 1, dividing: bool = False):
        """Ask for sizes of at least so many, each dividing the last one if so told."""
        self.least, self.dividing = least, dividing

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """Parse the sizes."""
        try:
            sizes = tuple(map(int, value.split(",")))
        except ValueError:
            sizes = ()
        bad = not sizes or sizes[0] < self.least or list(sizes) != sorted(set(sizes))
        if bad or (self.dividing and any(sizes[-1] % size for size in sizes)):
            rest = ", each dividing the last" if self.dividing else ""
            raise OneLineError(
                f"{param.opts[0]} must be integers of at least {self.least} in increasing "
                f"order{rest}, but is {value!r}"
            )
        return sizes


@click.command()
@click.option(
    "--shape",
    type=ShapeType("B", "T", "D", "V"),
    default=DEFAULT_SHAPE,
    show_default=True,
    help="What stays the same where it does not vary.",
)
@click.option(
    "--lengths",
    type=SizesType(dividing=True),
    default=DEFAULT_LENGTHS,
    show_default=True,
    help="T; B is such that there are as many positions as the last of them.",
)
@click.option(
    "--vocabularies",
    type=SizesType(least=SMALLEST_VOCABULARY),
    default=DEFAULT_VOCABULARIES,
    show_default=True,
    help="V.",
)
@click.option("--batches", type=SizesType(), default=DEFAULT_BATCHES, show_default=True, help="B.")
@measurement_options(LOSSES, repeats=3, threads=1)
@result_options
def main(
    tables: tuple[Path, ...], readme: Path, output: Path | None, as_json: bool, **settings: Any
) -> None:
    """Measure how the cost of projection and loss grows, forward and backward."""
    if tables:
        write_table(tables, readme, "growth", markdown)
        return
    require_output_folder(output)
    results = measure(typed_command("growth.py"), **settings)
    show(results, output, as_json, print_tables)


def measure(
    command: str,
    lengths: tuple[int, ...],
    vocabularies: tuple[int, ...],
    batches: tuple[int, ...],
    **settings: Any,
) -> dict[str, Any]:
    """Measure the losses; what makes that impossible is shown as one line."""
    # Imported here so that a mistake on the command line is reported at once, without torch.
    from growth_curves import measure_growth
    from loss_comparison import NoResultError

    sizes = dict(zip(CURVES, (lengths, vocabularies, batches), strict=True))
    try:
        return measure_growth(command, sizes=sizes, **settings)
    except NoResultError as error:
        raise OneLineError(str(error)) from error


if __name__ == "__main__":
    main()
