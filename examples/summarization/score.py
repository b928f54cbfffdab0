"""Makes the tables of what was measured: ROUGE, repetition, length, cost, and p against MLE.

python examples/summarization/score.py --data DATA --runs RUNS --systems 'NAME ...' SEED...

For each seed RUNS/seed-SEED holds the runs, in which genft evaluate-summaries has left its figures.
"""

import json
from pathlib import Path
from typing import Any

import click

from genft_fairseq.experiments.training_log import command_of, training_metrics
from genft_fairseq.files import write_atomic
from genft_fairseq.metrics.significance import over_seeds
from genft_fairseq.provenance import hardware, provenance_line, record_results, versions

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
BASELINE, BLOCKED, LEAD = "mle", "mle-no-repeat-3", "lead-3"
# How summaries are searched for: the title of the table, and what the files are called.
SEARCHES = {"beam": "summaries", "greedy": "summaries-greedy"}
ROUGE = ("rouge_1", "rouge_2", "rouge_l", "rouge_lsum")
REPETITION = ("rep_1", "rep_2", "rep_3", "rep_4", "repeats_trigram")
TEXT = (
    *(*REPETITION, "words", "novel_1", "novel_2", "novel_3", "novel_4"),
    *("coverage", "density"),
)
COST = ("seconds_per_summary", "tokens_per_second", "generated_tokens")
KEPT = (*ROUGE, *(f"{name}_interval" for name in ROUGE), *TEXT, "length_ratio", "empty_summaries")
COMPARED = (*ROUGE, *REPETITION, "words")
LEVEL = 0.05
Figures = dict[str, Any]


