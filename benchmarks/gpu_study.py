"""The strategy study of the GPU page: ``gpu_study.yaml`` for a data folder, and its baseline.

    python benchmarks/gpu_study.py --data data-bin/multi30k_en_de --work runs/gpu/study

writes ``runs/gpu/study/study.yaml``, and prints what ``fairseq-train`` needs for the baseline, one
word a line.  ``gpu.sh`` runs both.
"""

import os
import shlex
from pathlib import Path
from typing import Any

import click
import yaml
from result_files import OneLineError

TEMPLATE = Path(__file__).parent / "gpu_study.yaml"
BASELINE_UPDATES = 4000
# The schedule of the baseline, which has nothing to start from.
BASELINE = (
    "--lr 1e-3 --warmup-updates 1000 --validate-interval 5 --save-interval 5 --log-interval 50"
)
SMALL_UPDATES = 4
SMALL = (
    "--arch transformer --share-all-embeddings --label-smoothing 0.1 --optimizer adam --lr 1e-3 "
    "--encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 16 --decoder-embed-dim 16 "
    "--encoder-ffn-embed-dim 16 --decoder-ffn-embed-dim 16 --encoder-attention-heads 2 "
    "--decoder-attention-heads 2 --max-tokens 256 --no-save-optimizer-state"
)
SMALL_GENERATE = "--beam 2 --max-tokens 1000 --max-len-a 0 --max-len-b 5"
SMALL_STRATEGIES = 2  # the first ones


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="A folder that data-prep/ made for translation.",
)
@click.option(
    "--work", type=click.Path(path_type=Path), required=True, help="Where runs and results go."
)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--small", is_flag=True, help="Tiny, for trying it.")
@click.option("--dry-run", is_flag=True, help="Print, and write nothing.")
def main(data: Path, work: Path, seeds: int, small: bool, dry_run: bool) -> None:
    """Write the file that genft compare reads, and print how its baseline is trained."""
    study: dict[str, Any] = yaml.safe_load(TEMPLATE.read_text(encoding="utf-8"))
    train = shlex.split(study["train"])
    updates = SMALL_UPDATES if small else BASELINE_UPDATES
    if small:
        train = shlex.split(SMALL)
        study |= {"updates": SMALL_UPDATES, "train": SMALL, "generate": SMALL_GENERATE}
        study["strategies"] = study["strategies"][:SMALL_STRATEGIES]
    languages = [study["source_lang"], study["target_lang"]]
    study["seeds"] = [1001 + 1000 * number for number in range(seeds)]
    here = {"data": data, "references": data / "raw" / f"test.{languages[1]}"}
    baseline = work / "baseline"
    here |= {"baseline": baseline / "checkpoint_best.pt", "output": work / "comparison"}
    # Relative to the file, so that what is recorded reads the same everywhere.
    study |= {key: os.path.relpath(path, work) for key, path in here.items()}
    if not dry_run:
        if not here["references"].is_file():
            raise OneLineError(f"--data {data} has no {here['references'].relative_to(data)}")
        work.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(study, sort_keys=False, allow_unicode=True)
        (work / "study.yaml").write_text(text, encoding="utf-8")
    # A baseline that was interrupted goes on as if it had not been.
    train = [word for word in train if word != "--no-save-optimizer-state"]
    words = [
        *(str(data), "--task", "translation"),
        *("--source-lang", languages[0], "--target-lang", languages[1]),
        *("--criterion", "label_smoothed_cross_entropy", *train),
        *(() if small else shlex.split(BASELINE)),
        *("--max-update", str(updates), "--save-dir", str(baseline)),
        *("--no-epoch-checkpoints", "--log-format", "simple", "--seed", "1"),
    ]
    click.echo("\n".join(words))


if __name__ == "__main__":
    main()
