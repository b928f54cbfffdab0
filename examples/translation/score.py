"""Scores what generate.sh translated: writes results.json and the table in README.md from it.

    python examples/translation/score.py --data DATA --runs RUNS

Figures: sacreBLEU's BLEU and chrF of the detokenised translations against the untouched references,
with their signatures; the ratio of lengths; the share of repeated 4-grams within a sentence, beside
the references'; the loss on the validation set; training seconds.
"""

import json
import re
from pathlib import Path

import click

from genft_fairseq.evaluation.records import (
    hardware,
    provenance_line,
    replace_between_markers,
    versions,
    write_whole,
)
from genft_fairseq.evaluation.translation import (
    read_translations,
    translation_figures,
    word_repetition,
)

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RUNS = ("baseline", "mle", "scalegrad-0.5", "scalegrad-0.2")


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--runs", type=click.Path(exists=True, path_type=Path), required=True)
def main(data: Path, runs: Path) -> None:
    references = (data / "raw" / "test.de").read_text(encoding="utf-8").splitlines()
    results = {
        "seed": int(re.search(r"--seed (\d+)", command_of(runs / "baseline"))[1]),
        "hardware": hardware(),
        "versions": versions(),
        "commands": {
            "prepare": json.loads((data / "MANIFEST.json").read_text())["recipe"]["command"],
            "train": {name: command_of(runs / name) for name in RUNS},
            "generate": "examples/translation/generate.sh",
        },
        "references": {"rep_4": word_repetition(references)},
        "runs": {name: figures(runs / name, references) for name in RUNS},
    }
    readme = HERE / "README.md"
    page = replace_between_markers(readme.read_text(encoding="utf-8"), "results", table(results))
    write_whole(HERE / "results.json", json.dumps(results, indent=2) + "\n")
    write_whole(readme, page)
    print(table(results))


def command_of(run: Path) -> str:
    """The command that trained a run, with paths relative to the checkout."""
    return (run / "command").read_text().strip().replace(f"{ROOT}/", "")


def figures(run: Path, references: list[str]) -> dict:
    return {
        **translation_figures(read_translations(run / "generate-test.txt"), references),
        **last_validation(run / "train.log"),
        "train_seconds": int((run / "seconds").read_text()),
    }


def last_validation(log: Path) -> dict:
    """The last plain nll on the validation set, in bits, and what the method logs beside it."""
    line = [line for line in log.read_text().splitlines() if " valid | " in line][-1]
    logged = dict(re.findall(r"(\w+) ([\d.]+)", line))
    return {"valid_ppl": float(logged["ppl"]), "updates": int(logged["num_updates"])}


def table(results: dict) -> str:
    lines = [
        "| run | BLEU | chrF | length ratio | rep-4 | valid ppl | updates | train s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, run in results["runs"].items():
        lines.append(
            f"| {name} | {run['bleu']:.2f} | {run['chrf']:.2f} | {run['length_ratio']:.3f} "
            f"| {run['rep_4']:.4f} | {run['valid_ppl']:.2f} | {run['updates']} "
            f"| {run['train_seconds']} |"
        )
    lines.append(f"| the references | | | | {results['references']['rep_4']:.4f} | | | |")
    some = results["runs"]["baseline"]
    lines += [
        "",
        f"BLEU `{some['bleu_signature']}`, chrF `{some['chrf_signature']}`; "
        f"seed {results['seed']}; " + provenance_line(results),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
