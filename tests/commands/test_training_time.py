"""The time of updates: in every checkpoint, carried on by a resume, and not by a fine-tuning."""

from itertools import pairwise

import torch
from fairseq_commands import TINY_TRANSLATION, train


def seconds(folder):
    state = torch.load(folder / "checkpoint_last.pt", weights_only=False)
    return state["extra_state"]["train_seconds"]


def grown(before, after):
    return all(after[clock] > before[clock] > 0 for clock in ("wall", "processor"))


def test_carried_on(translation_data, tmp_path):
    """From the middle of an epoch, and from its end, where fairseq's own sums start anew."""
    common = (translation_data, tmp_path / "run", TINY_TRANSLATION, "--criterion", "cross_entropy")
    found = []
    for stop in (["--max-update", 3], ["--max-epoch", 1], ["--max-epoch", 2], ["--max-epoch", 3]):
        train(*common, *stop)
        found.append(seconds(tmp_path / "run"))
    assert all(grown(before, after) for before, after in pairwise(found))

    baseline = tmp_path / "run" / "checkpoint_last.pt"
    tuned = (translation_data, tmp_path / "tuned", TINY_TRANSLATION, "--criterion", "scalegrad")
    train(*tuned, "--finetune-from-model", baseline, "--max-update", 1)
    assert grown(seconds(tmp_path / "tuned"), found[-1])
