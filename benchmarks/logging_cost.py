"""What the figures cost that our criterions log besides fairseq's.

    python benchmarks/logging_cost.py --output benchmarks/results/logging_cost-cpu.json
    python benchmarks/logging_cost.py --table benchmarks/results/logging_cost-cpu.json

``logging_cost_measurement.py`` says what is measured, and what the JSON holds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from result_files import (
    OneLineError,
    require_output_folder,
    result_options,
    show,
    typed_command,
    write_table,
)
from result_tables import ResultTable, print_table, table_in_markdown
from rich.console import Console
from rich.progress import Progress
from strategies import SettingType
from strategy_tables import KINDS, describe

DEFAULT_SETTINGS = ("translation,small,128,16", "language,small,14,150")
LABELS = {
    "scalegrad": "`scalegrad`",
    "unlikelihood": "`unlikelihood`",
    "scalegrad_chunked": "`scalegrad --loss-chunk-size 512`",
    "unlikelihood_chunked": "`unlikelihood --loss-chunk-size 512`",
}
COLUMNS = ("criterion", "update, ms", "ratio", "quartiles", "figures, ms", "share")


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
    "--rounds",
    type=click.IntRange(min=1),
    default=40,
    show_default=True,
    help="Each with every criterion twice: as it is, and without its figures.",
)
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@result_options
def main(
    tables: tuple[Path, ...], readme: Path, output: Path | None, as_json: bool, **choices: Any
) -> None:
    """Compare criterions with themselves, where they log nothing but fairseq's figures."""
    if tables:
        write_table(tables, readme, "logging", markdown)
        return
    require_output_folder(output)
    results = measure(typed_command("logging_cost.py"), **choices)
    show(results, output, as_json, print_tables)


def measure(
    command: str,
    settings: Sequence[tuple[str, str, int, int]],
    rounds: int,
    threads: int,
    device: str,
) -> dict[str, Any]:
    """Measure all criterions in every setting."""
    # Imported here so that a mistake on the command line is reported at once, without torch.
    import platform

    import fairseq
    import torch
    from logging_cost_measurement import CRITERIONS, compare_in

    import genft_fairseq
    from genft_fairseq.provenance import hardware, processor

    if device == "cuda" and not torch.cuda.is_available():
        raise OneLineError("--device cuda needs a GPU that torch can use, and there is none")
    torch.set_num_threads(threads)
    clock = "processor" if device == "cpu" and threads == 1 else "wall"
    with Progress(console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        bar = progress.add_task("logging", total=len(settings) * rounds * len(CRITERIONS))

        def advance() -> None:
            progress.update(bar, advance=1, refresh=True)

        found = [
            compare_in(setting, list(CRITERIONS), rounds, device, clock, advance)
            for setting in settings
        ]
    return {
        "command": command,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "fairseq": fairseq.__version__,
            "genft_fairseq": genft_fairseq.__version__,
        },
        "hardware": hardware(),
        "device": {
            "type": device,
            "name": torch.cuda.get_device_name() if device == "cuda" else processor(),
        },
        "threads": threads,
        "clock": clock,
        "settings": found,
    }


def print_tables(results: dict[str, Any], console: Console) -> None:
    """Print a table for every setting."""
    console.print(_conditions(results), highlight=False)
    for setting in results["settings"]:
        print_table(_table(setting), console)


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """Render the results of one or several runs."""
    blocks = []
    for run in results:
        blocks.append(f"{_conditions(run)}:\n\n```\n{run['command']}\n```")
        blocks += [table_in_markdown(_table(setting), LABELS) for setting in run["settings"]]
    return "\n\n".join(blocks)


def _conditions(results: dict[str, Any]) -> str:
    device, versions = results["device"], results["versions"]
    clock = {"processor": "processor time", "wall": "wall clock"}[results["clock"]]
    threads = f", threads: {results['threads']}" if device["type"] == "cpu" else ""
    return (
        f"{device['name']}{threads}, {clock}, float32, torch {versions['torch']}, "
        f"fairseq {versions['fairseq']}, Python {versions['python']}"
    )


def _table(setting: dict[str, Any]) -> ResultTable:
    B, T = setting["shape"]
    title = f"{KINDS[setting['kind']]}, {B} x {T}; {describe(setting['model'])}"
    rows = []
    for name, metrics in setting["criterions"].items():
        low, high = metrics["ratio_quartiles"]
        cells = [
            f"{metrics['median_s'] * 1000:.1f}",
            f"{metrics['ratio_median']:.3f}",
            f"{low:.3f}-{high:.3f}",
            f"{metrics['figures_s'] * 1000:.3f}",
            f"{metrics['share']:.2%}",
        ]
        rows.append((name, cells))
    rounds = max(metrics["rounds"] for metrics in setting["criterions"].values())
    return ResultTable(title, COLUMNS, rows, [f"Rounds: {rounds}."])


if __name__ == "__main__":
    main()
