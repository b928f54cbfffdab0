"""What ``genft evaluate-summaries`` shows: its table, some of its summaries."""

from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

ROUGE = {
    "rouge_1": "ROUGE-1",
    "rouge_2": "ROUGE-2",
    "rouge_l": "ROUGE-L",
    "rouge_lsum": "ROUGE-Lsum",
}
LENGTHS = (1, 2, 3, 4)
# Of the files that evaluation/side_by_side.py writes; it is not imported for --help.
WIDTH = 100
COST = {
    "seconds_per_summary": "seconds a summary",
    "encoder_seconds_per_summary": "  encoder",
    "decoder_seconds_per_summary": "  decoder",
    "tokens_per_second": "tokens a second",
}


def show_figures(figures: dict[str, Any]) -> None:
    """Print the figures, those of the references and of another system beside them."""
    baseline = figures.get("baseline")
    summaries = figures["path"] or figures["predictions_from"]
    title = f"{summaries} on {figures['references']}, {figures['summaries']:,} summaries"
    table = Table(title=title, title_justify="left")
    beside = ["baseline", "p"] if baseline else []
    for column in ("figure", "value", "95% interval", "references", *beside):
        left = column == "figure"
        table.add_column(column, justify="left" if left else "right", no_wrap=left)
    for name, label in ROUGE.items():
        _row(table, figures, name, f"{label}, %", _percent)
        for part in ("precision", "recall"):
            _row(table, figures, f"{name}_{part}", f"  {part}", _percent)
    table.add_section()
    for n in LENGTHS:
        _row(table, figures, f"rep_{n}", f"rep-{n}, %", _percent)
    _short_row(table, figures)
    _row(table, figures, "repeats_trigram", "3-gram repeats, %", _percent)
    units = "characters" if "characters" in figures["rouge_tokeniser"] else "words"
    _row(table, figures, "words", f"{units} a summary", _number)
    _row(table, figures, "length_ratio", "length ratio", _number)
    _row(table, figures, "empty_summaries", "empty summaries", lambda number: f"{number:,}")
    if figures["sources"]:
        _source_rows(table, figures)
    if "seconds_per_summary" in figures:
        table.add_section()
        for name, label in COST.items():
            table.add_row(label, _number(figures[name]))
    console = Console()
    console.print(table)
    if not figures["sources"]:
        console.print("without sources (--sources FILE) it is not known which n-grams are novel")


def _source_rows(table: Table, figures: dict[str, Any]) -> None:
    table.add_section()
    for n in LENGTHS:
        _row(table, figures, f"novel_{n}", f"novel {n}-grams, %", _percent)
    _row(table, figures, "coverage", "coverage, %", _percent)
    _row(table, figures, "density", "density", _number)
    _row(table, figures, "compression", "compression", _number)


def _short_row(table: Table, figures: dict[str, Any]) -> None:
    """How many texts have no n-gram, and are left out of what is said of n-grams."""

    def shown(of: dict[str, Any]) -> str:
        return " ".join(f"{of[f'rep_{n}_too_short']:,}" for n in LENGTHS)

    baseline = figures.get("baseline")
    beside = [shown(figures["of_references"]), *([shown(baseline)] if baseline else [])]
    table.add_row("too short", shown(figures), "", *beside)


def _row(table: Table, figures: dict[str, Any], name: str, label: str, shown: Any) -> None:
    interval = figures.get(f"{name}_interval")
    cells = [shown(figures[name]), " to ".join(map(shown, interval)) if interval else ""]
    references = figures["of_references"]
    cells.append(shown(references[name]) if name in references else "")
    baseline = figures.get("baseline")
    if baseline:
        p_value = baseline.get(f"{name}_p_value", "")
        cells.append(shown(baseline[name]))
        cells.append("-" if p_value is None else f"{p_value:.3f}" if p_value != "" else "")
    table.add_row(label, *cells)


def show_examples(texts: Callable[[int], Iterable[str]]) -> None:
    """Print summaries beside their references, what repeats between marks and in colour.

    Args:
        texts: makes them, for so many columns.
    """
    console = Console(highlight=False)
    for written in texts(min(WIDTH, console.width)):
        text = Text("\n" + written.rstrip("\n"))
        text.highlight_regex(r"⟦[^⟧]*⟧", "red")
        console.print(text)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
