"""Time and peak memory of the token losses against fairseq's ``cross_entropy``.

    python benchmarks/losses.py --output benchmarks/results/losses-cpu.json
    python benchmarks/losses.py --table benchmarks/results/losses-cpu.json

What is measured is the loss alone: from logits to the loss, and back to the gradient of the logits.
``loss_measurement.py`` says how, and ``loss_comparison.py`` what the JSON holds.
"""

from pathlib import Path
from typing import Any

import click
from loss_options import ShapeType, dense_options, measurement_options
from loss_tables import LOSSES, markdown, print_tables
from result_files import (
    OneLineError,
    require_output_folder,
    result_options,
    show,
    typed_command,
    write_table,
)

DEFAULT_SHAPES = ("1,300,50257", "32,32,32000", "4,1024,50257")


@click.command()
@click.option(
    "--shape",
    "shapes",
    type=ShapeType("B", "T", "V"),
    multiple=True,
    default=DEFAULT_SHAPES,
    show_default=True,
    help="Sizes of the logits; may be given several times.",
)
@measurement_options(LOSSES, repeats=15)
@dense_options
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
    from loss_columns import LOGITS
    from loss_comparison import NoResultError, compare

    try:
        return compare(command, LOGITS, **settings)
    except NoResultError as error:
        raise OneLineError(str(error)) from error


if __name__ == "__main__":
    main()
