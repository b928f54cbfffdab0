"""Compares what generate.sh evaluated: tables of means over seeds, and samples side by side.

    python examples/open_ended_generation/three_books/table.py --data DATA --runs RUNS SEED...

Prints the page and writes RUNS/results.json; with --record also ../results.json and the page
between the markers of ../README.md.
"""

import html
import json
import re
import statistics
from itertools import islice
from pathlib import Path
from typing import Any

import click

from genft_fairseq.experiments.training_log import command_of, train_seconds
from genft_fairseq.files import write_atomic
from genft_fairseq.provenance import hardware, provenance_line, record_results, versions

RECIPE = Path(__file__).resolve().parent.parent
ROOT = RECIPE.parent.parent
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
TEXTS = {"test": "The held-out book", "test1": "WikiText's test set"}
BLOCKED = "mle, no 3-gram twice"
SAMPLED = 3  # which prefix the samples continue
# Title, where the figure is, its name, decimals.
TOKENS = [
    *(("ppl", "perplexity", 2), ("acc", "accuracy", 4), ("rank", "mean_rank", 0)),
    *((f"rep/{n}", f"rep_{n}", 3) for n in (16, 128)),
    *((f"wrep/{n}", f"wrep_{n}", 3) for n in (16, 128)),
    ("uniq", "uniq", 0),
]
GREEDY = [
    *((f"seq-rep-{n}", f"seq_rep_{n}", 3) for n in (1, 2, 3, 4)),
    *(
        ("words, 4", "word_rep_4", 3),
        ("subword diversity", "diversity", 3),
        ("uniq-seq", "uniq_seq", 0),
    ),
]
NUCLEUS = [
    ("seq-rep-1", "seq_rep_1", 3),
    ("seq-rep-4", "seq_rep_4", 3),
    ("uniq-seq", "uniq_seq", 0),
]
# Of the human text beside a model's rep/l and uniq.
HUMAN_TOKENS = {"rep_16": "human_rep_16", "rep_128": "human_rep_128", "uniq": "human_uniq"}
Figures = dict[str, Any]


