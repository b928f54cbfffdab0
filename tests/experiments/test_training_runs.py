"""What is read from the folder of a training run."""

import math

import torch
from refusals import refuses

from genft_fairseq.experiments.training_log import (
    command_of,
    last_validation,
    train_seconds,
    training_metrics,
)

LOG = """\
x | INFO | train_inner | epoch 001:     80 / 282 loss=4.6, ppl=10.3, num_updates=80
x | INFO | valid | epoch 001 | valid on 'valid' subset | loss 9 | ppl 15.5 | num_updates 100
x | INFO | valid | epoch 002 | valid on 'valid' subset | loss -1e-05 | ppl 10.2 | gnorm inf | a nan | num_updates 140
x | INFO | train | epoch 002 | loss 3 | ppl 8.1 | num_updates 140
"""  # noqa: E501


def test_last_validation(tmp_path):
    (tmp_path / "train.log").write_text(LOG)
    metrics = last_validation(tmp_path)
    assert math.isnan(metrics.pop("a"))
    assert metrics == {
        **{"epoch": 2, "loss": -1e-05, "ppl": 10.2, "gnorm": math.inf, "num_updates": 140}
    }
    (tmp_path / "train.log").write_text(LOG.splitlines()[0])
    with refuses(tmp_path / "train.log"):
        last_validation(tmp_path)


def test_command_and_seconds(tmp_path):
    (tmp_path / "command").write_text(f"fairseq-train {tmp_path}/data --save-dir {tmp_path}/run \n")
    (tmp_path / "seconds").write_text("61\n")
    assert command_of(tmp_path, tmp_path) == "fairseq-train data --save-dir run"
    assert command_of(tmp_path) == f"fairseq-train {tmp_path}/data --save-dir {tmp_path}/run"
    assert train_seconds(tmp_path) == 61


def test_training_figures(tmp_path, monkeypatch):
    """A tied parameter counts once; the processor's clock where there is no GPU."""
    (tmp_path / "train.log").write_text(LOG)
    tied = torch.zeros(3, 4)
    seconds = {"train_seconds": {"wall": 9.0, "processor": 7.5}}
    state = {"model": {"in": tied, "out": tied, "bias": torch.ones(4)}, "extra_state": seconds}
    torch.save(state, tmp_path / "checkpoint_last.pt")
    for gpu, clock, took in ((False, "processor", 7.5), (True, "wall", 9.0)):
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        assert training_metrics(tmp_path) == {
            **{"updates": 140, "parameters": 16, "train_seconds": took, "train_clock": clock},
            "valid_ppl": 10.2,
        }
    log = LOG.replace("| ppl 10.2 |", "| ppl 10.2 | accuracy 50.5 |")
    (tmp_path / "train.log").write_text(log)
    assert training_metrics(tmp_path)["valid_accuracy"] == 50.5
