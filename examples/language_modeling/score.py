"""Compares what a recipe's generate.sh evaluated, and prints the table.

    python examples/language_modeling/score.py RECIPE --data DATA --runs RUNS NAME...

Figures: perplexity and accuracy on gold prefixes; seq-rep-1 to 4 (share of n-grams that repeat an
earlier one of the same continuation) and the number of distinct tokens of the continuations, beside
the human continuations of the same prefixes; training seconds.  With --search, of which there are
several, each stands for RUNS/NAME/evaluation-SEARCH.json, and the figures on gold prefixes, which
are the first one's, get a table of their own: the mean rank of the gold token; rep and wrep, the
share of likeliest tokens that are among the 128 before, and that are wrong as well; and how many
different ones there are.
"""

import json
import re
from pathlib import Path
from typing import Any

import click

from genft_fairseq.experiments.training_log import command_of, train_seconds
from genft_fairseq.files import write_atomic
from genft_fairseq.provenance import hardware, provenance_line, record_results, versions

EXAMPLES = Path(__file__).resolve().parent.parent
ROOT = EXAMPLES.parent
RECIPES = ("language_modeling/wikitext103", "open_ended_generation", "distilgpt2_wikitext")
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
LEFT_OUT = ("completions", "path")  # texts, and where a checkpoint lay on that machine
Figures = dict[str, Any]


@click.command()
@click.argument("recipe", type=click.Choice(RECIPES))
@click.argument("names", nargs=-1, required=True)
@click.option("--data", type=FOLDER, required=True)
@click.option("--runs", type=FOLDER, required=True)
@click.option("--results", "title", default="results", help="Names the JSON file and the markers.")
@click.option("--search", "searches", multiple=True, help="A way of decoding; may be repeated.")
@click.option("--record", is_flag=True, help="Write the JSON and the table beside the recipe.")
def main(
    recipe: str,
    names: tuple[str, ...],
    data: Path,
    runs: Path,
    title: str,
    searches: tuple[str, ...],
    record: bool,
) -> None:
    commands = {name: command_of(runs / name, ROOT) for name in names}
    results = {
        "seeds": sorted({int(re.search(r"--seed (\d+)", words)[1]) for words in commands.values()}),
        "hardware": hardware(),
        "versions": versions(),
        "commands": {
            "prepare": json.loads((data / "MANIFEST.json").read_text())["recipe"]["command"],
            "train": commands,
            "generate": f"examples/{recipe}/generate.sh",
        },
        "runs": {name: metrics(runs / name, searches) for name in names},
    }
    page = tables(results) if searches else table(results)
    write_atomic(runs / "results.json", json.dumps(results, indent=2) + "\n")
    if record:
        folder = EXAMPLES / recipe
        record_results(results, folder / f"{title}.json", folder / "README.md", title, page)
    print(page)


def metrics(run: Path, searches: tuple[str, ...]) -> Figures:
    """The figures of evaluation.json; with searches, the first one's and, by name, every one's."""
    if not searches:
        return {**evaluation(run / "evaluation.json"), "train_seconds": train_seconds(run)}
    by_search = {name: evaluation(run / f"evaluation-{name}.json") for name in searches}
    first = by_search[searches[0]]
    return {**first, "train_seconds": train_seconds(run), "searches": by_search}


def evaluation(path: Path) -> Figures:
    read = json.loads(path.read_text(encoding="utf-8"))
    return {name: value for name, value in read.items() if name not in LEFT_OUT}


def table(results: Figures) -> str:
    lines = [
        "| run | ppl | acc | rep-1 | rep-2 | rep-3 | rep-4 | uniq-seq | wall s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, run in results["runs"].items():
        lines.append(
            f"| {name} | {run['perplexity']:.2f} | {run['accuracy']:.3f} "
            f"| {repetition(run['model'])} | {run['train_seconds']} |"
        )
    some = next(iter(results["runs"].values()))
    lines += [f"| human text | | | {repetition(some['human'])} | |", "", foot(results, "greedily ")]
    return "\n".join(lines)


def tables(results: Figures) -> str:
    """Two: on gold prefixes, and what was written, by every search."""
    some = next(iter(results["runs"].values()))
    lines = [
        "| run | ppl | acc | rank | rep | wrep | uniq | wall s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, run in results["runs"].items():
        lines.append(
            f"| {name} | {run['perplexity']:.2f} | {run['accuracy']:.3f} | {run['mean_rank']:.1f} "
            f"| {run['rep_128']:.3f} | {run['wrep_128']:.3f} | {run['uniq']} "
            f"| {run['train_seconds']} |"
        )
    lines += [
        f"| human text | | | | {some['human_rep_128']:.3f} | | {some['human_uniq']} | |",
        "",
        "| run | search | rep-1 | rep-2 | rep-3 | rep-4 | uniq-seq |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, run in results["runs"].items():
        for search, found in run["searches"].items():
            lines.append(f"| {name} | {search} | {repetition(found['model'])} |")
    lines += [f"| human text | | {repetition(some['human'])} |", "", foot(results)]
    return "\n".join(lines)


def foot(results: Figures, how: str = "") -> str:
    some = next(iter(results["runs"].values()))
    seeds = ", ".join(map(str, results["seeds"]))
    return (
        f"{some['model']['continuations']} prefixes of {some['prefix_length']} tokens, continued "
        f"{how}by {some['length']}; {some['split']}; seed {seeds}; " + provenance_line(results)
    )


def repetition(part: Figures) -> str:
    shares = " | ".join(f"{part[f'seq_rep_{n}']:.3f}" for n in (1, 2, 3, 4))
    return f"{shares} | {part['uniq_seq']}"


if __name__ == "__main__":
    main()
