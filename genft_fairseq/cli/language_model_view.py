"""What ``genft evaluate-lm`` shows: its tables, some of its completions."""

from itertools import islice
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

LENGTHS = (16, 32, 128, 512)
NGRAMS = (1, 2, 3, 4)


def show_figures(figures: dict[str, Any]) -> None:
    """Print the figures of the model beside those of the human text."""
    how = ", as the peers' code computes" if figures["peer_compatible"] else ""
    table = Table(title=f"{figures['path']} on {figures['split']}{how}", title_justify="left")
    for column in ("figure", "model", "human"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    if "perplexity" in figures:
        _token_rows(table, figures)
    if "model" in figures:
        table.add_section()
        _completion_rows(table, figures)
    Console().print(table)


def _token_rows(table: Table, figures: dict[str, Any]) -> None:
    perplexity = figures["perplexity"]
    table.add_row("perplexity", "-" if perplexity is None else f"{perplexity:,.2f}", "")
    table.add_row("accuracy", _shown(figures["accuracy"]), "")
    table.add_row("rank of the gold token, mean", f"{figures['mean_rank']:.1f}", "")
    table.add_row("rank of the gold token, median", f"{figures['median_rank']:g}", "")
    for name, human in (("rep", "human_rep"), ("wrep", None)):
        for n in LENGTHS:
            beside = _shown(figures[f"{human}_{n}"]) if human else ""
            table.add_row(f"{name}/{n}", _shown(figures[f"{name}_{n}"]), beside)
    table.add_row("uniq", f"{figures['uniq']:,}", f"{figures['human_uniq']:,}")
    if figures["unknown"]:
        table.add_row("<unk>", "", f"{figures['unknown']:,} of {figures['tokens']:,}")


def _completion_rows(table: Table, figures: dict[str, Any]) -> None:
    model, human = figures["model"], figures["human"]
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
    console = Console(highlight=False)
    for texts in islice(log, number):
        console.print()
        console.print(Text(texts["prefix"], style="dim"))
        for who, part in (("model", "continuation_marked"), ("human", "human_marked")):
            text = Text(f"{who}: ", style="bold")
            text.append(Text(texts[part], style="not bold"))
            text.highlight_regex(r"⟦[^⟧]*⟧", "red")
            console.print(text)
