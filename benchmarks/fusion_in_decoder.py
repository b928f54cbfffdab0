"""Tokens per second, cache and memory of Fusion-in-Decoder, with its economies and without.

    python benchmarks/fusion_in_decoder.py --output benchmarks/results/fusion_in_decoder-cpu.json
    python benchmarks/fusion_in_decoder.py --table benchmarks/results/fusion_in_decoder-cpu.json

One random model reads the same questions with many passages each, in every way that
``fusion_tables.py`` names.  ``fusion_measurement.py`` says how, and what the JSON holds.
"""

from pathlib import Path
from typing import Any

import click
from fusion_tables import BASELINE, ROWS, markdown, print_tables
from result_files import (
    NamesType,
    OneLineError,
    require_output_folder,
    result_options,
    show,
    typed_command,
    write_table,
)

DEFAULT_SETTINGS = ("6,6,512,8", "3,6,256,4")
SMALLEST_VOCABULARY = 10
INTERVAL = 3
COUNT = click.IntRange(min=1)


class SettingType(click.ParamType):
    """``ENCODER,DECODER,WIDTH,HEADS``, the first two of which are layers."""

    name = "ENCODER,DECODER,WIDTH,HEADS"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int, int, int]:
        """Parse the four numbers."""
        try:
            encoder, decoder, width, heads = map(int, value.split(","))
        except ValueError:
            encoder, decoder, width, heads = 0, 0, 0, 0
        if min(encoder, decoder, width, heads) < 1 or width % heads:
            raise OneLineError(
                "--setting must be ENCODER,DECODER,WIDTH,HEADS, layers of either side and a WIDTH "
                f"that is a multiple of HEADS, but is {value!r}"
            )
        return encoder, decoder, width, heads


@click.command()
@click.option(
    "--setting",
    "settings",
    type=SettingType(),
    multiple=True,
    default=DEFAULT_SETTINGS,
    show_default=True,
    help="Sizes of the model; may be given several times.",
)
@click.option(
    "--vocabulary",
    type=click.IntRange(min=SMALLEST_VOCABULARY),
    default=32000,
    show_default=True,
    help="Symbols of the model.",
)
@click.option("--n-context", type=COUNT, default=20, show_default=True, help="Passages a question.")
@click.option(
    "--passage-tokens",
    type=click.IntRange(min=2),
    default=200,
    show_default=True,
    help="Tokens of a question with one passage.",
)
@click.option(
    "--passages-at-once",
    type=COUNT,
    default=4,
    show_default=True,
    help="Of the encoder that works in parts.",
)
@click.option("--questions", type=COUNT, default=2, show_default=True, help="At a time.")
@click.option(
    "--beam",
    "beams",
    type=COUNT,
    multiple=True,
    default=(1, 4),
    show_default=True,
    help="Hypotheses; may be given several times.",
)
@click.option(
    "--length",
    type=click.IntRange(min=2),
    default=32,
    show_default=True,
    help="Tokens of an answer, its end included.",
)
@click.option(
    "--repeats",
    type=COUNT,
    default=3,
    show_default=True,
    help="Rounds, each with every row once.",
)
@click.option("--threads", type=COUNT, default=1, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--rows",
    "names",
    type=NamesType(ROWS, always=BASELINE),
    default=",".join(ROWS),
    help=f"Which to measure, of {', '.join(ROWS)}; {BASELINE} always is.  [default: all]",
)
@result_options
def main(
    tables: tuple[Path, ...], readme: Path, output: Path | None, as_json: bool, **choices: Any
) -> None:
    """Compare ways to read many passages, from encoding them to the last token of an answer."""
    if tables:
        write_table(tables, readme, "fusion-in-decoder", markdown)
        return
    require_output_folder(output)
    results = measure(typed_command("fusion_in_decoder.py"), **choices)
    show(results, output, as_json, print_tables)


def measure(command: str, **choices: Any) -> dict[str, Any]:
    """Compare the rows; what makes that impossible is shown as one line."""
    sparse = [name for name in choices["names"] if f"interval_{INTERVAL}" in name]
    for _, layers, *_ in choices["settings"]:
        if sparse and layers < INTERVAL:
            raise OneLineError(
                f"--rows {','.join(sparse)} need {INTERVAL} layers of the decoder at least, but "
                f"--setting has {layers}"
            )
    # Imported here so that a mistake on the command line is reported at once, without torch.
    from fusion_measurement import compare
    from loss_comparison import NoResultError

    try:
        return compare(command, **choices)
    except NoResultError as error:
        raise OneLineError(str(error)) from error


if __name__ == "__main__":
    main()
