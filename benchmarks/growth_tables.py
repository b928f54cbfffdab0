"""The results of ``growth.py`` as tables: losses by sizes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from loss_tables import conditions_line, mebibytes, skipped_notes
from projection_tables import PROJECTIONS
from result_tables import ResultTable, print_table, table_in_markdown
from rich.console import Console

LOSSES = {
    name: PROJECTIONS[name]
    for name in (
        "cross_entropy",
        "label_smoothed_cross_entropy",
        "scalegrad",
        "scalegrad_chunked_512",
        "unlikelihood_chunked_512",
    )
}
CURVES = {  # what varies
    "length": "sequence length",
    "vocabulary": "vocabulary",
    "batch": "batch",
}
LETTERS = {"length": "T", "vocabulary": "V", "batch": "B"}


def print_tables(results: dict[str, Any], console: Console) -> None:
    """Print all tables; losses go by the names that ``--losses`` takes."""
    console.print(conditions_line(results), highlight=False)
    for table in _tables(results):
        print_table(table, console)


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """Render the results of one or several runs."""
    blocks = []
    for run in results:
        blocks.append(f"{conditions_line(run)}:\n\n```\n{run['command']}\n```")
        blocks += [table_in_markdown(table, LOSSES) for table in _tables(run)]
    return "\n\n".join(blocks)


def fixed_sizes(curve: str, points: Sequence[dict[str, Any]]) -> str:
    """Say what stays the same along a curve."""
    B, T, D, V = points[-1]["shape"]
    kept = {"D": D}
    if curve == "length":
        kept = {"B T": B * T, "V": V, **kept}
    elif curve == "vocabulary":
        kept = {"B": B, "T": T, **kept}
    else:
        kept = {"T": T, "V": V, **kept}
    return ", ".join(f"{name} = {size:,}" for name, size in kept.items())


def _tables(results: dict[str, Any]) -> Iterator[ResultTable]:
    clock = {"processor": "processor time", "wall": "time"}[results["clock"]]
    for curve, drawn in results["curves"].items():
        points = drawn["points"]
        kept = fixed_sizes(curve, points)
        by = f"by {CURVES[curve]} {LETTERS[curve]} ({kept})"
        time = f"Median {clock} a position in µs, {by}; in brackets the ratio to `cross_entropy`:"
        memory = f"Peak memory in MiB, {by}; in brackets the ratio to `cross_entropy`:"
        columns = ["loss", *(f"{point['size']:,}" for point in points)]
        notes = [note for point in points for note in skipped_notes(point)]
        yield ResultTable(time, columns, _rows(points, _time_cell))
        yield ResultTable(memory, columns, _rows(points, _memory_cell), notes)


def _rows(
    points: Sequence[dict[str, Any]], cell: Callable[[dict[str, Any]], str]
) -> list[tuple[str, list[str]]]:
    return [
        (name, [cell(point["losses"][name]) for point in points]) for name in points[0]["losses"]
    ]


def _time_cell(metrics: dict[str, Any]) -> str:
    if "skipped" in metrics:
        return "skipped"
    micro = metrics["us_per_position"]
    return f"{micro:,.{0 if micro >= 100 else 1}f} ({metrics['ratio_median']:.2f})"


def _memory_cell(metrics: dict[str, Any]) -> str:
    if "skipped" in metrics:
        return "skipped"
    ratio = metrics["peak_ratio"]
    return mebibytes(metrics["peak_bytes"]) + ("" if ratio is None else f" ({ratio:.2f})")
