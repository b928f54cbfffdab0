"""The results of ``completions.py`` as tables: searches by what either program takes."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

SEARCHES = {
    "greedy": "greedy",
    "greedy_step_by_step": "greedy, prefix read step by step (as fairseq reads it)",
    "nucleus": "nucleus sampling, p = 0.9",
    "top_k": "sampling among the 50 likeliest",
    "beam": "beam search, 5 hypotheses",
}
SLOW = ("greedy_step_by_step", "nucleus", "top_k", "beam")  # fewer rounds, of one batch each
BEFORE = "greedy_step_by_step"  # what evaluate-lm does not do any more
TARGET = 1.0  # completions per second over theirs

HEADINGS = (
    *("search", "`evaluate-lm`", "`generate`", "ratio", "quartiles", "least"),
    *("same texts", "rounds"),
)


def print_tables(results: dict[str, Any], console: Console) -> None:
    """Print all tables; searches go by the names that ``--searches`` takes."""
    console.print(_conditions(results), highlight=False)
    for setting in results["settings"]:
        rows = [[name, *_cells(results, metrics)] for name, metrics in setting["searches"].items()]
        _print(console, _title(results, setting), [name.strip("`") for name in HEADINGS], rows)
    _print(console, _memory_title(results), list(_MEMORY), _memory_rows(results))
    for note in _notes(results):
        console.print(note, highlight=False)


def _print(console: Console, title: str, headings: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """Render the results of one or several runs."""
    blocks = []
    for run in results:
        blocks.append(f"{_conditions(run)}:\n\n```\n{run['command']}\n```")
        for setting in run["settings"]:
            rows = [
                [SEARCHES[name], *_cells(run, metrics)]
                for name, metrics in setting["searches"].items()
            ]
            blocks += [_title(run, setting), _markdown_table(HEADINGS, rows)]
        blocks += [_memory_title(run), _markdown_table(_MEMORY, _memory_rows(run))]
        blocks += _notes(run)
    return "\n\n".join(blocks)


def _markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [headings, rule, *rows])


def _cells(results: dict[str, Any], metrics: dict[str, Any]) -> Iterator[str]:
    times = metrics[results["clock"]]
    low, high = times["ratio_quartiles"]
    agreeing = metrics["agreeing"]
    yield f"{times['ours']['per_second']:.2f}"
    yield f"{times['theirs']['per_second']:.2f}"
    yield f"{times['ratio_median']:.2f}"
    yield f"{low:.2f}-{high:.2f}"
    yield f"{times['ratio_min']:.2f}"
    yield "" if agreeing is None else f"{agreeing} of {metrics['prefixes']}"
    yield f"{metrics['repeats']} x {metrics['prefixes']}"


def _title(results: dict[str, Any], setting: dict[str, Any]) -> str:
    clock = {"processor": " of processor time", "wall": ""}[results["clock"]]
    return f"Completions per second{clock}; {_model(setting['model'], setting['parameters'])}:"


def _model(model: dict[str, int], parameters: int | None = None) -> str:
    size = "" if parameters is None else f" ({parameters / 1e6:.1f} million parameters)"
    return (
        f"{model['layers']} layers, width {model['width']}, {model['heads']} heads, "
        f"V = {model['vocabulary']:,}{size}"
    )


def _conditions(results: dict[str, Any]) -> str:
    versions, protocol = results["versions"], results["protocol"]
    return (
        f"{results['hardware']['processor']}, threads: {results['threads']}, float32, "
        f"torch {versions['torch']}, fairseq {versions['fairseq']}, "
        f"transformers {versions['transformers']}, Python {versions['python']}; "
        f"{protocol['prefix_length']} tokens continued by {protocol['length']}, "
        f"{protocol['batch_size']} at a time"
    )


_MEMORY = ("completions", "peak, MiB")


def _memory_title(results: dict[str, Any]) -> str:
    return f"Peak memory of `genft evaluate-lm`; {_model(results['memory']['model'])}:"


def _memory_rows(results: dict[str, Any]) -> list[list[str]]:
    return [
        [f"{run['completions']:,}", f"{run['peak_mib']:,.1f}"] for run in results["memory"]["runs"]
    ]


def _notes(results: dict[str, Any]) -> list[str]:
    behind = [
        f"{SEARCHES[name]} with {_model(setting['model'])}"
        for setting in results["settings"]
        for name, metrics in setting["searches"].items()
        if name != BEFORE and metrics[results["clock"]]["ratio_median"] < TARGET
    ]
    return [f"Slower than `generate`: {'; '.join(behind)}."] if behind else []
