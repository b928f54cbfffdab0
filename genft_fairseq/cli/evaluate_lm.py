"""``genft evaluate-lm``: how a language model predicts text, and how it continues it."""

import math
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from genft_fairseq.cli.measuring import (
    POSITIVE,
    cpu_option,
    dump,
    evaluation_progress,
    json_option,
    refuse_without_effect,
    require_outputs,
    split_option,
    tell_outputs,
    write_outputs,
)

if TYPE_CHECKING:
    from rich.table import Table

LENGTHS = (16, 32, 128, 512)

NGRAMS = (1, 2, 3, 4)

NATURAL = click.IntRange(min=0)

# Fields of Search and of Plan.
SAMPLING = ("temperature", "top_k", "top_p", "no_repeat_ngram_size")

PLAN = ("prefix_length", "length", "limit", "batch_size", "seed")

COMPLETING = (*PLAN, *SAMPLING, "search", "beam", "completions", "show")

# What the mode rules out comes first: it rules out the search, too.
NEEDS = {
    "--mode tokens or --mode both": ("max_tokens", "tokens_per_sample"),
    "--mode completions or --mode both": COMPLETING,
    "--search beam": ("beam",),
    "--search sampling": ("temperature", "top_k", "top_p", "seed"),
}


class Number(click.FloatRange):
    """A number in a range, which not-a-number would pass by."""

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Parse and check the number."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


