"""``genft evaluate-qa``: whether answers are right, and what they cost."""

import math
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from genft_fairseq.cli.output_files import dump, require_outputs
from genft_fairseq.cli.progress_bar import working_bar
from genft_fairseq.cli.question_answering_view import show_figures
from genft_fairseq.evaluation.records import write_whole

POSITIVE = click.IntRange(min=1)
FILE = click.Path(dir_okay=False)
READ = click.Path(exists=True, dir_okay=False)
# evaluation/question_answering.py says what they mean; it is not imported for --help.
LANGUAGES = ("en", "ko", "zh", "ja", "th", "lo", "km", "my", "other")
DECODING = ("beam", "max_len_b", "lenpen", "no_repeat_ngram_size", "batch_size")
# Flags that do nothing without another one, which would be a mistake that nobody sees.
NEEDS_PATH = (*DECODING, "limit", "cpu")
NEEDS_DATA = ("split", "bpe", "tokenizer")


class Penalty(click.ParamType):
    """A finite number."""

    name = "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Parse and check the number."""
        number: float = click.FLOAT.convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


@click.command("evaluate-qa")
@click.argument("data", type=click.Path(exists=True, file_okay=False), required=False)
@click.option("--path", help="Checkpoint of a model that reads questions and writes answers.")
@click.option("--split", default="test", show_default=True, help="Part of the data to use.")
@click.option("--beam", type=POSITIVE, default=1, show_default=True, help="Hypotheses kept.")
@click.option(
    "--max-len-b", type=POSITIVE, default=50, show_default=True, help="Most tokens of an answer."
)
@click.option(
    "--lenpen",
    type=Penalty(),
    default=1.0,
    show_default=True,
    help="Above 1 favours long answers, below 1 short ones.",
)
@click.option(
    "--no-repeat-ngram-size",
    type=click.IntRange(min=0),
    default=0,
    help="Never repeat an n-gram of this length; 0: no such rule.",
)
@click.option("--batch-size", type=POSITIVE, default=8, show_default=True, help="Questions a batch")
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
    help="Of the answers: en takes articles out; ko to my compare characters; other: words.",
)
@click.option(
    "--bpe",
    type=click.Choice(["auto", "none", "subword_nmt", "gpt2"]),
    default="auto",
    show_default=True,
    help="How pieces make up words; auto: by the files in DATA or beside the checkpoint.",
)
@click.option(
    "--tokenizer",
    type=click.Choice(["auto", "none", "moses"]),
    default="auto",
    show_default=True,
    help="How words make up text; auto: moses where pieces are subword-nmt's.",
)
@click.option(
    "--predictions-from",
    type=READ,
    help="Score these answers instead: fairseq-generate's output, lines, or JSON lines.",
)
@click.option(
    "--references",
    type=READ,
    help="Questions with right answers, as Fusion-in-Decoder's JSON (default: those of DATA).",
)
@click.option(
    "--baseline", type=READ, help="Another run's answers to the same questions, to compare with."
)
@click.option("--output", type=FILE, help="Write the figures as JSON.")
@click.option("--predictions", type=FILE, help="Write every answer with its scores as JSON lines.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
@click.option("--cpu", is_flag=True, help="Do not use a GPU.")
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
    """
    _require_what_to_score(context)
    _require_effect(context)
    require_outputs({"--output": output, "--predictions": predictions})
    figures, answered = _evaluate(quiet=as_json, **options)
    if output:
        write_whole(Path(output), dump(figures))
    if predictions:
        write_whole(Path(predictions), answered.json_lines())
    if as_json:
        click.echo(dump(figures), nl=False)
        return
    show_figures(figures)
    for path in filter(None, (output, predictions)):
        click.echo(f"written: {path}")


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


def _require_effect(context: click.Context) -> None:
    """Refuse flags that change nothing."""
    missing = {"--path": NEEDS_PATH, "DATA": NEEDS_DATA}
    for condition, names in missing.items():
        if context.params[condition.strip("-").lower()]:
            continue
        for name in names:
            if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
                flag = "--" + name.replace("_", "-")
                raise click.UsageError(f"{flag} {context.params[name]} needs {condition}")


def _evaluate(quiet: bool, **options: Any) -> tuple[dict[str, Any], Any]:
    # Imported here: they bring in fairseq, which --help does not need.
    from genft_fairseq.evaluation.answering import Decoding
    from genft_fairseq.evaluation.question_answering_run import Evaluation, evaluate

    decoding = Decoding(**{name: options.pop(name) for name in DECODING})
    with working_bar(quiet, "questions", digits=1) as bar:

        def begin(name: str, questions: int) -> Any:
            task = bar.add_task(name, total=questions)
            return lambda done: bar.advance(task, done)

        return evaluate(Evaluation(**options, decoding=decoding), begin)
