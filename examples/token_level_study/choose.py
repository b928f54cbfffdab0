"""Prints the learning rate that validation likes best for a method.

    python choose.py TASK DATA SEED_FOLDER METHOD LEARNING_RATE...

Translation: the highest BLEU of the validation set, beam 5.  Language modelling: the
lowest perplexity of the plain likelihood on the validation set, whatever the method trains.
"""

import math
import sys
from pathlib import Path

from genft_fairseq.evaluation.predictions import read_lines, read_translations
from genft_fairseq.experiments.training_log import last_validation
from genft_fairseq.metrics.translation import translation_metrics


def validation_bleu(run: Path, data: Path) -> float:
    references = read_lines(data / "raw" / "valid.de")
    return translation_metrics(read_translations(run / "generate-valid.txt"), references)["bleu"]


def chosen_rate(task: str, data: Path, folder: Path, method: str, rates: list[str]) -> str:
    runs = {rate: folder / f"{method}-lr-{rate}" for rate in rates}
    if task == "translation":
        return max(rates, key=lambda rate: validation_bleu(runs[rate], data))
    found = {rate: last_validation(runs[rate])["ppl"] for rate in rates}
    return min(rates, key=lambda rate: math.inf if math.isnan(found[rate]) else found[rate])


if __name__ == "__main__":
    task, data, folder, method, *rates = sys.argv[1:]
    print(chosen_rate(task, Path(data), Path(folder), method, rates))
