"""What must hold before a comparison starts."""

import fcntl
import json
from types import SimpleNamespace

import pytest
import torch
from refusals import refuses

from genft_fairseq.experiments import comparison as comparison_start
from genft_fairseq.experiments.comparison import check, claimed


@pytest.fixture
def comparison(tmp_path, monkeypatch):
    """Only what is looked at here: the baseline and the output folder."""
    monkeypatch.setattr(comparison_start, "_require_references", lambda _: None)
    torch.save({"model": {}, "number": 1}, tmp_path / "baseline.pt")
    return SimpleNamespace(baseline=tmp_path / "baseline.pt", output=tmp_path / "runs")


def begun(comparison):
    check(comparison, [])
    with claimed(comparison):
        pass


def test_a_baseline_in_the_older_format_of_torch(comparison):
    old = {"model": {"w": torch.ones(2)}}
    torch.save(old, comparison.baseline, _use_new_zipfile_serialization=False)
    check(comparison, [])
    comparison.baseline.write_bytes(b"half")
    with refuses(comparison.baseline):
        check(comparison, [])
    torch.save({"model": print}, comparison.baseline, _use_new_zipfile_serialization=False)
    with refuses(comparison.baseline, "GENFT_TRUST_CHECKPOINT"):
        check(comparison, [])
    torch.save({"w": 1}, comparison.baseline)
    with refuses(comparison.baseline):
        check(comparison, [])


def test_a_wrong_baseline_is_corrected_before_anything_was_trained(comparison):
    begun(comparison)
    decoded = comparison.output / "baseline" / "generate-test.txt"
    decoded.parent.mkdir()
    decoded.touch()
    begun(comparison)
    assert decoded.exists()
    torch.save({"model": {}, "number": 2}, comparison.baseline)
    begun(comparison)
    assert not decoded.exists()  # of the wrong one
    record = (comparison.output / "comparison.json").read_text()

    torch.save({"model": {}, "number": 3}, comparison.baseline)
    run = comparison.output / "seed-1" / "standard"
    run.mkdir(parents=True)
    for name in ("checkpoint_1_30.pt", "finished"):
        (run / name).touch()
        with refuses(comparison.baseline, comparison.output):
            check(comparison, [])
        (run / name).unlink()
    assert (comparison.output / "comparison.json").read_text() == record


@pytest.mark.parametrize("text", ["{}", "[]", "{", '"x"'])
def test_a_record_that_is_none(text, comparison):
    comparison.output.mkdir()
    path = comparison.output / "comparison.json"
    path.write_text(text)
    with refuses(path):
        check(comparison, [])


def test_nothing_is_written_beside_another_call(comparison):
    begun(comparison)
    probe = comparison.output / "comparison.json.tmp"
    probe.write_text(json.dumps({"of": "the other"}))  # it is about to put this into place
    with (comparison.output / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with refuses(comparison.output), claimed(comparison):
            pass
    assert probe.exists()


def test_an_output_folder_that_cannot_be_made(comparison):
    comparison.output.parent.joinpath("file").touch()
    comparison.output = comparison.output.parent / "file" / "runs"
    with refuses(comparison.output), claimed(comparison):
        pass
