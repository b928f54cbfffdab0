"""The record of what a save folder was begun from, what is refused, and the lock."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from refusals import refuses

from genft_fairseq.experiments.save_folders import (
    Baseline,
    Beginning,
    read_baseline,
    read_beginning,
    record_beginning,
    require_beginning,
    require_no_beginning,
    training_lock,
)

ASKED = Beginning("scalegrad", Baseline("base.pt", "0123456789abcdef"))


def begun(path: Path, beginning: Beginning = ASKED, checkpoint: bool = True) -> Path:
    path.mkdir()
    record_beginning(path, beginning, "fairseq-train ...")
    if checkpoint:
        (path / "checkpoint_last.pt").touch()
    return path


def assert_another_beginning(save_dir: Path, *named: str, asked: Beginning = ASKED) -> None:
    """It is neither gone on with nor recorded."""
    before = {path.name: path.read_bytes() for path in save_dir.iterdir()}
    for begin in (require_beginning, lambda *given: record_beginning(*given, "other")):
        with refuses(save_dir, *named):
            begin(save_dir, asked)
    assert {path.name: path.read_bytes() for path in save_dir.iterdir()} == before


def test_a_baseline_is_known_by_its_bytes(tmp_path):
    content = os.urandom(3 << 20)
    (tmp_path / "base.pt").write_bytes(content)
    found = read_baseline(tmp_path / "base.pt")
    assert found == Baseline(str(tmp_path / "base.pt"), hashlib.sha256(content).hexdigest())


def test_the_record(tmp_path):
    save_dir = begun(tmp_path / "a")
    assert json.loads((save_dir / "genft.json").read_text()) == {
        "strategy": "scalegrad",
        "baseline": {"path": "base.pt", "sha256": "0123456789abcdef"},
        "command": "fairseq-train ...",
    }
    assert read_beginning(save_dir) == ASKED
    assert sorted(os.listdir(save_dir)) == ["checkpoint_last.pt", "genft.json"]
    assert read_beginning(tmp_path / "nowhere") is None
    assert read_beginning(save_dir / "genft.json") is None


def test_the_same_beginning_goes_on_and_keeps_its_record(tmp_path):
    save_dir = begun(tmp_path / "a")
    moved = Beginning("scalegrad", Baseline("elsewhere/base.pt", ASKED.baseline.sha256))
    record_beginning(save_dir, moved, "fairseq-train --max-update 9")
    assert read_beginning(save_dir) == ASKED


def test_before_the_first_checkpoint_anything_can_begin(tmp_path):
    save_dir = begun(tmp_path / "a", checkpoint=False)
    other = Beginning("unlikelihood", ASKED.baseline)
    record_beginning(save_dir, other, "other")
    assert read_beginning(save_dir) == other


def test_another_baseline_is_refused(tmp_path):
    save_dir = begun(tmp_path / "a")
    other = Beginning("scalegrad", Baseline("base.pt", "fedcba9876543210"))
    assert_another_beginning(save_dir, "0123456789ab", "fedcba987654", asked=other)


def test_another_strategy_is_refused(tmp_path):
    save_dir = begun(tmp_path / "a")
    other = Beginning("standard", ASKED.baseline)
    assert_another_beginning(save_dir, "scalegrad", "standard", asked=other)


def test_checkpoints_that_nobody_knows_of_are_refused(tmp_path):
    (tmp_path / "checkpoint3.pt").touch()
    assert_another_beginning(tmp_path, "genft.json", "--save-dir")


@pytest.mark.parametrize("checkpoint", [True, False])
def test_training_from_the_beginning_is_refused_in_a_folder_of_fine_tuning(checkpoint, tmp_path):
    save_dir = begun(tmp_path / "a", checkpoint=checkpoint)
    with refuses(save_dir, "scalegrad", "base.pt", "standard", "--save-dir"):
        require_no_beginning(save_dir, "standard")
    require_no_beginning(tmp_path, "standard")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"strategy": "a", "baseline": {"x": 1}}'])
def test_a_record_that_cannot_be_read(text, tmp_path):
    save_dir = begun(tmp_path / "a")
    (save_dir / "genft.json").write_text(text)
    with refuses(save_dir / "genft.json"):
        require_beginning(save_dir, ASKED)


def test_one_run_at_a_time(tmp_path):
    save_dir = tmp_path / "new" / "folder"
    with training_lock(save_dir) as lock:
        with refuses(save_dir):
            training_lock(save_dir).__enter__()
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, pass_fds=[lock])
    # The child has inherited it, and keeps it.
    with refuses(save_dir), training_lock(save_dir):
        pass
    child.communicate(b"\n")
    with training_lock(save_dir):
        pass


def test_a_save_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with refuses("--save-dir", tmp_path / "file"):
        training_lock(tmp_path / "file").__enter__()
