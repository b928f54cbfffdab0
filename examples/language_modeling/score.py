"""Compares what a recipe's generate.sh evaluated, and prints the table.

    python examples/language_modeling/score.py RECIPE --data DATA --runs RUNS NAME...

Figures: perplexity and accuracy on gold prefixes; seq-rep-1 to 4 (share of n-grams that repeat an
earlier one of the same continuation) and the number of distinct tokens of greedy continuations,
beside the human continuations of the same prefixes; training seconds.
"""

import json
import re
from pathlib import Path

import click

from genft_fairseq.evaluation.records import (
    hardware,
    provenance_line,
    record_results,
    versions,
    write_whole,
)
from genft_fairseq.evaluation.training_runs import command_of, train_seconds

HERE = Path(__file__).resolve().parent
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
# Kept of what evaluate-lm writes: the figures without the texts.
KEPT = ("perplexity", "accuracy", "model", "human", "split", "prefix_length", "length")


@click.command()
@click.argument("recipe", type=click.Choice(["wikitext103"]))
@click.argument("names", nargs=-1, required=True)
@click.option("--data", type=FOLDER, required=True)
@click.option("--runs", type=FOLDER, required=True)
@click.option("--results", "title", default="results", help="Names the JSON file and the markers.")
@click.option("--record", is_flag=True, help="Write the JSON and the table beside the recipe.")
def main(
    recipe: str, names: tuple[str, ...], data: Path, runs: Path, title: str, record: bool
) -> None:
    commands = {name: command_of(runs / name) for name in names}
    results = {
        "seed": int(re.search(r"--seed (\d+)", commands[names[0]])[1]),
        "hardware": hardware(),
        "versions": versions(),
        "commands": {
            "prepare": json.loads((data / "MANIFEST.json").read_text())["recipe"]["command"],
            "train": commands,
            "generate": f"examples/language_modeling/{recipe}/generate.sh",
        },
        "runs": {name: figures(runs / name) for name in names},
    }
    page = table(results)
    write_whole(runs / "results.json", json.dumps(results, indent=2) + "\n")
    if record:
        folder = HERE / recipe
        record_results(results, folder / f"{title}.json", folder / "README.md", title, page)
    print(page)


def figures(run: Path) -> dict:
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    return {**{key: evaluation[key] for key in KEPT}, "train_seconds": train_seconds(run)}


def table(results: dict) -> str:
    lines = [
        "| run | ppl | acc | rep-1 | rep-2 | rep-3 | rep-4 | uniq-seq | train s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, run in results["runs"].items():
        lines.append(
            f"| {name} | {run['perplexity']:.2f} | {run['accuracy']:.3f} "
            f"| {repetition(run['model'])} | {run['train_seconds']} |"
        )
    some = next(iter(results["runs"].values()))
    lines += [
        f"| human text | | | {repetition(some['human'])} | |",
        "",
        f"{some['model']['continuations']} prefixes of {some['prefix_length']} tokens, continued "
        f"greedily by {some['length']}; seed {results['seed']}; " + provenance_line(results),
    ]
    return "\n".join(lines)


def repetition(part: dict) -> str:
    shares = " | ".join(f"{part[f'seq_rep_{n}']:.3f}" for n in (1, 2, 3, 4))
    return f"{shares} | {part['distinct_tokens']}"


if __name__ == "__main__":
    main()
