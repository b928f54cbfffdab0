"""Compares what generate.sh decoded: mean and spread over seeds, significance against MLE.

python examples/token_level_study/score.py TASK --data DATA --runs RUNS --models 'NAME ...' SEED...
"""

import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from choose import validation_bleu
from equal_time import updates_per_second
from table import TITLES, table

from genft_fairseq.evaluation.predictions import read_lines, read_translations
from genft_fairseq.experiments.training_log import command_of, last_validation, train_seconds
from genft_fairseq.files import write_atomic
from genft_fairseq.metrics.repetition import repetition
from genft_fairseq.metrics.significance import bleu_p_values, mean_p_value
from genft_fairseq.metrics.translation import translation_metrics, word_repetitions
from genft_fairseq.provenance import hardware, record_results, versions

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
# Other ways of decoding with the MLE models: what the file is called, and the row.
DECODINGS = {"no-repeat": "mle, no 3-gram twice", "nucleus": "mle, nucleus sampling, p = 0.9"}
Figures = dict[str, Any]


@click.command()
@click.argument("task", type=click.Choice(list(TITLES)))
@click.argument("seeds", type=int, nargs=-1, required=True)
@click.option("--data", type=FOLDER, required=True)
@click.option("--runs", type=FOLDER, required=True)
@click.option("--models", required=True, help="Names of a seed's runs, in order.")
@click.option("--record", is_flag=True, help="Write the results and the page beside this script.")
def main(
    task: str, seeds: tuple[int, ...], data: Path, runs: Path, models: str, record: bool
) -> None:
    score = score_translation if task == "translation" else score_language_models
    by_seed = {seed: score(runs / f"seed-{seed}", models.split(), data) for seed in seeds}
    first = runs / f"seed-{seeds[0]}"
    results = {
        "task": task,
        "seeds": list(seeds),
        "hardware": hardware(),
        "versions": versions(),
        "commands": {
            "prepare": json.loads((data / "MANIFEST.json").read_text())["recipe"]["command"],
            "train": {name: command_of(first / name, ROOT) for name in models.split()},
            "generate": f"examples/token_level_study/generate.sh {task}",
        },
        "learning_rate_search": {
            run.name: {**validation_figures(run), **bleu(run, task, data)}
            for run in searched(first)
        },
        "updates_per_second": {
            method: round(updates_per_second(first, method), 3)
            for method in dict.fromkeys(run.name.split("-lr-")[0] for run in searched(first))
        },
        "human": human_figures(task, data, first),
        "systems": {
            system: summary([by_seed[seed][system] for seed in seeds])
            for system in by_seed[seeds[0]]
        },
    }
    page = table(results)
    write_atomic(runs / "results.json", json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    if record:
        record_results(results, HERE / f"results-{task}.json", HERE / "README.md", task, page)
    print(page)


def searched(folder: Path) -> list[Path]:
    """The runs of the learning-rate search."""
    return sorted(log.parent for log in folder.glob("*-lr-*/train.log"))


def bleu(run: Path, task: str, data: Path) -> Figures:
    return {"valid_bleu": validation_bleu(run, data)} if task == "translation" else {}


def title(model: str) -> str:
    """A run's name in the table: the method without its learning rate."""
    return re.sub(r"-lr-.*", "", model)


def systems_of(folder: Path, models: list[str], name: Callable[[str], str]) -> dict[str, Path]:
    """Each row of the table, and the file that holds its output."""
    rows = {title(model): folder / model / name("test") for model in models}
    mle = next(model for model in models if title(model) == "mle")
    return rows | {row: folder / mle / name(kind) for kind, row in DECODINGS.items()}


def training_metrics(run: Path) -> Figures:
    return {**validation_figures(run), "train_seconds": train_seconds(run)}


def validation_figures(run: Path) -> Figures:
    logged = last_validation(run)
    return {
        "valid_ppl": logged["ppl"],
        "valid_accuracy": logged["accuracy"],
        "updates": int(logged["num_updates"]),
    }


def score_translation(folder: Path, models: list[str], data: Path) -> dict[str, Figures]:
    references = read_lines(data / "raw" / "test.de")
    files = systems_of(folder, models, "generate-{}.txt".format)
    output = {system: read_translations(path) for system, path in files.items()}
    others = {system: text for system, text in output.items() if system != "mle"}
    p_values = bleu_p_values(output["mle"], others, references)
    return {
        system: {
            **translation_metrics(text, references),
            **training_metrics(files[system].parent),
            "p_value": p_values.get(system),
        }
        for system, text in output.items()
    }


def score_language_models(folder: Path, models: list[str], data: Path) -> dict[str, Figures]:
    files = systems_of(folder, models, "evaluation-{}.json".format)
    output = {
        system: json.loads(path.read_text(encoding="utf-8")) for system, path in files.items()
    }
    # Of each continuation, in pieces, as rep-4 is: generate.sh does not have them joined.
    repeated = {
        system: [
            repetition(completion["continuation"].split(), 4) or 0.0
            for completion in evaluation["completions"]
        ]
        for system, evaluation in output.items()
    }
    return {
        system: {
            "test_ppl": evaluation["perplexity"],
            "test_accuracy": evaluation["accuracy"],
            **{f"rep_{n}": evaluation["model"][f"seq_rep_{n}"] for n in (1, 2, 3, 4)},
            "distinct_tokens": evaluation["model"]["uniq_seq"],
            **training_metrics(files[system].parent),
            "p_value": None if system == "mle" else mean_p_value(repeated["mle"], repeated[system]),
        }
        for system, evaluation in output.items()
    }


def human_figures(task: str, data: Path, folder: Path) -> Figures:
    if task == "translation":
        references = read_lines(data / "raw" / "test.de")
        return word_repetitions(references)
    human = json.loads((folder / "baseline" / "evaluation-test.json").read_text())["human"]
    return {
        **{f"rep_{n}": human[f"seq_rep_{n}"] for n in (1, 2, 3, 4)},
        "distinct_tokens": human["uniq_seq"],
        "continuations": human["continuations"],
    }


def summary(seeds: list[Figures]) -> Figures:
    """Mean and standard deviation of every figure over the seeds, and each seed's own."""

    def spread(name: str) -> Figures:
        values = [metrics[name] for metrics in seeds]
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return {"mean": statistics.mean(values), "deviation": deviation, "seeds": values}

    numbers = [name for name, value in seeds[0].items() if isinstance(value, int | float)]
    words = {name: value for name, value in seeds[0].items() if isinstance(value, str)}
    return {**words, **{name: spread(name) for name in numbers}}


if __name__ == "__main__":
    main()
