"""Makes the table of what evaluate.sh answered: accuracy, and what it cost to train and to answer.

python examples/fusion_in_decoder/score.py --data DATA --runs RUNS --systems 'NAME ...' SEED...
"""

import json
import statistics
from pathlib import Path
from typing import Any

import click
import torch

from genft_fairseq import safe_loading
from genft_fairseq.evaluation.answer_files import read_questions
from genft_fairseq.evaluation.question_answering import paired_figures, score
from genft_fairseq.evaluation.records import (
    hardware,
    provenance_line,
    record_results,
    versions,
    write_whole,
)
from genft_fairseq.evaluation.training_runs import command_of, last_validation
from genft_fairseq.training_time import KEY

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
BASELINE, LONG = "plain", "long-answers"
PRETRAINING = ("sentences", "base")
# Of what evaluate-qa writes.
KEPT = (
    *("questions", "n_context", "exact_match", "f1", "bleu", "rouge_1", "rouge_2", "rouge_l"),
    *("recall_1", "recall_5", "recall_all", "target_exact_match", "evidence_accuracy"),
    *("pointed_accuracy", "reranked_recall_1", "encoder_seconds_per_question"),
    *("decoder_seconds_per_question", "processor_seconds_per_question", "generated_tokens"),
    *("cache_self_attention_bytes_per_question", "cache_cross_attention_bytes_per_question"),
)
Figures = dict[str, Any]


