"""The results of ``losses.py`` as tables: on the terminal, and between two markers of a README."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from result_tables import ResultTable, print_table, table_in_markdown
from rich.console import Console

BASELINE = "cross_entropy"
LOSSES = {
    "cross_entropy": "fairseq `cross_entropy`",
    "label_smoothed_cross_entropy": "fairseq `label_smoothed_cross_entropy`, 0.1",
    "scalegrad": "`scalegrad`, gamma 0.2",
    "scalegrad_smoothed": "`scalegrad`, gamma 0.2, label smoothing 0.1",
    "unlikelihood": "`unlikelihood`, alpha 1",
    "dense_masks": "ScaleGrad by dense masks, gamma 0.2",
}
COLUMNS = (
    "loss",
    "rounds",
    "median, ms",
    "least, ms",
    "time ratio",
    "least",
    "quartiles",
    "peak, MiB",
    "peak ratio",
)
Title = Callable[[dict[str, Any]], str]  # of what was measured at a shape


def shape_title(shape: dict[str, Any]) -> str:
    """Say which shape (B, T, V) it is."""
    B, T, V = shape["shape"]
    return f"B = {B}, T = {T}, V = {V:,}; the logits take {mebibytes(shape['logits_bytes'])} MiB"


def print_tables(results: dict[str, Any], console: Console, title: Title = shape_title) -> None:
    """Print a table for every shape; its losses go by the names that ``--losses`` takes."""
    console.print(conditions_line(results), highlight=False)
    for shape in results["shapes"]:
        print_table(_table(shape, title), console)


def markdown(
    results: Sequence[dict[str, Any]],
    labels: Mapping[str, str] = LOSSES,
    title: Title = shape_title,
) -> str:
    """Render the results of one or several runs."""
    blocks = []
    for run in results:
        blocks.append(f"{conditions_line(run)}:\n\n```\n{run['command']}\n```")
        blocks += [table_in_markdown(_table(shape, title), labels) for shape in run["shapes"]]
    return "\n\n".join(blocks)


def conditions_line(results: dict[str, Any]) -> str:
    """Say how was measured."""
    device, versions = results["device"], results["versions"]
    parts = [device["name"]]
    if device["type"] == "cpu":
        parts.append(f"threads: {results['threads']}")
    if results.get("clock") == "processor":
        parts.append("processor time")
    if "dtype" in results:
        parts.append(results["dtype"])
    parts += [f"torch {versions['torch']}", f"fairseq {versions['fairseq']}"]
    return ", ".join([*parts, f"Python {versions['python']}"])


def skipped_notes(shape: dict[str, Any]) -> Iterator[str]:
    """Say of each loss that was skipped why."""
    for name, metrics in shape["losses"].items():
        if "skipped" in metrics:
            yield f"{name} was skipped: {metrics['skipped']}"


def mebibytes(number: float) -> str:
    """Write a number of bytes in MiB."""
    return f"{number / 2**20:,.1f}"


def _table(shape: dict[str, Any], title: Title) -> ResultTable:
    return ResultTable(title(shape), COLUMNS, list(_rows(shape)), list(skipped_notes(shape)))


def _rows(shape: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, metrics in shape["losses"].items():
        if "skipped" in metrics:
            yield name, ("skipped", *[""] * (len(COLUMNS) - 2))
            continue
        low, high = metrics["ratio_quartiles"]
        memory = metrics["peak_ratio"]
        yield (
            name,
            (
                str(metrics["repeats"]),
                _milliseconds(metrics["median_s"]),
                _milliseconds(metrics["min_s"]),
                f"{metrics['ratio_median']:.2f}",
                f"{metrics['ratio_min']:.2f}",
                f"{low:.2f}-{high:.2f}",
                mebibytes(metrics["peak_bytes"]),
                "" if memory is None else f"{memory:.2f}",
            ),
        )


def _milliseconds(seconds: float) -> str:
    milliseconds = seconds * 1000
    return f"{milliseconds:,.{0 if milliseconds >= 100 else 2}f}"