@click.command("evaluate-lm")
@click.argument("data", type=click.Path(exists=True, file_okay=False))
@click.option("--path", required=True, help="Checkpoint of a language model.")
@split_option
@click.option(
    "--mode",
    type=click.Choice(["tokens", "completions", "both"]),
    default="both",
    show_default=True,
    help="Predict tokens on gold prefixes, complete prefixes, or both.",
)
@click.option("--prefix-length", type=POSITIVE, default=50, show_default=True, help="Tokens read.")
@click.option("--length", type=POSITIVE, default=100, show_default=True, help="Tokens generated.")
@click.option("--limit", type=POSITIVE, help="Number of prefixes (default: the whole split).")
@click.option(
    "--batch-size", type=POSITIVE, default=32, show_default=True, help="Prefixes a batch."
)
@click.option(
    "--search",
    type=click.Choice(["greedy", "beam", "sampling"]),
    default="greedy",
    show_default=True,
    help="How a continuation's tokens are chosen.",
)
@click.option("--beam", type=POSITIVE, default=5, show_default=True, help="Beam: hypotheses.")
@click.option(
    "--temperature",
    type=Number(min=1e-6, max=1e6),
    default=1.0,
    show_default=True,
    help="Sampling: below 1 sharper, above 1 flatter.",
)
@click.option("--top-k", type=NATURAL, default=0, help="Sampling: only among the k most likely.")
@click.option(
    "--top-p",
    type=Number(min=0, max=1, min_open=True),
    default=1.0,
    show_default=True,
    help="Sampling: only among the likeliest that together have this probability (nucleus).",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of sampling.")
@click.option(
    "--no-repeat-ngram-size",
    type=NATURAL,
    default=0,
    help="Never repeat an n-gram of this length; 0: no such rule.",
)
@click.option(
    "--bpe",
    "--bpe-symbol",
    type=click.Choice(["auto", "none", "subword_nmt", "gpt2"]),
    default="auto",
    show_default=True,
    help="How subwords are joined; auto: by the files in DATA or beside the checkpoint.",
)
@click.option(
    "--max-tokens", type=POSITIVE, help="Tokens predicted at a time (default: by memory)."
)
@click.option(
    "--tokens-per-sample",
    type=POSITIVE,
    help="Block length in tokens, such as 1024 (default: as in training); --peer-compatible "
    "reads N + 1 tokens and predicts N.",
)
@click.option(
    "--peer-compatible",
    is_flag=True,
    help="Compute metrics as the authors' published code does, where it differs from the papers.",
)
@click.option("--output", type=click.Path(dir_okay=False), help="Write metrics and texts as JSON.")
@click.option(
    "--completions",
    type=click.Path(dir_okay=False),
    help="Write the texts here, repeated 4-grams marked; as JSON lines where FILE ends in .jsonl.",
)
@click.option("--show", type=NATURAL, default=2, show_default=True, help="Completions to print.")
@json_option
@cpu_option
@click.pass_context
def evaluate_lm(
    context: click.Context,
    output: str | None,
    completions: str | None,
    show: int,
    as_json: bool,
    mode: str,
    search: str,
    beam: int,
    **options: Any,
) -> None:
    """Evaluate a language model on the binarized folder DATA.

    Perplexity, accuracy, rank and repetition (rep/l: the prediction is among the previous l
    tokens of its block) are per dictionary token, on gold prefixes.
    Completions continue held-out prefixes; seq-rep-n is the share of n-grams that repeat an
    earlier one of the same continuation. The metrics of the human text stand beside.
    """
    met = {
        "--mode tokens or --mode both": mode != "completions",
        "--mode completions or --mode both": mode != "tokens",
        "--search beam": search == "beam",
        "--search sampling": search == "sampling",
    }
    refuse_without_effect(context, NEEDS, met)

    require_outputs({"--output": output, "--completions": completions}, context.params)
    with evaluation_progress(as_json) as progress:
        # Imported here: it brings in fairseq, which --help does not need.
        from genft_fairseq.evaluation.completions import Plan
        from genft_fairseq.evaluation.language_modeling import evaluate
        from genft_fairseq.generation.sampling import Search

        sampling = {name: options.pop(name) for name in SAMPLING}
        plan = Plan(
            **{name: options.pop(name) for name in PLAN},
            search=Search(sampling=search == "sampling", **sampling),
            beam=beam if search == "beam" else 0,
            peer_compatible=options["peer_compatible"],
        )
        metrics, log = evaluate(
            progress,
            **options,
            predicting=mode != "completions",
            plan=None if mode == "tokens" else plan,
        )
    write_outputs({output: _json_parts(metrics, log)})
    if log and completions:
        lines = completions.endswith(".jsonl")
        write_outputs({completions: log.json_lines() if lines else log.text_parts()})
    if as_json:
        for part in _json_parts(metrics, log):
            click.echo(part, nl=False)
        return
    show_metrics(metrics)
    if log:
        show_completions(log, show)
    tell_outputs(output, completions)


def _json_parts(metrics: dict[str, Any], log: Any) -> Iterable[str]:
    return log.json_parts(metrics) if log else [dump(metrics)]


def show_metrics(metrics: dict[str, Any]) -> None:
    """Print the metrics of the model beside those of the human text."""
    from rich.console import Console
    from rich.table import Table

    how = ", as the peers' code computes" if metrics["peer_compatible"] else ""
    table = Table(title=f"{metrics['path']} on {metrics['split']}{how}", title_justify="left")
    for column in ("metric", "model", "human"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    if "perplexity" in metrics:
        _token_rows(table, metrics)
    if "model" in metrics:
        table.add_section()
        _completion_rows(table, metrics)
    Console().print(table)


def _token_rows(table: "Table", metrics: dict[str, Any]) -> None:
    perplexity = metrics["perplexity"]
    table.add_row("perplexity", "-" if perplexity is None else f"{perplexity:,.2f}", "")
    table.add_row("accuracy", _shown(metrics["accuracy"]), "")
    table.add_row("rank of the gold token, mean", f"{metrics['mean_rank']:.1f}", "")
    table.add_row("rank of the gold token, median", f"{metrics['median_rank']:g}", "")
    for name, human in (("rep", "human_rep"), ("wrep", None)):
        for n in LENGTHS:
            beside = _shown(metrics[f"{human}_{n}"]) if human else ""
            table.add_row(f"{name}/{n}", _shown(metrics[f"{name}_{n}"]), beside)
    table.add_row("uniq", f"{metrics['uniq']:,}", f"{metrics['human_uniq']:,}")
    if metrics["unknown"]:
        table.add_row("<unk>", "", f"{metrics['unknown']:,} of {metrics['tokens']:,}")


def _completion_rows(table: "Table", metrics: dict[str, Any]) -> None:
    model, human = metrics["model"], metrics["human"]
    titles = {
        **{f"seq_rep_{n}": f"seq-rep-{n}" for n in NGRAMS},
        **{f"word_rep_{n}": f"seq-rep-{n}, words" for n in NGRAMS},
        "diversity": "diversity, of mean seq-rep-n",
        "diversity_corpus": "diversity, words, all texts (Su et al.)",
        "diversity_per_text": "diversity, words, mean of texts",
        "diversity_mixce": "diversity, words, n = 1-4 pooled (MixCE)",
        "repeated_tokens": "tokens in a repeated 4-gram",
        "uniq_seq": "uniq-seq",
        "uniq_words": "uniq-seq, words",
        "length": "length",
        "word_length": "length, words",
        "continuations": "continuations",
    }
    for name in sorted({*model, *human} - set(titles)):
        titles[name] = name.replace("_", " ")
    for name, title in titles.items():
        table.add_row(title, _shown(model.get(name, 0)), _shown(human.get(name, 0)))


def _shown(value: float | int | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def show_completions(log: Any, number: int) -> None:
    """Print the first completions, what repeats within each between marks and in colour."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    for texts in islice(log, number):
        console.print()
        console.print(Text(texts["prefix"], style="dim"))
        for who, part in (("model", "continuation_marked"), ("human", "human_marked")):
            text = Text(f"{who}: ", style="bold")
            text.append(Text(texts[part], style="not bold"))
            text.highlight_regex(r"⟦[^⟧]*⟧", "red")
            console.print(text)
