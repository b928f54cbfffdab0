"""Whether a save folder is trained as far as the flags say."""

from pathlib import Path

import pytest
import torch
from refusals import refuses

from genft_fairseq.experiments.save_folders import (
    default_folder,
    finished_updates,
    max_update,
    trained_folder,
)


@pytest.fixture
def save_dir(tmp_path):
    """A folder of 40 updates."""
    state = {
        "cfg": {"common": {"cpu": False}},
        "optimizer_history": [{"num_updates": 40}],
        "extra_state": {},
    }
    torch.save(state, tmp_path / "checkpoint_last.pt")
    return tmp_path


def test_fine_tuning_has_a_folder_that_is_not_its_baselines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for strategy in ("standard", "scalegrad"):
        own = Path("checkpoints") / strategy
        baselines = (own / "checkpoint_best.pt", tmp_path / own / "averaged.pt")
        for baseline in baselines:
            assert default_folder(strategy, baseline) == Path(f"checkpoints/{strategy}-finetuned")
        for baseline in (None, Path("base.pt"), own / "epochs" / "checkpoint3.pt"):
            assert default_folder(strategy, baseline) == own
    Path("checkpoints").mkdir()
    Path("base").mkdir()
    Path("checkpoints/standard").symlink_to(tmp_path / "base")
    assert default_folder("standard", Path("base/model.pt")).name == "standard-finetuned"


def test_which_folder_is_meant_where_there_are_two(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own, finetuned = Path("checkpoints/standard"), Path("checkpoints/standard-finetuned")
    assert trained_folder("standard") == own
    finetuned.mkdir(parents=True)
    (finetuned / "checkpoint_last.pt").touch()
    assert trained_folder("standard") == finetuned
    own.mkdir()
    (own / "checkpoint_best.pt").touch()
    with refuses("--strategy standard", own, finetuned, "--save-dir"):
        trained_folder("standard")
    (finetuned / "checkpoint_last.pt").unlink()
    assert trained_folder("standard") == own


def test_the_last_max_update_wins():
    assert max_update(["--max-update", "3", "--lr", "1", "--max-update=5"]) == 5
    assert max_update(["--max-update=5", "--max-update", "3"]) == 3
    for flags in ([], ["--max-update"], ["--max-update", "many"], ["--lr", "3"]):
        assert max_update(flags) is None


def test_finished(save_dir, tmp_path):
    for flags in (["--max-update", "40"], ["--max-update=30"]):
        assert finished_updates(save_dir, flags) == 40
    for flags in (
        [],
        ["--max-update", "41"],
        ["--max-update", "0"],  # no limit
        ["--max-update", "40", "--reset-optimizer"],  # counts from 0 again
        ["--max-update", "40", "--restore-file=other.pt"],
        ["--max-update", "40", "--checkpoint-suffix", "-a"],
    ):
        assert finished_updates(save_dir, flags) is None
    assert finished_updates(tmp_path / "nowhere", ["--max-update", "1"]) is None
    (save_dir / "checkpoint_last.pt").write_bytes(b"half")
    assert finished_updates(save_dir, ["--max-update", "1"]) is None