@click.command()
@click.argument("seeds", type=int, nargs=-1, required=True)
@click.option("--data", type=FOLDER, multiple=True, required=True, help="Folders prepared.")
@click.option("--runs", type=FOLDER, required=True)
@click.option("--systems", required=True, help="Names of a seed's runs, in order.")
@click.option("--pretraining", default="", help="Names of the runs that all start from.")
@click.option("--results", "title", default="results", help="Names the JSON file and the markers.")
@click.option("--record", is_flag=True, help="Write the results and the page beside this script.")
def main(
    seeds: tuple[int, ...],
    data: tuple[Path, ...],
    runs: Path,
    systems: str,
    pretraining: str,
    title: str,
    record: bool,
) -> None:
    names, first = systems.split(), runs / f"seed-{seeds[0]}"
    files = measured(names)
    folders = [runs / f"seed-{seed}" for seed in seeds]
    trained = [*(runs / name for name in pretraining.split()), *(first / name for name in names)]
    results = {
        "seeds": list(seeds),
        "hardware": hardware(),
        "versions": versions("transformers", "tokenizers", "rouge-score"),
        "commands": {
            "prepare": {folder.name: prepared_by(folder) for folder in data},
            "train": {run.name: command_of(run, ROOT) for run in trained},
            "evaluate": {
                f"{name}, {search}": (first / f"{file}.json.command").read_text().strip()
                for name, by_search in files.items()
                for search, file in by_search.items()
            },
        },
        "pretraining": {name: training_metrics(runs / name) for name in pretraining.split()},
        "training": {
            name: over_seeds([training_metrics(folder / name) for folder in folders])
            for name in names
        },
        "systems": {
            name: {
                search: over_seeds([metrics(folder / f"{file}.json") for folder in folders])
                for search, file in by_search.items()
            }
            for name, by_search in files.items()
        },
        **test_set(first / f"{files[names[0]]['beam']}.json"),
    }
    count_significant(results["systems"])
    page = tables(results)
    write_atomic(runs / "results.json", json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    if record:
        record_results(results, HERE / f"{title}.json", HERE / "README.md", title, page)
    print(page)


def measured(names: list[str]) -> dict[str, dict[str, str]]:
    """Where the figures of each system are below a seed's folder, by search."""
    files = {}
    for name in names:
        files[name] = {search: f"{name}/{file}" for search, file in SEARCHES.items()}
        if name == BASELINE:
            files[BLOCKED] = {s: f"{file}-no-repeat-3" for s, file in files[name].items()}
    return files | {LEAD: {"beam": f"{LEAD}/summaries"}}  # not searched for: in one table


def prepared_by(data: Path) -> str:
    return str(json.loads((data / "MANIFEST.json").read_text())["recipe"]["command"])


def metrics(path: Path) -> Figures:
    """What evaluate-summaries found, and how it differs from the baseline's summaries."""
    found = json.loads(path.read_text(encoding="utf-8"))
    kept = {name: found[name] for name in KEPT if found.get(name) is not None}
    kept |= {name: found[name] for name in COST if name in found}
    compared = found.get("baseline", {})
    return kept | {f"{n}_p_value": compared[f"{n}_p_value"] for n in COMPARED if compared}


def test_set(path: Path) -> Figures:
    """What is the same for every system: the references, and how many there are."""
    found = json.loads(path.read_text(encoding="utf-8"))
    right = found["of_references"]
    decoding = {name: found[name] for name in ("beam", "max_len_b", "min_len", "lenpen")}
    return {
        "summaries": found["summaries"],
        "decoding": decoding,
        "references": {name: right[name] for name in TEXT if right.get(name) is not None},
    }


def count_significant(systems: Figures) -> None:
    """Beside the p-values of the seeds, how many of them are below the level."""
    for by_search in systems.values():
        for found in by_search.values():
            for name, value in found.items():
                if name.endswith("_p_value") and isinstance(value, dict):
                    value[f"below_{LEVEL}"] = sum(p < LEVEL for p in value["seeds"])


# Title of the column, name of the figure, factor, decimals.
COLUMNS = [
    *((f"ROUGE-{n[6:].replace('lsum', 'Lsum').replace('l', 'L')}", n, 100, 1) for n in ROUGE),
    *(("rep-3", "rep_3", 100, 1), ("rep-4", "rep_4", 100, 1)),
    *(("repeating", "repeats_trigram", 100, 0), ("words", "words", 1, 1)),
    *(("length ratio", "length_ratio", 1, 2), ("novel 3-grams", "novel_3", 100, 1)),
    ("s a summary", "seconds_per_summary", 1, 3),
]


def tables(results: Figures) -> str:
    parts = [
        f"**Beam of {results['decoding']['beam']}**",
        table(results, "beam"),
        "**Greedy**",
        table(results, "greedy"),
        "**Training**",
        training_table(results),
        note(results),
        provenance_line(results),
    ]
    return "\n".join(["", "\n\n".join(parts), ""])


def table(results: Figures, search: str) -> str:
    """One way of decoding: a row a system, and one of the references."""
    p_values = [("p of ROUGE-1", "rouge_1"), ("p of rep-3", "rep_3")]
    titles = [title for title, *_ in COLUMNS] + [title for title, _ in p_values]
    rows = [f"| system | {' | '.join(titles)} |", f"|---|{'---:|' * len(titles)}"]
    for name, by_search in results["systems"].items():
        if search in by_search:
            found = by_search[search]
            cells = [cell(found.get(figure), *style) for _, figure, *style in COLUMNS]
            cells += [p_cell(found.get(f"{figure}_p_value")) for _, figure in p_values]
            rows.append(f"| {name} | {' | '.join(cells)} |")
    right = {name: {"mean": v, "deviation": None} for name, v in results["references"].items()}
    cells = [cell(right.get(figure), *style) for _, figure, *style in COLUMNS]
    rows.append(f"| the references | {' | '.join(cells)} | | |")
    return "\n".join(rows)


def cell(value: Any, scale: float, digits: int) -> str:
    """Mean ± deviation; nothing where not every seed has the figure."""
    if not isinstance(value, dict):
        return ""
    text = f"{value['mean'] * scale:,.{digits}f}"
    return f"{text} ± {value['deviation'] * scale:,.{digits}f}" if value["deviation"] else text


def p_cell(value: Any) -> str:
    """The p-value of each seed, and how many are below the level."""
    if not isinstance(value, dict):
        return ""
    seeds = ", ".join(f"{p:.3f}" for p in value["seeds"])
    return f"{seeds} ({value[f'below_{LEVEL}']} of {len(value['seeds'])})"


def training_table(results: Figures) -> str:
    rows = [
        "| run | updates | training s | parameters, M | perplexity |",
        "|---|---:|---:|---:|---:|",
    ]
    pretraining = {name: over_seeds([run]) for name, run in results["pretraining"].items()}
    for name, run in (pretraining | results["training"]).items():
        cells = [
            cell(run["updates"], 1, 0),
            cell(run["train_seconds"], 1, 0),
            cell(run["parameters"], 1e-6, 2),
            cell(run["valid_ppl"], 1, 2),
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def note(results: Figures) -> str:
    seeds, decoding = results["seeds"], results["decoding"]
    clock = next(iter(results["training"].values()))["train_clock"][0]
    said = [
        f"{results['summaries']:,} test articles",
        f"seed {seeds[0]}"
        if len(seeds) == 1
        else f"mean ± standard deviation over the seeds {', '.join(map(str, seeds))}",
        f"{decoding['min_len']} to {decoding['max_len_b']} tokens",
        f"--lenpen {decoding['lenpen']:g}",
    ]
    text = (
        f"{'; '.join(said)}. ROUGE (F-measure), rep-n, repeating and novel 3-grams in percent. "
        f"Training s: {clock} time of the updates; seconds a summary: wall clock. "
        "Perplexity: of a validation "
        "token, at the last validation."
    )
    if BASELINE in results["systems"]:
        text += (
            f" p: paired bootstrap over the articles against the summaries of {BASELINE} by the "
            f"same search, a seed each, and in how many seeds it is below {LEVEL}."
        )
    return text


if __name__ == "__main__":
    main()
