"""``genft evaluate-summaries``: how good summaries are, by ROUGE and beyond it."""

from itertools import islice
from typing import Any

import click

from genft_fairseq.cli.decoding_options import (
    DECODING,
    FILE,
    LANGUAGES,
    POSITIVE,
    READ,
    Finite,
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

SEARCH = (*DECODING, "max_len_a", "min_len")
NEEDS = {
    "--path": (*SEARCH, "limit", "cpu"),
    "DATA": ("split", "bpe", "tokenizer"),
    "--language en": ("no_stemming",),
    "a table (not --json)": ("show",),
}


@click.command("evaluate-summaries")
@click.argument("data", type=click.Path(exists=True, file_okay=False), required=False)
@click.option("--path", help="Checkpoint of a model that reads sources and writes summaries.")
@split_option
@search_options(5, 200, written="a summary", plural="summaries", read="Sources")
@click.option(
    "--max-len-a",
    type=Finite(0),
    default=0,
    help="Maximum length of a summary: a * source length + b tokens; this is a, --max-len-b is b.",
)
@click.option(
    "--min-len",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Fewest tokens of a summary.",
)
@click.option("--limit", type=POSITIVE, help="Number of sources (default: the whole split).")
@click.option(
    "--language",
    type=click.Choice(LANGUAGES),
    default="en",
    show_default=True,
    help="Language of the summaries. zh, ko, ja, th, lo, km, my: compare characters; all others: "
    "compare words.",
)
@click.option("--no-stemming", is_flag=True, help="Compare English words as they are in ROUGE.")
@bpe_option
@tokenizer_option
@click.option(
    "--predictions-from",
    type=READ,
    help="Score these summaries instead: fairseq-generate's output, lines, or JSON lines.",
)
@click.option(
    "--references",
    type=READ,
    help="Right summaries, one a line, gzipped or not (default: DATA/raw/SPLIT.TARGET).",
)
@click.option(
    "--sources",
    type=READ,
    help="What they summarise, one a line (default: DATA/raw/SPLIT.SOURCE).",
)
@click.option(
    "--baseline", type=READ, help="Another system's summaries of the same sources, to compare with."
)
@output_option
@click.option("--predictions", type=FILE, help="Write every summary with its scores as JSON lines.")
@click.option(
    "--side-by-side",
    type=FILE,
    help="Write sources, references and summaries for people to read, repetition marked.",
)
@click.option("--show", type=click.IntRange(min=0), default=0, help="Print so many of these.")
@json_option
@cpu_option
@click.pass_context
def evaluate_summaries(
    context: click.Context,
    output: str | None,
    predictions: str | None,
    side_by_side: str | None,
    show: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Evaluate summaries: by a model on the binarized folder DATA, or in a file.

    \b
    genft evaluate-summaries DATA --path CKPT
    genft evaluate-summaries --predictions-from FILE --references FILE [--sources FILE]

    ROUGE is rouge-score's F-measure, in English of stemmed words, averaged over the summaries, with
    95% intervals of a bootstrap over these. ROUGE-Lsum compares sentences: those that <q> or a line
    feed parts, else those that end at a full stop or the like.

    rep-n is the share of a summary's n-grams that repeat an earlier one, 3-gram repeats the share
    of summaries in which that happens to a trigram. Novel n-grams are the share of a summary's
    distinct ones that the source does not have; coverage is the share of its words in fragments of
    the source, density the mean length of the fragment that a word is in. All are of words in lower
    case, without punctuation; those of the references stand beside. A text shorter than n has no
    rep-n and no novel n-grams: too short counts these for n = 1 to 4.

    A p-value is that of a paired bootstrap: how often resampled test sets differ as much by chance.
    It says nothing about another seed of training.
    """
    _require_what_to_score(context)
    met = {
        "--path": options["path"],
        "DATA": options["data"],
        "--language en": options["language"] == "en",
        "a table (not --json)": not as_json,
    }
    refuse_without_effect(context, NEEDS, met)
    files = {
        "--output": output,
        "--predictions": predictions,
        "--side-by-side": side_by_side,
    }
    run_evaluation(
        lambda begin: _evaluate(begin, show, **options), files, as_json, unit="summaries", digits=1
    )


def _require_what_to_score(context: click.Context) -> None:
    given = context.params
    if bool(given["path"]) == bool(given["predictions_from"]):
        raise click.UsageError(
            "give either --path, a checkpoint to summarise with, or --predictions-from, summaries"
        )
    if given["path"] and not given["data"]:
        raise click.UsageError("--path needs DATA, the binarized folder to read sources from")
    if not given["data"] and not given["references"]:
        raise click.UsageError(
            "--predictions-from needs DATA or --references, the right summaries to compare with"
        )


def _evaluate(begin: Begin, show: int, no_stemming: bool, **options: Any) -> Found:
    # Imported here: they bring in fairseq and rich, which --help does not need.
    from genft_fairseq.cli.summarization_view import show_examples, show_figures
    from genft_fairseq.evaluation.summarization_run import Evaluation, SummaryDecoding, evaluate

    decoding = SummaryDecoding(**{name: options.pop(name) for name in SEARCH})
    asked = Evaluation(**options, stemming=not no_stemming, decoding=decoding)
    figures, summarized = evaluate(asked, begin)

    def show_all() -> None:
        show_figures(figures)
        show_examples(lambda width: islice(summarized.side_by_side(width), show))

    return Found(
        json=lambda: [dump(figures)],
        show=show_all,
        files={
            "--predictions": summarized.json_lines,
            "--side-by-side": summarized.side_by_side,
        },
    )
