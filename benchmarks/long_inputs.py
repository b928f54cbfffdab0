"""Memory and time of reading long sources, by the way that attention is computed.

    python benchmarks/long_inputs.py --output benchmarks/results/long_inputs-cpu.json
    python benchmarks/long_inputs.py --table benchmarks/results/long_inputs-cpu.json

Every shape has as many tokens of source, in fewer and longer texts: memory that grows with the
tokens stays, memory that grows with their square does not.  ``long_input_measurement.py`` says how
it is measured, and what the JSON holds.
"""

from pathlib import Path
from typing import Any

import click
from long_input_tables import ROWS, markdown, print_tables
from result_files import (
    NamesType,
    OneLineError,
    require_output_folder,
    result_options,
    show,
    typed_command,
    write_table,
)

DEFAULT_SHAPES = ("8,512", "4,1024", "2,2048", "1,1024")
COUNT = click.IntRange(min=1)


class ShapeType(click.ParamType):
    """``B,S``: texts, and the tokens of each."""

    name = "B,S"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        """Parse the two numbers."""
        if not isinstance(value, str):
            return value
        try:
            texts, tokens = map(int, value.split(","))
        except ValueError:
            texts, tokens = 0, 0
        if texts < 1 or tokens < 8:
            raise OneLineError(
                f"--shape must be B,S, texts and at least 8 tokens of each, but is {value!r}"
            )
        return texts, tokens


@click.command()
@click.option(
    "--shape",
    "shapes",
    type=ShapeType(),
    multiple=True,
    default=DEFAULT_SHAPES,
    show_default=True,
    help="Texts and the tokens of each; may be given several times.",
)
@click.option("--layers", type=COUNT, default=3, show_default=True, help="Of either side.")
@click.option("--width", type=COUNT, default=256, show_default=True, help="A multiple of 64.")
@click.option("--length", type=click.IntRange(min=2), default=64, show_default=True, help="Target.")
@click.option("--vocabulary", type=click.IntRange(min=16), default=4000, show_default=True)
@click.option("--repeats", type=COUNT, default=3, show_default=True, help="Rounds of the times.")
@click.option("--threads", type=COUNT, default=1, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--rows",
    "names",
    type=NamesType(ROWS),
    default=",".join(ROWS),
    help=f"Which to measure, of {', '.join(ROWS)}.  [default: all]",
)
@result_options
def main(
    tables: tuple[Path, ...], readme: Path, output: Path | None, as_json: bool, **choices: Any
) -> None:
    """Compare ways to attend to long sources, in training and in decoding."""
    if tables:
        write_table(tables, readme, "long-inputs", markdown)
        return
    if choices["width"] % 64:
        raise OneLineError(f"--width must be a multiple of 64, but is {choices['width']}")
    require_output_folder(output)
    results = measure(typed_command("long_inputs.py"), **choices)
    show(results, output, as_json, print_tables)


def measure(command: str, **choices: Any) -> dict[str, Any]:
    """Compare the rows; what makes that impossible is shown as one line."""
    # Imported here so that a mistake on the command line is reported at once, without torch.
    from long_input_measurement import compare
    from loss_comparison import NoResultError

    try:
        return compare(command, **choices)
    except NoResultError as error:
        raise OneLineError(str(error)) from error


if __name__ == "__main__":
    main()
