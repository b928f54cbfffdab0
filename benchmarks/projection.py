"""Time and peak memory of output projection and loss against fairseq's ``cross_entropy``.

    python benchmarks/projection.py --output benchmarks/results/projection-cpu.json
    python benchmarks/projection.py --table benchmarks/results/projection-cpu.json

What is measured begins with the decoder's features: projection, loss, and back to the gradients of
the features and of the matrix.  ``--loss-chunk-size`` shows here, where the logits of a batch need
not exist.  ``loss_measurement.py`` says how, and ``loss_comparison.py`` what the JSON holds.
"""

from functools import partial
from pathlib import Path
from typing import Any

import click
from loss_options import ShapeType, dense_options, measurement_options
from projection_tables import PROJECTIONS, markdown, print_tables
from result_files import (
    OneLineError,
    require_output_folder,
    result_options,
    show,
    typed_command,
    write_table,
)

DEFAULT_SHAPES = ("4,1024,768,50257",)


@click.command()
@click.option(
    "--shape",
    "shapes",
    type=ShapeType("B", "T", "D", "V"),
    multiple=True,
    default=DEFAULT_SHAPES,
    show_default=True,
    help="Sizes of features and logits; may be given several times.",
)
@measurement_options(PROJECTIONS, repeats=3, threads=1)
@dense_options
@result_options
def main(
    tables: tuple[Path, ...], readme: Path, output: Path | None, as_json: bool, **settings: Any
) -> None:
    """Compare the time and peak memory of projection and loss, forward and backward.

    With --table, --losses chooses the rows.
    """
    if tables:
        write_table(tables, readme, "projection", partial(markdown, names=settings["names"]))
        return
    require_output_folder(output)
    results = measure(typed_command("projection.py"), **settings)
    show(results, output, as_json, print_tables)


def measure(command: str, **settings: Any) -> dict[str, Any]:
    """Compare the losses; what makes that impossible is shown as one line."""
    # Imported here so that a mistake on the command line is reported at once, without torch.
    from loss_comparison import NoResultError, compare
    from projection_columns import PROJECTED, require_agreement

    try:
        results = compare(command, PROJECTED, **settings)
        require_agreement(results["shapes"], results["dtype"])
    except NoResultError as error:
        raise OneLineError(str(error)) from error
    return results


if __name__ == "__main__":
    main()
