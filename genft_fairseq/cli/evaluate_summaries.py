"""``genft evaluate-summaries``: ROUGE and other metrics of summaries."""

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from genft_fairseq.cli.measuring import (
    DECODING,
    FILE,
    POSITIVE,
    READ,
    Finite,
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
from genft_fairseq.metrics.words import LANGUAGES

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

ROUGE = {
    "rouge_1": "ROUGE-1",
    "rouge_2": "ROUGE-2",
    "rouge_l": "ROUGE-L",
    "rouge_lsum": "ROUGE-Lsum",
}

LENGTHS = (1, 2, 3, 4)

COST = {
    "seconds_per_summary": "seconds a summary",
    "encoder_seconds_per_summary": "  encoder",
    "decoder_seconds_per_summary": "  decoder",
    "tokens_per_second": "tokens a second",
}

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
    from rich.console import Console

    require_predictions(context)
    met = {
        "--path": options["path"],
        "DATA": options["data"],
        "--language en": options["language"] == "en",
        "a table (not --json)": not as_json,
    }
    refuse_without_effect(context, NEEDS, met)
    files = {"--output": output, "--predictions": predictions, "--side-by-side": side_by_side}
    require_outputs(files, context.params)
    with evaluation_progress(as_json, "summaries", digits=1) as progress:
        # Imported here: it brings in fairseq, which --help does not need.
        from genft_fairseq.evaluation import summarization

        decoding = summarization.SummaryDecoding(**{name: options.pop(name) for name in SEARCH})
        stemming = not options.pop("no_stemming")
        metrics, examples, scored = summarization.evaluate(
            progress, **options, stemming=stemming, decoding=decoding
        )
    language = options["language"]
    write_outputs(
        {
            output: [dump(metrics)],
            predictions: summarization.json_lines(examples, scored),
            side_by_side: summarization.side_by_side(examples, scored, language),
        }
    )
    if as_json:
        click.echo(dump(metrics), nl=False)
        return
    console = Console(highlight=False)
    width = min(summarization.WIDTH, console.width)
    show_metrics(metrics)
    texts = summarization.side_by_side(examples, scored, language, width)
    show_examples(console, islice(texts, show))
    tell_outputs(output, predictions, side_by_side)


def show_metrics(metrics: dict[str, Any]) -> None:
    """Print the metrics, those of the references and of another system beside them."""
    from rich.console import Console
    from rich.table import Table

    baseline = metrics.get("baseline")
    summaries = metrics["path"] or metrics["predictions_from"]
    title = f"{summaries} on {metrics['references']}, {metrics['summaries']:,} summaries"
    table = Table(title=title, title_justify="left")
    beside = ["baseline", "p"] if baseline else []
    for column in ("metric", "value", "95% interval", "references", *beside):
        left = column == "metric"
        table.add_column(column, justify="left" if left else "right", no_wrap=left)
    for name, label in ROUGE.items():
        _row(table, metrics, name, f"{label}, %", percent)
        for part in ("precision", "recall"):
            _row(table, metrics, f"{name}_{part}", f"  {part}", percent)
    table.add_section()
    for n in LENGTHS:
        _row(table, metrics, f"rep_{n}", f"rep-{n}, %", percent)
    _short_row(table, metrics)
    _row(table, metrics, "repeats_trigram", "3-gram repeats, %", percent)
    units = "characters" if "characters" in metrics["rouge_tokeniser"] else "words"
    _row(table, metrics, "words", f"{units} a summary", _number)
    _row(table, metrics, "length_ratio", "length ratio", _number)
    _row(table, metrics, "empty_summaries", "empty summaries", lambda number: f"{number:,}")
    if metrics["sources"]:
        _source_rows(table, metrics)
    if "seconds_per_summary" in metrics:
        table.add_section()
        for name, label in COST.items():
            table.add_row(label, _number(metrics[name]))
    console = Console()
    console.print(table)
    if not metrics["sources"]:
        console.print("without sources (--sources FILE) it is not known which n-grams are novel")


def show_examples(console: "Console", texts: Iterable[str]) -> None:
    """Print summaries beside their references, what repeats between marks and in colour."""
    from rich.text import Text

    for written in texts:
        text = Text("\n" + written.rstrip("\n"))
        text.highlight_regex(r"⟦[^⟧]*⟧", "red")
        console.print(text)


def _source_rows(table: "Table", metrics: dict[str, Any]) -> None:
    table.add_section()
    for n in LENGTHS:
        _row(table, metrics, f"novel_{n}", f"novel {n}-grams, %", percent)
    _row(table, metrics, "coverage", "coverage, %", percent)
    _row(table, metrics, "density", "density", _number)
    _row(table, metrics, "compression", "compression", _number)


def _short_row(table: "Table", metrics: dict[str, Any]) -> None:
    """How many texts have no n-gram, and are left out of what is said of n-grams."""

    def shown(of: dict[str, Any]) -> str:
        return " ".join(f"{of[f'rep_{n}_too_short']:,}" for n in LENGTHS)

    baseline = metrics.get("baseline")
    beside = [shown(metrics["of_references"]), *([shown(baseline)] if baseline else [])]
    table.add_row("too short", shown(metrics), "", *beside)


def _row(table: "Table", metrics: dict[str, Any], name: str, label: str, shown: Any) -> None:
    interval = metrics.get(f"{name}_interval")
    cells = [shown(metrics[name]), " to ".join(map(shown, interval)) if interval else ""]
    references = metrics["of_references"]
    cells.append(shown(references[name]) if name in references else "")
    baseline = metrics.get("baseline")
    if baseline:
        p_value = baseline.get(f"{name}_p_value", "")
        cells.append(shown(baseline[name]))
        cells.append("-" if p_value is None else f"{p_value:.3f}" if p_value != "" else "")
    table.add_row(label, *cells)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
