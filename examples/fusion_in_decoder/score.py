"""Makes the table of what evaluate.sh answered: accuracy, and what it cost to train and to answer.

python examples/fusion_in_decoder/score.py --data DATA --runs RUNS --systems 'NAME ...' SEED...
"""

import json
from pathlib import Path
from typing import Any

import click

from genft_fairseq.data.questions import read_references
from genft_fairseq.experiments.training_log import command_of, training_metrics
from genft_fairseq.files import write_atomic
from genft_fairseq.metrics.question_answering import paired_metrics, score
from genft_fairseq.metrics.significance import over_seeds
from genft_fairseq.provenance import hardware, provenance_line, record_results, versions

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
BASELINE, LONG = "plain", "long-answers"
CLOZES = "-clozes"  # ends the name of a run on the clozes
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
    trained = [*names, *(n + CLOZES for n in names if n != LONG)]
    by_seed = {seed: {n: metrics(runs / f"seed-{seed}" / n) for n in trained} for seed in seeds}
    for seed in seeds:
        folder = runs / f"seed-{seed}"
        compare(folder, by_seed[seed], "", data / "questions" / "test.fid.jsonl")
        compare(folder, by_seed[seed], CLOZES, data / "clozes" / "valid.fid.jsonl")
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
                for run in [*(runs / name for name in PRETRAINING), *(first / n for n in trained)]
            },
            "evaluate": {
                name: (first / name / "answers.json.command").read_text().strip()
                for name in trained
            },
        },
        "pretraining": {name: training_metrics(runs / name) for name in PRETRAINING},
        "systems": {name: over_seeds([by_seed[seed][name] for seed in seeds]) for name in trained},
    }
    page = table(results)
    write_atomic(runs / "results.json", json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    if record:
        record_results(results, HERE / "results.json", HERE / "README.md", "results", page)
    print(page)


def metrics(run: Path) -> Figures:
    found = json.loads((run / "answers.json").read_text(encoding="utf-8"))
    kept = {name: found[name] for name in KEPT if found.get(name) is not None}
    for figure in ("exact_match", "f1"):
        kept[f"{figure}_interval"] = found[f"{figure}_interval"]
    return {**kept, **training_metrics(run)}


def compare(folder: Path, systems: dict[str, Figures], ending: str, references: Path) -> None:
    """Add the p-values of each system against plain Fusion-in-Decoder on the same questions."""
    names = [n for n in systems if n.endswith(CLOZES) == bool(ending) and n != LONG]
    if BASELINE + ending not in names:
        return
    questions = read_references(references)

    def scores(name: str) -> list[Any]:
        lines = (folder / name / "answers.jsonl").read_text(encoding="utf-8").splitlines()
        given = [json.loads(line)["prediction"] for line in lines]
        return [score(text, q.answers) for text, q in zip(given, questions, strict=True)]

    plain = scores(BASELINE + ending)
    for name in names:
        if name != BASELINE + ending:
            found = paired_metrics(plain, scores(name))
            systems[name] |= {key: value for key, value in found.items() if "p_value" in key}


def table(results: Figures) -> str:
    systems = results["systems"]

    def mean(name: str, figure: str) -> float | None:
        found = systems.get(name, {}).get(figure)
        return None if found is None else found["mean"]

    def cell(name: str, figure: str, scale: float, digits: int, compared: bool = False) -> str:
        value, plain = mean(name, figure), mean(BASELINE, figure)
        if value is None:
            return ""
        ratio = f" ({value / plain:.2f})" if compared and plain else ""
        return f"{value * scale:,.{digits}f}{ratio}"

    rows = [
        "| system | clozes EM | clozes F1 | p | questions EM | questions F1 | perplexity | "
        "training, s | parameters, M | encoder, ms | decoder, ms | cross cache, KiB | "
        "self cache, KiB |",
        "| --- " + "| ---: " * 12 + "|",
    ]
    names = [name for name in systems if not name.endswith(CLOZES)]
    for name in names:
        long = name == LONG
        cells = [
            name,
            cell(name + CLOZES, "exact_match", 100, 1),
            cell(name + CLOZES, "f1", 100, 1),
            cell(name + CLOZES, "f1_p_value", 1, 3),
            "" if long else cell(name, "exact_match", 100, 1),
            "" if long else cell(name, "f1", 100, 1),
            cell(name, "valid_ppl", 1, 1),
            cell(name, "train_seconds", 1, 0, not long),
            cell(name, "parameters", 1e-6, 2),
            cell(name, "encoder_seconds_per_question", 1000, 1, True),
            cell(name, "decoder_seconds_per_question", 1000, 1, not long),
            cell(name, "cache_cross_attention_bytes_per_question", 1 / 1024, 1, True),
            cell(name, "cache_self_attention_bytes_per_question", 1 / 1024, 1, not long),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(["", *rows, "", note(results, names), "", provenance_line(results), ""])


def note(results: Figures, names: list[str]) -> str:
    systems, seeds = results["systems"], len(results["seeds"])
    first = systems[names[0]]
    clozes = systems.get(names[0] + CLOZES, {}).get("questions", {}).get("mean")
    said = [
        f"{first['questions']['mean']:.0f} test questions"
        + (f" and {clozes:.0f} clozes held out" if clozes else ""),
        f"{first['n_context']['mean']:.0f} passages read of each, greedy",
        "one seed" if seeds == 1 else f"means of {seeds} seeds",
    ]
    text = (
        f"{'; '.join(said)}. EM and F1 in percent; p: paired bootstrap of F1 against plain; "
        "perplexity: of a validation token. In brackets the ratio to plain. Training: "
        f"{first['train_clock'][0]} seconds of the updates on the questions. Encoder and decoder: "
        "milliseconds a question of the test, wall clock. Cache: a question, when its answer ends."
    )
    if LONG in systems:
        long = systems[LONG]
        text += (
            f" {LONG}: ROUGE-1 {long['rouge_1']['mean'] * 100:.1f}, ROUGE-L "
            f"{long['rouge_l']['mean'] * 100:.1f}, BLEU {long['bleu']['mean']:.1f} against the "
            "annotated paragraphs."
        )
    return text


if __name__ == "__main__":
    main()
