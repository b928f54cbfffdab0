"""``genft evaluate-qa``: whether answers are right, and what they cost."""

from typing import Any

import click

from genft_fairseq.cli.decoding_options import (
    DECODING,
    FILE,
    LANGUAGES,
    POSITIVE,
    READ,
    bpe_option,
    output_option,
    search_options,
    tokenizer_option,
)
from genft_fairseq.cli.evaluation import (
    Begin,
    Found,
    cpu_option,
    refuse_without_effect,
    run_evaluation,
    split_option,
)
from genft_fairseq.cli.json_output import dump, json_option

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
    _require_what_to_score(context)
    met = {
        "--path": options["path"],
        "DATA": options["data"],
        "--references": options["references"],
    }
    refuse_without_effect(context, NEEDS, met)
    run_evaluation(
        lambda begin: _evaluate(begin, **options),
        {"--output": output, "--predictions": predictions},
        as_json,
        unit="questions",
        digits=1,
    )


def _require_what_to_score(context: click.Context) -> None:
    given = context.params
    if bool(given["path"]) == bool(given["predictions_from"]):
        raise click.UsageError(
            "give either --path, a checkpoint to answer with, or --predictions-from, answers"
        )
    if given["path"] and not given["data"]:
        raise click.UsageError("--path needs DATA, the binarized folder to read questions from")
    if not given["data"] and not given["references"]:
        raise click.UsageError(
            "--predictions-from needs DATA or --references, the questions with right answers"
        )


def _evaluate(begin: Begin, **options: Any) -> Found:
    # Imported here: they bring in fairseq and rich, which --help does not need.
    from genft_fairseq.cli.question_answering_view import show_figures
    from genft_fairseq.evaluation.decoding import Decoding
    from genft_fairseq.evaluation.question_answering_run import Evaluation, evaluate

    decoding = Decoding(**{name: options.pop(name) for name in DECODING})
    figures, answered = evaluate(Evaluation(**options, decoding=decoding), begin)
    return Found(
        json=lambda: [dump(figures)],
        show=lambda: show_figures(figures),
        files={"--predictions": answered.json_lines},
    )
