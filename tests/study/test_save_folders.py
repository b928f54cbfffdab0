"""Whether a save folder is trained as far as the flags say."""

import pytest
import torch

from genft_fairseq.study.save_folders import finished_updates, max_update


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