@click.command()
@click.argument("seeds", nargs=-1, required=True)
@click.option("--data", type=FOLDER, required=True)
@click.option("--runs", type=FOLDER, required=True)
@click.option("--methods", required=True, help="Their names, separated by spaces.")
@click.option("--record", is_flag=True, help="Write ../results.json and ../README.md, too.")
def main(seeds: tuple[str, ...], data: Path, runs: Path, methods: str, record: bool) -> None:
    names = {
        "baseline": ["baseline"],
        **{method: [f"seed-{seed}/{method}" for seed in seeds] for method in methods.split()},
    }
    commands = {run: command_of(runs / run, ROOT) for runs_of in names.values() for run in runs_of}
    results = {
        "seeds": [int(seed) for seed in seeds],
        "hardware": hardware(),
        "versions": versions(),
        "commands": {
            "prepare": json.loads((data / "MANIFEST.json").read_text())["recipe"]["command"],
            "train": commands,
            "generate": "examples/open_ended_generation/three_books/generate.sh",
        },
        "train_seconds": {run: train_seconds(runs / run) for run in commands},
        "texts": {text: figures_of(runs, text, names) for text in TEXTS},
    }
    page = "\n\n".join([*(table(results, text) for text in TEXTS), samples(runs, names, seeds[0])])
    page += "\n\n" + note(results)
    write_atomic(runs / "results.json", json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    if record:
        record_results(results, RECIPE / "results.json", RECIPE / "README.md", "three_books", page)
    print(page)


def figures_of(runs: Path, text: str, names: dict[str, list[str]]) -> dict[str, list[Figures]]:
    """The figures of every system on a text, a seed each; without the completions."""
    found = {}
    for name, runs_of in names.items():
        found[name] = [
            {
                "run": run,
                **(greedy := evaluation(runs, run, text, "greedy")),
                "greedy": greedy["model"],
                "nucleus": evaluation(runs, run, text, "nucleus")["model"],
            }
            for run in runs_of
        ]
    found[BLOCKED] = [
        {"run": run, "greedy": evaluation(runs, run, text, "no-repeat")["model"]}
        for run in names["mle"]
    ]
    return found


def evaluation(runs: Path, run: str, text: str, search: str) -> Figures:
    path = runs / run / f"evaluation-{text}-{search}.json"
    metrics = json.loads(path.read_text(encoding="utf-8"))
    return {key: metrics[key] for key in metrics if key not in ("completions", "path")}


def table(results: dict[str, Any], text: str) -> str:
    """One text: predictions on gold prefixes, then continuations."""
    systems = results["texts"][text]
    some = systems["baseline"][0]
    human = {key: some[name] for key, name in HUMAN_TOKENS.items()}
    tokens = [head("on gold prefixes", TOKENS)]
    for name, seeds in systems.items():
        if name != BLOCKED:
            tokens.append(row(name, seeds, TOKENS))
    tokens.append(row("human", [human], TOKENS))
    both = [("greedy: ", "greedy", GREEDY), ("nucleus: ", "nucleus", NUCLEUS)]
    titles = [(f"{prefix}{title}", name, d) for prefix, _, cs in both for title, name, d in cs]
    lines = [head("continuations", titles)]
    for name, seeds in systems.items():
        cells = [
            cell([s.get(key, {}) for s in seeds], n, d) for _, key, cs in both for _, n, d in cs
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    cells = [cell([some["human"]], n, d) for _, _, columns in both for _, n, d in columns]
    lines.append("| human | " + " | ".join(cells) + " |")
    title = f"**{TEXTS[text]}** ({some['tokens']:,} pieces)"
    return "\n\n".join([title, "\n".join(tokens), "\n".join(lines)])


def head(title: str, columns: list[tuple[str, str, int]]) -> str:
    names = " | ".join(title for title, _, _ in columns)
    return f"| {title} | {names} |\n|---|" + "---:|" * len(columns)


def row(name: str, seeds: list[Figures], columns: list[tuple[str, str, int]]) -> str:
    return f"| {name} | " + " | ".join(cell(seeds, key, d) for _, key, d in columns) + " |"


def cell(seeds: list[Figures], key: str, decimals: int) -> str:
    """Mean ± standard deviation over the seeds; nothing where the figure is not measured."""
    values = [metrics[key] for metrics in seeds if metrics.get(key) is not None]
    if not values:
        return ""
    mean = f"{statistics.mean(values):,.{decimals}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {statistics.stdev(values):,.{decimals}f}"


def samples(runs: Path, names: dict[str, list[str]], seed: str) -> str:
    """One prefix of the held-out book, continued by every system; repeated 4-grams in bold."""
    systems = [(name, runs_of[0], "greedy") for name, runs_of in names.items()]
    systems.append((BLOCKED, names["mle"][0], "no-repeat"))
    systems += [
        (f"{name}, nucleus", names[name][0], "nucleus")
        for name in ("mle", "scalegrad-0.2")
        if name in names
    ]
    lines = []
    for name, run, search in systems:
        path = runs / run / f"completions-test-{search}.jsonl"
        with path.open(encoding="utf-8") as file:
            texts = json.loads(next(islice(file, SAMPLED, None)))
        if not lines:
            lines = [f"| prefix | {in_cell(texts['prefix'])} |\n|---|---|"]
            lines.append(f"| human | {in_cell(texts['human_marked'])} |")
        lines.append(f"| {name} | {in_cell(texts['continuation_marked'])} |")
    title = (
        f"**One prefix, seed {seed}**; 4-grams that occurred before in bold, ¶ ends a paragraph."
    )
    return title + "\n\n" + "\n".join(lines)


def in_cell(text: str) -> str:
    """Text as a cell of a Markdown table, what is marked in bold."""
    text = html.escape(text, quote=False).replace("|", "&#124;")
    return re.sub(r"([*_`\\])", r"\\\1", text).replace("⟦", "<b>").replace("⟧", "</b>")


def note(results: dict[str, Any]) -> str:
    some = results["texts"]["test"]["baseline"][0]
    seeds = ", ".join(map(str, results["seeds"]))
    return (
        f"Mean ± standard deviation over the fine-tuning seeds {seeds}; one baseline. Blocks of "
        f"{some['tokens_per_sample']}; {some['greedy']['continuations']} prefixes of "
        f"{some['prefix_length']} pieces a text, continued by {some['length']}. "
        + provenance_line(results)
    )


if __name__ == "__main__":
    main()
