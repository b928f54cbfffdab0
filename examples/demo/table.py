"""The demo's last page: one table, and two continuations of the same prefix.

``run.sh`` calls it with the folder of its runs.  ``--record`` also writes results.json beside this
file, and from it the table in the project's README.
"""

import json
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from genft_fairseq.evaluation.predictions import read_lines, read_translations
from genft_fairseq.experiments.training_log import command_of, train_seconds
from genft_fairseq.metrics.translation import translation_metrics
from genft_fairseq.provenance import hardware, provenance_line, record_results, versions

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TITLES = {"baseline": "MLE", "mle": "MLE + MLE", "scalegrad": "MLE + ScaleGrad"}
HEADERS = (
    *("model", "ppl", "acc", "rep-1", "rep-2", "rep-3", "rep-4", "uniq-seq", "wall s"),
    *("BLEU", "chrF", "length", "wall s"),
)
# Kept in results.json of what evaluate-lm writes: the figures without the texts.
LANGUAGE_MODEL_KEYS = (
    *("perplexity", "accuracy", "model", "human", "split", "prefix_length", "length"),
)


@click.command()
@click.argument("runs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--data", type=click.Path(exists=True, path_type=Path), default=ROOT / "data-bin/toy")
@click.option("--record", is_flag=True, help="Write results.json and the README's table.")
def main(runs: Path, data: Path, record: bool) -> None:
    """Compare the demo's models in RUNS."""
    completions = {
        name: read_json(runs / "language_modeling" / name / "evaluation.json") for name in TITLES
    }
    saved = {
        "command": "make demo",
        "hardware": hardware(),
        "versions": versions(),
        "language_modeling": {
            name: {**trained(runs / "language_modeling" / name), **without_texts(metrics)}
            for name, metrics in completions.items()
        },
        "translation": translations(runs / "translation", data / "translation"),
    }
    console = Console()
    # Where the output is no terminal, as wide as the table.
    console.width = max(console.width, 100)
    console.print(comparison(saved))
    console.print(side_by_side(completions))
    if record:
        record_results(saved, HERE / "results.json", ROOT / "README.md", "demo", markdown(saved))
    console.print(f"Checkpoints, commands, logs and all continuations: {runs}", soft_wrap=True)


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def trained(run: Path) -> dict[str, Any]:
    return {"command": command_of(run), "train_seconds": train_seconds(run)}


def without_texts(metrics: dict[str, Any]) -> dict[str, Any]:
    return {key: metrics[key] for key in LANGUAGE_MODEL_KEYS}


def translations(runs: Path, data: Path) -> dict[str, Any]:
    references = read_lines(data / "raw" / "test.de")
    return {
        name: {
            **trained(runs / name),
            **translation_metrics(read_translations(runs / name / "generate-test.txt"), references),
        }
        for name in TITLES
    }


def rows(saved: dict[str, Any]) -> list[tuple[str, ...]]:
    """The cells of the comparison, one row a model and one for the human text."""
    cells = []
    for name, title in TITLES.items():
        lm, mt = saved["language_modeling"][name], saved["translation"][name]
        language_model = (f"{lm['perplexity']:.1f}", f"{lm['accuracy']:.3f}", *variety(lm["model"]))
        translation = (f"{mt['bleu']:.1f}", f"{mt['chrf']:.1f}", f"{mt['length_ratio']:.3f}")
        seconds = (str(lm["train_seconds"]), str(mt["train_seconds"]))
        cells.append((title, *language_model, seconds[0], *translation, seconds[1]))
    human = variety(saved["language_modeling"]["baseline"]["human"])
    return [*cells, ("human text", "", "", *human, *[""] * 5)]


def variety(metrics: dict[str, Any]) -> tuple[str, ...]:
    rates = (f"{metrics[f'seq_rep_{n}']:.3f}" for n in (1, 2, 3, 4))
    return (*rates, str(metrics["uniq_seq"]))


def captions(saved: dict[str, Any]) -> tuple[str, ...]:
    """What the columns are about."""
    first = saved["language_modeling"]["baseline"]
    return (
        f"ppl to uniq-seq: language models; {first['model']['continuations']} held-out prefixes of "
        f"{first['prefix_length']} tokens, each continued greedily by {first['length']}",
        "BLEU to length: English numbers, dates, times and prices to German words, held out; "
        "beam 5",
        "uniq-seq: different tokens in all continuations; wall s: of the whole fairseq-train "
        "command",
    )


def comparison(saved: dict[str, Any]) -> Table:
    table = Table(
        title="\n".join(captions(saved)), title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0)
    )
    for i, header in enumerate(HEADERS):
        table.add_column(header, justify="right" if i else "left", no_wrap=True)
    for cells in rows(saved):
        table.add_row(*cells)
    return table


def markdown(saved: dict[str, Any]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (HEADERS, *rows(saved))]
    lines.insert(1, "|---" * len(HEADERS) + "|")
    notes = [f"{caption}. " for caption in captions(saved)]
    first = saved["translation"]["baseline"]
    signatures = f"BLEU `{first['bleu_signature']}`, chrF `{first['chrf_signature']}`."
    return "\n".join([*lines, "", "\n".join(notes).rstrip(), signatures, provenance_line(saved)])


def side_by_side(completions: dict[str, Any]) -> Table:
    """One prefix and what two models made of it.

    Of all prefixes the one where MLE's continuation has the median number of different words:
    neither its best nor its worst.
    """
    mle, scalegrad = completions["mle"]["completions"], completions["scalegrad"]["completions"]
    ranked = sorted(range(len(mle)), key=lambda i: len(set(mle[i]["continuation"].split())))
    chosen = ranked[len(ranked) // 2]
    table = Table(
        title=Text(f"A held-out prefix: … {mle[chosen]['prefix'][-160:]} …"),
        title_justify="left",
        box=box.SIMPLE,
    )
    table.add_column(f"{TITLES['mle']}, goes on", ratio=1)
    table.add_column(f"{TITLES['scalegrad']}, goes on", ratio=1)
    table.add_row(*(Text(run[chosen]["continuation"]) for run in (mle, scalegrad)))
    return table


if __name__ == "__main__":
    main()
