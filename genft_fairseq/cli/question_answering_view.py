"""What ``genft evaluate-qa`` shows: its table."""

from typing import Any

from rich.console import Console
from rich.table import Table

from genft_fairseq.data.fid_json import PassageOrder

ANSWERS = {
    "exact_match": "exact match, %",
    "f1": "F1, %",
    "rouge_1": "ROUGE-1, %",
    "rouge_2": "ROUGE-2, %",
    "rouge_l": "ROUGE-L, %",
}
EVIDENCE = {
    "evidence_accuracy": "evidence right, %",
    "pointed_accuracy": "evidence right where there is some, %",
    "none_accuracy": "none said where there is none, %",
}
# SQuAD 2.0's questions with an answer, and those without.
PARTS = {"has_answer": "answerable questions", "no_answer": "unanswerable questions"}
COST = {
    "seconds_per_question": "seconds a question",
    "encoder_seconds_per_question": "seconds a question, encoder",
    "decoder_seconds_per_question": "seconds a question, decoder",
    "processor_seconds_per_question": "processor seconds a question",
    "tokens_per_second": "tokens a second",
    "cache_bytes_per_question": "cache bytes a question",
    "cache_self_attention_bytes_per_question": "cache bytes, self-attention",
    "cache_cross_attention_bytes_per_question": "cache bytes, cross-attention",
    "cache_other_bytes_per_question": "cache bytes, other",
}


def show_figures(figures: dict[str, Any]) -> None:
    """Print the figures."""
    answers = figures["path"] or figures["predictions_from"]
    title = f"{answers} on {figures['references']}, {figures['questions']:,} questions"
    baseline = figures.get("baseline")
    columns = ["figure", "value", "95% interval", *(["baseline", "p"] if baseline else [])]
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name, label in ANSWERS.items():
        if name == "rouge_1":
            table.add_row("BLEU", f"{figures['bleu']:.1f}")
        interval = figures.get(f"{name}_interval")
        beside = [" to ".join(map(_percent, interval)) if interval else ""]
        if baseline and name in baseline:
            p_value = baseline[f"{name}_p_value"]
            beside += [_percent(baseline[name]), "-" if p_value is None else f"{p_value:.3f}"]
        table.add_row(label, _percent(figures[name]), *beside)
    _answerable_rows(table, figures)
    _evidence_rows(table, figures)
    if "seconds_per_question" in figures:
        table.add_section()
        for name, label in COST.items():
            table.add_row(label, _number(figures[name]))
    _data_rows(table, figures)
    console = Console()
    console.print(table)
    if figures["passage_order"]:
        console.print(str(PassageOrder(**figures["passage_order"])), highlight=False)


def _answerable_rows(table: Table, figures: dict[str, Any]) -> None:
    for name, label in PARTS.items():
        number = figures.get(f"{name}_questions")
        if number is None:
            continue
        table.add_section()
        table.add_row(label, f"{number:,}")
        if not number:
            continue
        for figure in ("exact_match", "f1"):
            interval = figures[f"{name}_{figure}_interval"]
            table.add_row(
                f"  {ANSWERS[figure]}",
                _percent(figures[f"{name}_{figure}"]),
                " to ".join(map(_percent, interval)) if interval else "",
            )


def _evidence_rows(table: Table, figures: dict[str, Any]) -> None:
    if "evidence_accuracy" not in figures:
        return
    table.add_section()
    for name, label in EVIDENCE.items():
        table.add_row(label, _percent(figures[name]))
    table.add_row("without a passage pointed at", f"{figures['pointed_nowhere']:,}")
    _recall_rows(table, figures, "reranked_recall_", "recall, re-ranked, at ")


def _data_rows(table: Table, figures: dict[str, Any]) -> None:
    """What is known of the questions before any model answers them."""
    if "target_exact_match" not in figures and "recall_all" not in figures:
        return
    table.add_section()
    table.add_row("properties of the data, not of the model", "")
    if "target_exact_match" in figures:
        label = "  binarized targets that are right answers, %"
        table.add_row(label, _percent(figures["target_exact_match"]))
    _recall_rows(table, figures, "recall_", "  recall at ")


def _recall_rows(table: Table, figures: dict[str, Any], prefix: str, label: str) -> None:
    for name in figures:
        if name.startswith(prefix):
            table.add_row(f"{label}{name.removeprefix(prefix)}, %", _percent(figures[name]))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