@click.command()
@click.argument("seeds", type=int, nargs=-1, required=True)
@click.option("--data", type=FOLDER, required=True)
@click.option("--runs", type=FOLDER, required=True)
@click.option("--systems", required=True, help="Names of a seed's runs, in order.")
@click.option("--record", is_flag=True, help="Write the results and the page beside this script.")
def main(seeds: tuple[int, ...], data: Path, runs: Path, systems: str, record: bool) -> None:
    names = systems.split()
    by_seed = {seed: {n: figures(runs / f"seed-{seed}" / n) for n in names} for seed in seeds}
    for seed in seeds:
        compare(runs / f"seed-{seed}", by_seed[seed], data / "questions" / "test.fid.jsonl")
    first = runs / f"seed-{seeds[0]}"
    manifest = json.loads((data / "questions" / "MANIFEST.json").read_text())
    results = {
        "seeds": list(seeds),
        "hardware": hardware(),
        "versions": versions(),
        "commands": {
            "prepare": manifest["recipe"]["command"],
            "train": {
                run.name: command_of(run, ROOT)
                for run in [*(runs / name for name in PRETRAINING), *(first / n for n in names)]
            },
            "evaluate": {
                name: (first / name / "answers.json.command").read_text().strip() for name in names
            },
        },
        "pretraining": {name: training(runs / name) for name in PRETRAINING},
        "systems": {name: summary([by_seed[seed][name] for seed in seeds]) for name in names},
    }
    page = table(results)
    write_whole(runs / "results.json", json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    if record:
        record_results(results, HERE / "results.json", HERE / "README.md", "results", page)
    print(page)


def figures(run: Path) -> Figures:
    found = json.loads((run / "answers.json").read_text(encoding="utf-8"))
    kept = {name: found[name] for name in KEPT if found.get(name) is not None}
    for figure in ("exact_match", "f1"):
        kept[f"{figure}_interval"] = found[f"{figure}_interval"]
    return {**kept, **training(run)}


def training(run: Path) -> Figures:
    """Updates, the seconds they took, and how large the model is."""
    state = safe_loading.load(run / "checkpoint_last.pt", map_location="cpu")
    logged = last_validation(run)
    distinct = {tensor.data_ptr(): tensor.numel() for tensor in state["model"].values()}
    seconds = state["extra_state"][KEY]
    clock = "wall" if torch.cuda.is_available() else "processor"
    return {
        "updates": int(logged["num_updates"]),
        "parameters": sum(distinct.values()),
        "train_seconds": seconds[clock],
        "train_clock": clock,
        "valid_ppl": logged["ppl"],
        "valid_accuracy": logged["accuracy"],
    }


def compare(folder: Path, systems: dict[str, Figures], references: Path) -> None:
    """Add the p-values of each system against plain Fusion-in-Decoder."""
    if BASELINE not in systems:
        return
    questions = read_questions(references)

    def scores(name: str) -> list[Any]:
        lines = (folder / name / "answers.jsonl").read_text(encoding="utf-8").splitlines()
        given = [json.loads(line)["prediction"] for line in lines]
        return [score(text, q.answers) for text, q in zip(given, questions, strict=True)]

    plain = scores(BASELINE)
    for name in systems.keys() - {BASELINE, LONG}:
        found = paired_figures(plain, scores(name))
        systems[name] |= {key: value for key, value in found.items() if key.endswith("p_value")}


def summary(seeds: list[Figures]) -> Figures:
    """Mean of every figure over the seeds, and each seed's own."""

    def spread(name: str) -> Figures:
        values = [found[name] for found in seeds]
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return {"mean": statistics.mean(values), "deviation": deviation, "seeds": values}

    numbers = [n for n, value in seeds[0].items() if isinstance(value, int | float)]
    others = {n: [s[n] for s in seeds] for n in seeds[0] if n not in numbers}
    return {**others, **{name: spread(name) for name in numbers}}


def table(results: Figures) -> str:
    systems = results["systems"]
    plain = systems.get(BASELINE)

    def mean(name: str, figure: str, scale: float = 1.0) -> float | None:
        found = systems[name].get(figure)
        return None if found is None else found["mean"] * scale

    def ratio(name: str, figure: str) -> str:
        own = mean(name, figure)
        return "" if own is None or plain is None else f" ({own / plain[figure]['mean']:.2f})"

    def cell(name: str, figure: str, scale: float, digits: int, compared: bool = False) -> str:
        value = mean(name, figure, scale)
        if value is None:
            return ""
        return f"{value:,.{digits}f}" + (ratio(name, figure) if compared else "")

    rows = [
        "| system | EM | F1 | p (F1) | ROUGE-L | training, s | parameters, M | encoder, ms | "
        "decoder, ms | cross-attention cache, KiB | self-attention cache, KiB |",
        "| --- " + "| ---: " * 10 + "|",
    ]
    for name in systems:
        long = name == LONG
        p_value = mean(name, "f1_p_value")
        cells = [
            name,
            "" if long else cell(name, "exact_match", 100, 1),
            "" if long else cell(name, "f1", 100, 1),
            "" if p_value is None else f"{p_value:.3f}",
            cell(name, "rouge_l", 100, 1),
            cell(name, "train_seconds", 1, 0, True),
            cell(name, "parameters", 1e-6, 2),
            cell(name, "encoder_seconds_per_question", 1000, 1, True),
            cell(name, "decoder_seconds_per_question", 1000, 1, not long),
            cell(name, "cache_cross_attention_bytes_per_question", 1 / 1024, 1, True),
            cell(name, "cache_self_attention_bytes_per_question", 1 / 1024, 1, not long),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    read = int(next(iter(systems.values()))["n_context"]["mean"])
    asked = int(next(iter(systems.values()))["questions"]["mean"])
    seeds = len(results["seeds"])
    note = (
        f"{asked} test questions, {read} passages read of each, greedy; "
        f"{'one seed' if seeds == 1 else f'means of {seeds} seeds'}. In brackets the ratio to "
        "plain. EM, F1 and ROUGE-L in percent; p: paired bootstrap against plain. Training: "
        f"{systems[next(iter(systems))]['train_clock'][0]} seconds of the updates. Encoder and "
        "decoder: milliseconds a question, wall clock. Cache: a question, when its answer ends."
    )
    return "\n".join(["", *rows, "", note, "", provenance_line(results), ""])


if __name__ == "__main__":
    main()
