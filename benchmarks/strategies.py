"""Time of an update on the model's own output against a teacher-forced update of the same batch.

    python benchmarks/strategies.py --output benchmarks/results/strategies-cpu.json
    python benchmarks/strategies.py --table benchmarks/results/strategies-cpu.json

What is timed is a whole update, forward, backward and Adam, by fairseq's tasks on fairseq's
Transformers.  ``strategy_measurement.py`` says how, and what the JSON holds.
"""

from pathlib import Path
from typing import Any

import click
from result_files import (
    NamesType,
    OneLineError,
    require_output_folder,
    result_options,
    show,
    typed_command,
    write_table,
)
from strategy_tables import BASELINE, KINDS, STRATEGIES, markdown, print_tables

DEFAULT_SETTINGS = (
    "translation,small,128,16",
    "translation,small,32,64",
    "language,small,14,150",
)
SIZES = ("tiny", "small", "base")
SHORTEST = 4  # target length: fewer tokens leave no prefix and completion


class SettingType(click.ParamType):
    """``KIND,SIZE,B,T``."""

    name = "KIND,SIZE,B,T"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str, int, int]:
        """Parse the two names and the two sizes."""
        try:
            kind, size, *shape = value.split(",")
            B, T = map(int, shape)
        except ValueError:
            kind, size, B, T = "", "", 0, 0
        if kind not in KINDS or size not in SIZES or B < 1 or T < SHORTEST:
            raise OneLineError(
                f"--setting must be KIND,SIZE,B,T, with KIND among {','.join(KINDS)}, SIZE among "
                f"{','.join(SIZES)}, B at least 1 and T at least {SHORTEST}, but is {value!r}"
            )
        return kind, size, B, T


@click.command()
@click.option(
    "--setting",
    "settings",
    type=SettingType(),
    multiple=True,
    default=DEFAULT_SETTINGS,
    show_default=True,
    help="Kind and size of the model, B and T of the target; may be given several times.",
)
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Rounds, each with every update once.",
)
@click.option(
    "--unrolled-repeats",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Rounds in which the slow unrolling takes part.",
)
@click.option(
    "--unrolled-limit-gib",
    type=float,
    default=6.0,
    show_default=True,
    help="Skip unrolling where it would need more memory (GiB).",
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--strategies",
    "names",
    type=NamesType(STRATEGIES, always=BASELINE),
    default=",".join(STRATEGIES),
    help=f"Which to measure, of {', '.join(STRATEGIES)}; {BASELINE} always is.  [default: all]",
)
@result_options
def main(
    tables: tuple[Path, ...], readme: Path, output: Path | None, as_json: bool, **choices: Any
) -> None:
    """Compare the time of updates on the model's own output with a teacher-forced one."""
    if tables:
        write_table(tables, readme, "strategies", markdown)
        return
    require_output_folder(output)
    results = measure(typed_command("strategies.py"), **choices)
    show(results, output, as_json, print_tables)


def measure(command: str, **choices: Any) -> dict[str, Any]:
    """Compare the strategies; what makes that impossible is shown as one line."""
    # Imported here so that a mistake on the command line is reported at once, without torch.
    from loss_comparison import NoResultError
    from strategy_measurement import compare

    try:
        return compare(command, **choices)
    except NoResultError as error:
        raise OneLineError(str(error)) from error


if __name__ == "__main__":
    main()
