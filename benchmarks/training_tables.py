"""The results of ``training.py`` as tables: on the terminal, and between two markers of a page."""

from collections.abc import Iterator, Sequence
from typing import Any

from result_tables import ResultTable, print_table, table_in_markdown
from rich.console import Console
from training_commands import BASELINE, KINDS, ROWS

COLUMNS = ("criterion", "words/s", "ratio", "least", "quartiles", "peak, MiB", "peak ratio")
Setting = dict[str, Any]


def print_tables(results: dict[str, Any], console: Console) -> None:
    """Print the tables; their rows go by the names that ``--rows`` takes."""
    console.print(_conditions(results), highlight=False)
    for table in _tables(results):
        print_table(table, console)


def markdown(results: Sequence[dict[str, Any]]) -> str:
    """Render the results of one or several runs."""
    blocks = []
    for run in results:
        blocks.append(f"{_conditions(run)}:\n\n```\n{run['command']}\n```")
        blocks += [table_in_markdown(table, ROWS) for table in _tables(run)]
    return "\n\n".join(blocks)


def _tables(results: dict[str, Any]) -> Iterator[ResultTable]:
    """One for each setting of one process; those of several stand side by side in one."""
    several: dict[str, list[Setting]] = {}
    for setting in results["settings"]:
        title = _title(setting)
        if setting["processes"] == 1:
            rows = [(name, _cells(metrics)) for name, metrics in setting["rows"].items()]
            yield ResultTable(f"{title}:", COLUMNS, rows, _notes([setting]))
        else:
            several.setdefault(title, []).append(setting)
    for title, settings in several.items():
        columns = [f"{s['processes']} processes, {s['backend']}" for s in settings]
        names = list(settings[0]["rows"])
        rows = [(name, [_short(s["rows"][name]) for s in settings]) for name in names]
        heading = f"{title}: words/s of all processes; ratio (quartiles)"
        yield ResultTable(heading, (COLUMNS[0], *columns), rows, _notes(settings))


def _conditions(results: dict[str, Any]) -> str:
    device, versions = results["device"], results["versions"]
    clock = {"processor": "processor time", "wall": "wall clock"}[results["clock"]]
    threads = f", threads: {results['threads']}" if device["type"] == "cpu" else ""
    measured = results["updates"] - results["warm_up"]
    return (
        f"{device['name']}{threads}, {clock}, the last {measured} of {results['updates']} updates, "
        f"torch {versions['torch']}, fairseq {versions['fairseq']}, Python {versions['python']}"
    )


def _title(setting: Setting) -> str:
    model = setting["model"]
    data = "" if setting["data"] == "made" else f", data: {setting['data']}"
    return (
        f"{KINDS[setting['kind']]}, {setting['precision']}: width {model['width']}, "
        f"feed-forward {model['ffn']}, {model['layers']} layers"
        f"{' a side' if setting['kind'] == 'translation' else ''}, "
        f"V = {model['vocabulary']:,}, batches of {setting['tokens']:,} tokens{data}"
    )


def _cells(metrics: dict[str, Any]) -> list[str]:
    if "skipped" in metrics:
        return ["skipped", *[""] * (len(COLUMNS) - 2)]
    low, high = metrics["ratio_quartiles"]
    return [
        f"{metrics['median_words_per_s']:,.0f}",
        f"{metrics['ratio_median']:.2f}",
        f"{metrics['ratio_min']:.2f}",
        f"{low:.2f}-{high:.2f}",
        f"{metrics['peak_bytes'] / 2**20:,.0f}",
        f"{metrics['peak_ratio']:.2f}",
    ]


def _short(metrics: dict[str, Any]) -> str:
    if "skipped" in metrics:
        return "skipped"
    low, high = metrics["ratio_quartiles"]
    ratio = f"{metrics['ratio_median']:.2f} ({low:.2f}-{high:.2f})"
    return f"{metrics['median_words_per_s']:,.0f}; {ratio}"


def _notes(settings: Sequence[Setting]) -> list[str]:
    notes = []
    for setting in settings:
        for name, metrics in setting["rows"].items():
            if "skipped" in metrics:
                notes.append(f"{name} was skipped: {metrics['skipped']}")
    rounds = settings[0]["rows"][BASELINE]["rounds"]
    return [*notes, f"Rounds: {rounds}."]
