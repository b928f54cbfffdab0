"""What is read from fairseq's logs and checkpoints."""

from argparse import Namespace

import pytest
import torch
from refusals import refuses

from genft_fairseq.experiments.training_log import (
    Checkpoint,
    Origin,
    TrainingLog,
    read_checkpoint,
    read_checkpoints,
    read_training_log,
    token_loss,
)

INNER = "10:00 | INFO | train_inner | epoch 001: "
LOG = f"""\
10:00 | INFO | fairseq.utils | rank   0: capabilities =  9.0  ; total memory = 139.800 GB ; name = H
{INNER}    80 / 282 loss=4.619, nll_loss=3.364, ups=3.19, num_updates=80, gnorm=inf, gb_free=139.3
{INNER}   100 / 282 loss=4.766, nll_loss=3.531, num_updates=100, lr=5e-05, gb_free=138.8, wall=32
10:00 | INFO | valid | epoch 001 | valid on 'v' subset | loss 4.6 | nll_loss 3.3 | num_updates 100
not a line of fairseq's
{INNER}   100 / 282 loss=4.7, nll_loss=3.5, num_updates=100, lr=5e-05, gb_free=138.8, wall=32
10:00 | INFO | train | epoch 001 | loss 4.679 | nll_loss 3.433 | num_updates 140 | train_wall 56
"""


def test_log(tmp_path):
    path = tmp_path / "train.log"
    assert read_training_log(path) == TrainingLog()
    path.write_text(LOG)
    log = read_training_log(path)
    assert list(log.training) == [80, 100]
    assert log.training[80]["nll_loss"] == 3.364
    assert log.training[80]["gnorm"] == float("inf")
    assert log.training[100]["nll_loss"] == 3.5  # done again after a resume
    assert log.training[100]["lr"] == 5e-05
    valid = {"epoch": 1, "loss": 4.6, "nll_loss": 3.3, "num_updates": 100}
    assert log.validation == {100: valid}
    assert log.updates_per_epoch == 282
    assert log.gpu_mib() == pytest.approx([0.5 * 1024, 1.0 * 1024])


def test_token_loss():
    assert token_loss({"loss": 4.0, "nll_loss": 3.0}) == 3.0
    assert token_loss({"loss": 4.0}) == 4.0
    assert token_loss({}) is None


def write_checkpoint(path, updates, seconds, cpu=True):
    mine, other = ("processor", "wall") if cpu else ("wall", "processor")
    torch.save(
        {
            "model": {},
            "cfg": {"common": {"cpu": cpu}},
            # The first entry is the baseline's.
            "optimizer_history": [{"num_updates": 900}, {"num_updates": updates}],
            "extra_state": {"train_seconds": {mine: seconds, other: 9 * seconds}},
        },
        path,
    )


def test_checkpoints(tmp_path):
    for name, updates, seconds in (
        ("checkpoint_1_30.pt", 30, 10.5),
        ("checkpoint_1_9.pt", 9, 3.25),
        ("checkpoint_2_40.pt", 40, 14.0),
        ("checkpoint_best.pt", 30, 10.5),
        ("checkpoint_last.pt", 40, 14.0),
    ):
        write_checkpoint(tmp_path / name, updates, seconds)
    assert read_checkpoints(tmp_path) == [
        Checkpoint("checkpoint_1_9.pt", 9, 3.25),
        Checkpoint("checkpoint_1_30.pt", 30, 10.5),
        Checkpoint("checkpoint_last.pt", 40, 14.0),
    ]


def test_a_gpu_is_timed_by_the_clock_on_the_wall(tmp_path):
    """Where the processor only waits; the other clock has nine times as much in both cases."""
    write_checkpoint(tmp_path / "cpu.pt", 5, 2.0)
    write_checkpoint(tmp_path / "gpu.pt", 5, 2.0, cpu=False)
    assert read_checkpoint(tmp_path / "cpu.pt").train_seconds == 2.0
    assert read_checkpoint(tmp_path / "gpu.pt").train_seconds == 2.0


def test_how_a_run_was_begun_and_whether_it_ended(tmp_path):
    path = tmp_path / "checkpoint_last.pt"
    task = Namespace(_name="translation")  # one without a configuration of its own
    cfg = {
        "common": {"cpu": True},
        "criterion": {"_name": "scalegrad"},
        "task": task,
        "checkpoint": {"finetune_from_model": "a.pt", "restore_file": "checkpoint_last.pt"},
        "optimization": {"max_update": 0, "max_epoch": 3},
    }
    state = {"cfg": cfg, "optimizer_history": [{"num_updates": 5}], "extra_state": {}}
    torch.save(state, path)
    found = read_checkpoint(path)
    assert found.origin == Origin(criterion="scalegrad", task="translation", start="a.pt")
    assert not found.is_final
    cfg["checkpoint"]["restore_file"] = "b.pt"
    state["extra_state"] = {"train_iterator": {"epoch": 4}}
    torch.save(state, path)
    assert read_checkpoint(path).origin.start == "b.pt" and read_checkpoint(path).is_final
    assert set(found.as_dict()) == {"file", "updates", "train_seconds"}


def test_what_is_no_checkpoint(tmp_path):
    torch.save({"model": {}}, tmp_path / "model.pt")
    with refuses(tmp_path / "model.pt"):
        read_checkpoint(tmp_path / "model.pt")
    (tmp_path / "half.pt").write_bytes(b"half")
    with refuses(tmp_path / "half.pt"):
        read_checkpoint(tmp_path / "half.pt")
