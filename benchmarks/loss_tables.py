"""The results of ``losses.py`` as tables: on the terminal, and between two markers of a README."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

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


def print_tables(results: dict[str, Any], console: Console) -> None:
    """Print a table for every shape; its losses go by the names that ``--losses`` takes."""
    console.print(_conditions(results), highlight=False)
    for shape in results["shapes"]:
        table = Table(title=_shape_title(shape), title_justify="left", box=box.SIMPLE_HEAD)
        table.add_column(COLUMNS[0], overflow="fold")
        for column in COLUMNS[1:]:
            table.add_column(column.replace(" ", "\n"), justify="right", overflow="fold")
        for name, cells in _rows(shape):
            table.add_row(name, *cells)
        console.print(table)
        for note in _notes(shape):
            console.print(note, highlight=False)


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """Render the results of one or several runs."""
    blocks = []
    for run in results:
        blocks.append(f"{_conditions(run)}:\n\n```\n{run['command']}\n```")
        for shape in run["shapes"]:
            lines = [COLUMNS, ("---", *["---:"] * (len(COLUMNS) - 1))]
            lines += [(LOSSES[name], *cells) for name, cells in _rows(shape)]
            table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
            blocks += [_shape_title(shape), table, *_notes(shape)]
    return "\n\n".join(blocks)


def _conditions(results: dict[str, Any]) -> str:
    device, versions = results["device"], results["versions"]
    threads = f", threads: {results['threads']}" if device["type"] == "cpu" else ""
    return (
        f"{device['name']}{threads}, {results['dtype']}, torch {versions['torch']}, "
        f"fairseq {versions['fairseq']}, Python {versions['python']}"
    )


def _shape_title(shape: dict[str, Any]) -> str:
    B, T, V = shape["shape"]
    return f"B = {B}, T = {T}, V = {V:,}; the logits take {_mebibytes(shape['logits_bytes'])} MiB"


def _notes(shape: dict[str, Any]) -> Iterator[str]:
    for name, figures in shape["losses"].items():
        if "skipped" in figures:
            yield f"{name} was skipped: {figures['skipped']}"


def _rows(shape: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, figures in shape["losses"].items():
        if "skipped" in figures:
            yield name, ("skipped", *[""] * (len(COLUMNS) - 2))
            continue
        low, high = figures["ratio_quartiles"]
        memory = figures["peak_ratio"]
        yield (
            name,
            (
                str(figures["repeats"]),
                _milliseconds(figures["median_s"]),
                _milliseconds(figures["min_s"]),
                f"{figures['ratio_median']:.2f}",
                f"{figures['ratio_min']:.2f}",
                f"{low:.2f}-{high:.2f}",
                _mebibytes(figures["peak_bytes"]),
                "" if memory is None else f"{memory:.2f}",
            ),
        )


def _milliseconds(seconds: float) -> str:
    milliseconds = seconds * 1000
    return f"{milliseconds:,.{0 if milliseconds >= 100 else 2}f}"


def _mebibytes(number: int) -> str:
    return f"{number / 2**20:,.1f}"
