"""Scores what a recipe's generate.sh translated, and prints the table.

    python examples/translation/score.py RECIPE --data DATA --runs RUNS NAME...

Figures: sacreBLEU's BLEU and chrF of the detokenised translations against the untouched references,
with their signatures; the ratio of lengths; the share of repeated 4-grams within a sentence, beside
the references'; the loss on the validation set; training seconds.
"""

import json
import re
from pathlib import Path

import click
from tokenised_bleu import tokenised_bleu

from genft_fairseq.evaluation.predictions import read_lines, read_translations
from genft_fairseq.experiments.training_log import command_of, last_validation, train_seconds
from genft_fairseq.files import write_atomic
from genft_fairseq.metrics.translation import translation_metrics, word_repetition
from genft_fairseq.provenance import hardware, provenance_line, record_results, versions

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("recipe", type=click.Choice(["iwslt14_de_en", "multi30k", "wmt14_en_de"]))
@click.argument("names", nargs=-1, required=True)
@click.option("--data", type=FOLDER, required=True)
@click.option("--runs", type=FOLDER, required=True)
@click.option("--lowercase", is_flag=True, help="Score without regard to case.")
@click.option(
    "--tokenised-bleu",
    "tokenised",
    type=click.Choice(["plain", "compounds-split"]),
    help="Also BLEU as the published figure is computed.",
)
@click.option("--results", "title", default="results", help="Names the JSON file and the markers.")
@click.option("--record", is_flag=True, help="Write the JSON and the table beside the recipe.")
def main(
    recipe: str,
    names: tuple[str, ...],
    data: Path,
    runs: Path,
    lowercase: bool,
    tokenised: str | None,
    title: str,
    record: bool,
) -> None:
    command = command_of(runs / names[0], ROOT)
    target = re.search(r"--target-lang (\w+)", command)[1]
    references = read_lines(data / "raw" / f"test.{target}")

    def metrics(run: Path) -> dict:
        translations = read_translations(run / "generate-test.txt")
        found = translation_metrics(translations, references, lowercase=lowercase)
        if tokenised:
            found["tokenised_bleu"] = tokenised_bleu(
                *(translations, references, target),
                split_compounds=tokenised == "compounds-split",
                lowercase=lowercase,
            )
        valid = last_validation(run)
        return {
            **found,
            **{"valid_ppl": valid["ppl"], "updates": int(valid["num_updates"])},
            "train_seconds": train_seconds(run),
        }

    results = {
        "seed": int(re.search(r"--seed (\d+)", command)[1]),
        "hardware": hardware(),
        "versions": versions(),
        "commands": {
            "prepare": json.loads((data / "MANIFEST.json").read_text())["recipe"]["command"],
            "train": {name: command_of(runs / name, ROOT) for name in names},
            "generate": f"examples/translation/{recipe}/generate.sh",
        },
        "references": {"rep_4": word_repetition(references)},
        "runs": {name: metrics(runs / name) for name in names},
    }
    page = table(results)
    write_atomic(runs / "results.json", json.dumps(results, indent=2) + "\n")
    if record:
        folder = HERE / recipe
        record_results(results, folder / f"{title}.json", folder / "README.md", title, page)
    print(page)


def table(results: dict) -> str:
    runs = results["runs"]
    some = next(iter(runs.values()))
    tokenised = " tokenised BLEU |" if "tokenised_bleu" in some else ""
    lines = [
        f"| run | BLEU |{tokenised} chrF | length ratio | rep-4 | valid ppl | updates | wall s |",
        "|---|---|---|---|---|---|---|---|" + ("---|" if tokenised else ""),
    ]
    for name, run in runs.items():
        second = f" {run['tokenised_bleu']:.2f} |" if tokenised else ""
        lines.append(
            f"| {name} | {run['bleu']:.2f} |{second} {run['chrf']:.2f} | {run['length_ratio']:.3f} "
            f"| {run['rep_4']:.4f} | {run['valid_ppl']:.2f} | {run['updates']} "
            f"| {run['train_seconds']} |"
        )
    empty = " |" if tokenised else ""
    lines.append(f"| the references | |{empty} | | {results['references']['rep_4']:.4f} | | | |")
    lines += [
        "",
        f"BLEU `{some['bleu_signature']}`, chrF `{some['chrf_signature']}`; "
        f"seed {results['seed']}; " + provenance_line(results),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
