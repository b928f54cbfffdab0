"""The results of ``strategies.py`` as tables: strategies by settings."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

BASELINE = "teacher_forced"
STRATEGIES = {
    "teacher_forced": "teacher-forced, fairseq `label_smoothed_cross_entropy`",
    "scheduled_argmax": "scheduled sampling, argmax",
    "scheduled_sample": "scheduled sampling, sample",
    "scheduled_expected": "scheduled sampling, expected embedding",
    "scheduled_argmax_twice": "scheduled sampling, argmax, 2 passes",
    "generative_never": "`generative_rollout`, rate 0",
    "generative_greedy": "`generative_rollout`, rate 1, greedy",
    "generative_sampling": "`generative_rollout`, rate 1, sampling",
    "unrolled_cached": "unrolled under autograd, incremental state",
    "unrolled": "unrolled under autograd, prefix read again",
    "sequence_never": "`sequence_unlikelihood`, rate 0",
    "sequence": "`sequence_unlikelihood`, rate 1",
    "risk_sampling": "`minimum_risk`, 5 samples",
    "risk_beam": "`minimum_risk`, beam 5",
}
UNROLLED = ("unrolled_cached", "unrolled")  # slow, and hungry for memory
KINDS = {"translation": "translation", "language": "language model"}

Cell = Callable[[dict[str, Any], dict[str, Any]], str]  # of a setting and one of its strategies


def print_tables(results: dict[str, Any], console: Console) -> None:
    """Print both tables; strategies go by the names that ``--strategies`` takes."""
    console.print(_conditions(results), highlight=False)
    for title, names, cell in _tables(results):
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
        table.add_column("strategy", overflow="fold")
        for setting in results["settings"]:
            table.add_column("\n".join(_heading(setting)), justify="right", overflow="fold")
        for name in names:
            table.add_row(name, *_cells(results, name, cell))
        console.print(table)
    for note in _notes(results):
        console.print(note, highlight=False)


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """Render the results of one or several runs."""
    blocks = []
    for run in results:
        blocks.append(f"{_conditions(run)}:\n\n```\n{run['command']}\n```")
        headings = ["<br>".join(_heading(setting)) for setting in run["settings"]]
        for title, names, cell in _tables(run):
            lines = [["update", *headings], ["---", *["---:"] * len(headings)]]
            lines += [[STRATEGIES[name], *_cells(run, name, cell)] for name in names]
            blocks += [title, "\n".join("| " + " | ".join(line) + " |" for line in lines)]
        blocks += _notes(run)
    return "\n\n".join(blocks)


def _tables(results: dict[str, Any]) -> Iterator[tuple[str, list[str], Cell]]:
    """A title, the strategies that are rows, and what stands in a cell."""
    measured = [name for name in STRATEGIES if any(_figures(results, name))]
    clock = {"processor": "processor time", "wall": "time"}[results["clock"]]
    yield (
        f"Median {clock} of an update over that of the teacher-forced one of the same round "
        "(quartiles):",
        measured,
        _update_cell,
    )
    generating = [
        name for name in measured if any(f.get("generated") for f in _figures(results, name))
    ]
    if generating:
        yield (
            "Cost per generated token in units of a teacher-forced update's cost per target token "
            "(generated tokens per update):",
            generating,
            _token_cell,
        )


def _figures(results: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = (setting["strategies"].get(name) for setting in results["settings"])
    return [metrics for metrics in found if metrics is not None]


def _cells(results: dict[str, Any], name: str, cell: Cell) -> Iterator[str]:
    for setting in results["settings"]:
        metrics = setting["strategies"].get(name)
        if metrics is None:
            yield ""
        else:
            yield "skipped" if "skipped" in metrics else cell(setting, metrics)


def _update_cell(setting: dict[str, Any], metrics: dict[str, Any]) -> str:
    if metrics is setting["strategies"][BASELINE]:
        return f"1 ({_seconds(metrics['median_s'])})"
    low, high = metrics["ratio_quartiles"]
    return f"{metrics['ratio_median']:.2f} ({low:.2f}-{high:.2f})"


def _token_cell(setting: dict[str, Any], metrics: dict[str, Any]) -> str:
    if not metrics["generated"]:
        return ""
    return f"{metrics['ratio_per_token']:.2f} ({metrics['generated']:,})"


def _heading(setting: dict[str, Any]) -> tuple[str, str, str]:
    B, T = setting["shape"]
    return KINDS[setting["kind"]], setting["size"], f"{B} x {T}"


def _conditions(results: dict[str, Any]) -> str:
    device, versions = results["device"], results["versions"]
    threads = f", threads: {results['threads']}" if device["type"] == "cpu" else ""
    return (
        f"{device['name']}{threads}, float32, torch {versions['torch']}, "
        f"fairseq {versions['fairseq']}, Python {versions['python']}"
    )


def _notes(results: dict[str, Any]) -> list[str]:
    sizes = {setting["size"]: setting["model"] for setting in results["settings"]}
    notes = [f"{name}: {describe(model)}" for name, model in sizes.items()]
    rounds = "; ".join(
        f"{' '.join(_heading(setting))}: {_rounds(setting)}" for setting in results["settings"]
    )
    notes.append(f"Rounds: {rounds}.")
    for setting in results["settings"]:
        for name, metrics in setting["strategies"].items():
            if "skipped" in metrics:
                notes.append(f"{name} at {' '.join(_heading(setting))}: {metrics['skipped']}.")
    return notes


def _rounds(setting: dict[str, Any]) -> str:
    rounds = {
        name: metrics["repeats"]
        for name, metrics in setting["strategies"].items()
        if "repeats" in metrics
    }
    fewer = sorted({rounds[name] for name in UNROLLED if name in rounds} - {rounds[BASELINE]})
    return f"{rounds[BASELINE]}" + (f" ({fewer[0]} unrolled)" if fewer else "")


def describe(model: dict[str, int]) -> str:
    """Say how large a model is."""
    return (
        f"width {model['width']}, feed-forward {model['ffn']}, {model['layers']} layers a side, "
        f"V = {model['vocabulary']:,}."
    )


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"
