"""``genft evaluate-lm``: perplexity, accuracy and the repetition of continuations."""

import json
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.records import require_writable, write_whole

POSITIVE = click.IntRange(min=1)


@click.command("evaluate-lm")
@click.argument("data", type=click.Path(exists=True, file_okay=False))
@click.option("--path", required=True, help="Checkpoint of a language model.")
@click.option("--split", default="test", show_default=True, help="Part of the data to use.")
@click.option("--prefix-length", type=POSITIVE, default=50, show_default=True, help="Tokens read.")
@click.option("--length", type=POSITIVE, default=100, show_default=True, help="Tokens generated.")
@click.option("--limit", type=POSITIVE, help="Number of prefixes (default: the whole split).")
@click.option(
    "--batch-size", type=POSITIVE, default=32, show_default=True, help="Prefixes a batch."
)
@click.option(
    "--search",
    type=click.Choice(["greedy", "sampling"]),
    default="greedy",
    show_default=True,
    help="How a continuation's tokens are chosen.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=1e-6, max=1e6),
    default=1.0,
    show_default=True,
    help="Sampling: below 1 sharper, above 1 flatter.",
)
@click.option(
    "--top-k", type=click.IntRange(min=0), default=0, help="Sampling: only among the k most likely."
)
@click.option(
    "--top-p",
    type=click.FloatRange(min=0, max=1, min_open=True),
    default=1.0,
    show_default=True,
    help="Sampling: only among the likeliest that together have this probability (nucleus).",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of sampling.")
@click.option(
    "--no-repeat-ngram-size",
    type=click.IntRange(min=0),
    default=0,
    help="Never repeat an n-gram of this length; 0: no such rule.",
)
@click.option("--bpe-symbol", default="subword_nmt", show_default=True, help="Joins subwords.")
@click.option("--output", type=click.Path(dir_okay=False), help="Write the figures here, as JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")
@click.option("--cpu", is_flag=True, help="Do not use a GPU.")
def evaluate_lm(data: str, path: str, output: str | None, as_json: bool, **options: Any) -> None:
    """Evaluate a language model on the binarized folder DATA.

    Perplexity and accuracy are per dictionary token, on gold prefixes. Completions continue
    held-out prefixes; seq-rep-n is the share of n-grams that repeat an earlier one of the
    same continuation. The human continuations of the same prefixes stand beside.
    """
    _require_sampling(options)
    if output:
        require_writable("--output", Path(output))  # before the work, not after it
    figures = _evaluate(data, path, quiet=as_json, **options)
    if output:
        text = json.dumps(figures, indent=2, ensure_ascii=False) + "\n"
        write_whole(Path(output), text)
    if as_json:
        click.echo(json.dumps(figures, indent=2))
    else:
        _print(figures)
        if output:
            click.echo(f"figures and continuations: {output}")


def _require_sampling(options: dict[str, Any]) -> None:
    """A flag of sampling that changes nothing would be a mistake that nobody sees."""
    if options["search"] == "sampling":
        return
    for name, default in {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "seed": 1}.items():
        if options[name] != default:
            flag = "--" + name.replace("_", "-")
            raise click.UsageError(f"{flag} {options[name]} needs --search sampling")


def _evaluate(
    data: str,
    path: str,
    split: str,
    prefix_length: int,
    length: int,
    limit: int | None,
    batch_size: int,
    bpe_symbol: str,
    cpu: bool,
    quiet: bool,
    seed: int,
    search: str,
    **choice: Any,
) -> dict[str, Any]:
    # Imported here: they bring in fairseq, which --help does not need.
    from genft_fairseq.evaluation import language_model as lm
    from genft_fairseq.generation.token_choice import Search

    loaded = lm.load_language_model(data, path, cpu)
    total = lm.dataset_tokens(loaded, data, split)
    _require_room(loaded.model.max_positions(), total, split, prefix_length, length)
    completions_total = min(total // (prefix_length + length), limit or total) * length
    begun = time.perf_counter()
    console = Console(stderr=True, quiet=quiet)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        predicting = bar.add_task("predicting", total=total)
        tokens = lm.token_figures(loaded, split, progress=lambda n: bar.advance(predicting, n))
        completing = bar.add_task("completing", total=completions_total)
        completions = lm.complete(
            *(loaded, data, split, prefix_length, length, limit, batch_size),
            *(Search(sampling=search == "sampling", **choice), seed),
            progress=lambda n: bar.advance(completing, n),
        )

    def text(ids: list[int]) -> str:
        import torch

        symbols = loaded.dictionary.string(
            torch.tensor(ids), bpe_symbol, include_eos=True, extra_symbols_to_ignore=set()
        )
        return symbols.replace(loaded.dictionary[loaded.dictionary.eos()], "¶")

    return {
        "path": path,
        "split": split,
        "prefix_length": prefix_length,
        "length": length,
        "search": {"search": search, "seed": seed, **choice},
        **tokens,
        "model": lm.completion_figures([c.continuation for c in completions]),
        "human": lm.completion_figures([c.human for c in completions]),
        "seconds": round(time.perf_counter() - begun, 1),
        "completions": [
            {part: text(getattr(c, part)) for part in ("prefix", "continuation", "human")}
            for c in completions
        ],
    }


def _require_room(positions: int, total: int, split: str, prefix_length: int, length: int) -> None:
    """Refuse, before the work, continuations that the model or the text is too short for."""
    window = prefix_length + length
    asked = f"a prefix of {prefix_length} and a continuation of {length} need"
    advice = "give a shorter --prefix-length and --length (to genft test: after --)"
    if window - 1 > positions:
        raise UserError(
            f"{asked} {window - 1} positions, but the model was trained with {positions}: {advice}"
        )
    if total < window:
        raise UserError(f"{asked} {window} tokens, but {split} holds {total}: {advice}")


def _print(figures: dict[str, Any]) -> None:
    table = Table(title=f"{figures['path']} on {figures['split']}", title_justify="left")
    table.add_column("figure")
    table.add_column("model", justify="right")
    table.add_column("human", justify="right")
    table.add_row("perplexity", f"{figures['perplexity']:.2f}", "")
    table.add_row("accuracy", f"{figures['accuracy']:.3f}", "")
    for name, value in figures["model"].items():
        human = figures["human"][name]
        row = [f"{x:.3f}" if isinstance(x, float) else str(x) for x in (value, human)]
        table.add_row(name, *row)
    Console().print(table)
