"""``genft evaluate-qa``: exact match and F1 of answers, and what they cost."""

import json
from typing import TYPE_CHECKING, Any

import click

from genft_fairseq.cli.measuring import (
    DECODING,
    FILE,
    POSITIVE,
    READ,
    bpe_option,
    cpu_option,
    dump,
    evaluation_progress,
    json_option,
    output_option,
    percent,
    refuse_without_effect,
    require_outputs,
    require_predictions,
    search_options,
    split_option,
    tell_outputs,
    tokenizer_option,
    write_outputs,
)
from genft_fairseq.data.fid_json import PassageOrder
from genft_fairseq.metrics.words import LANGUAGES

if TYPE_CHECKING:
    from rich.table import Table

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

NEEDS = {
    "--path": (*DECODING, "limit", "cpu"),
    "DATA": ("split", "bpe", "tokenizer"),
    "--references": ("keep_order",),
}


@click.command("evaluate-qa")
@click.argument("data", type=click.Path(exists=True, file_okay=False), required=False)
@click.option("--path", help="Checkpoint of a model that reads questions and writes answers.")
@split_option
@search_options(1, 50, written="an answer", plural="answers", read="Questions")
@click.option(
    "--n-context",
    type=click.IntRange(min=0),
    help="Passages read of each question; 0: all (default: as in training).",
)
@click.option("--limit", type=POSITIVE, help="Number of questions (default: the whole split).")
@click.option(
    "--language",
    type=click.Choice(LANGUAGES),
    default="en",
    show_default=True,
    help="Language of the answers. en, de, es, vi, ar: strip articles; zh: compare Chinese "
    "characters and other words; ko, ja, th, lo, km, my: compare characters; hi, other: words.",
)
@bpe_option
@tokenizer_option
@click.option(
    "--predictions-from",
    type=READ,
    help="Score these answers instead: fairseq-generate's output, lines, JSON lines, or JSON of "
    "{id: answer} as SQuAD has it.",
)
@click.option(
    "--references",
    type=READ,
    help="Questions with right answers: Fusion-in-Decoder's JSON, or SQuAD's, 1.1 or 2.0 "
    "(default: those of DATA).",
)
@click.option(
    "--keep-order",
    is_flag=True,
    help="Passages of --references in the order of the file, not by score.",
)
@click.option(
    "--baseline", type=READ, help="Another run's answers to the same questions, to compare with."
)
@output_option
@click.option("--predictions", type=FILE, help="Write every answer with its scores as JSON lines.")
@json_option
@cpu_option
@click.pass_context
def evaluate_qa(
    context: click.Context,
    output: str | None,
    predictions: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Evaluate question answering on the binarized folder DATA, or answers in a file.

    Exact match and F1 are SQuAD's, the best over all right answers, with 95% intervals of a
    bootstrap over the questions. Seconds a question are of decoding alone, by the wall clock; the
    cache is what the decoder holds for a question when its answer is found.

    \b
    genft evaluate-qa DATA --path CKPT
    genft evaluate-qa --predictions-from FILE --references FILE
    genft evaluate-qa --predictions-from predictions.json --references dev-v2.0.json
    """
    require_predictions(context)
    met = {
        "--path": options["path"],
        "DATA": options["data"],
        "--references": options["references"],
    }
    refuse_without_effect(context, NEEDS, met)
    require_outputs({"--output": output, "--predictions": predictions}, context.params)
    with evaluation_progress(as_json, "questions", digits=1) as progress:
        # Imported here: it brings in fairseq, which --help does not need.
        from genft_fairseq.evaluation.decoding import Decoding
        from genft_fairseq.evaluation.question_answering import evaluate

        decoding = Decoding(**{name: options.pop(name) for name in DECODING})
        metrics, answers = evaluate(progress, **options, decoding=decoding)
    rows = (json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)
    write_outputs({output: [dump(metrics)], predictions: rows})
    if as_json:
        click.echo(dump(metrics), nl=False)
        return
    show_metrics(metrics)
    tell_outputs(output, predictions)


def show_metrics(metrics: dict[str, Any]) -> None:
    """Print the metrics as a table."""
    from rich.console import Console
    from rich.table import Table

    answers = metrics["path"] or metrics["predictions_from"]
    title = f"{answers} on {metrics['references']}, {metrics['questions']:,} questions"
    baseline = metrics.get("baseline")
    columns = ["metric", "value", "95% interval", *(["baseline", "p"] if baseline else [])]
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == "metric" else "right")
    for name, label in ANSWERS.items():
        if name == "rouge_1":
            table.add_row("BLEU", f"{metrics['bleu']:.1f}")
        interval = metrics.get(f"{name}_interval")
        beside = [" to ".join(map(percent, interval)) if interval else ""]
        if baseline and name in baseline:
            p_value = baseline[f"{name}_p_value"]
            beside += [percent(baseline[name]), "-" if p_value is None else f"{p_value:.3f}"]
        table.add_row(label, percent(metrics[name]), *beside)
    _answerable_rows(table, metrics)
    _evidence_rows(table, metrics)
    if "seconds_per_question" in metrics:
        table.add_section()
        for name, label in COST.items():
            table.add_row(label, _number(metrics[name]))
    _data_rows(table, metrics)
    console = Console()
    console.print(table)
    if metrics["passage_order"]:
        console.print(str(PassageOrder(**metrics["passage_order"])), highlight=False)


def _answerable_rows(table: "Table", metrics: dict[str, Any]) -> None:
    for name, label in PARTS.items():
        number = metrics.get(f"{name}_questions")
        if number is None:
            continue
        table.add_section()
        table.add_row(label, f"{number:,}")
        if not number:
            continue
        for metric in ("exact_match", "f1"):
            interval = metrics[f"{name}_{metric}_interval"]
            table.add_row(
                f"  {ANSWERS[metric]}",
                percent(metrics[f"{name}_{metric}"]),
                " to ".join(map(percent, interval)) if interval else "",
            )


def _evidence_rows(table: "Table", metrics: dict[str, Any]) -> None:
    if "evidence_accuracy" not in metrics:
        return
    table.add_section()
    for name, label in EVIDENCE.items():
        table.add_row(label, percent(metrics[name]))
    table.add_row("without a passage pointed at", f"{metrics['pointed_nowhere']:,}")
    _recall_rows(table, metrics, "reranked_recall_", "recall, re-ranked, at ")


def _data_rows(table: "Table", metrics: dict[str, Any]) -> None:
    """What is known of the questions before any model answers them."""
    if "target_exact_match" not in metrics and "recall_all" not in metrics:
        return
    table.add_section()
    table.add_row("properties of the data, not of the model", "")
    if "target_exact_match" in metrics:
        label = "  binarized targets that are right answers, %"
        table.add_row(label, percent(metrics["target_exact_match"]))
    _recall_rows(table, metrics, "recall_", "  recall at ")


def _recall_rows(table: "Table", metrics: dict[str, Any], prefix: str, label: str) -> None:
    for name in metrics:
        if name.startswith(prefix):
            table.add_row(f"{label}{name.removeprefix(prefix)}, %", percent(metrics[name]))


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
