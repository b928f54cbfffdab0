"""Whether a run is finished, going on, crashed or stopped."""

import fcntl
import os
import time
from pathlib import Path

import pytest
from report.run_maker import BEGIN, DONE, make_run

from genft_fairseq.report.run_folders import (
    CRASHED,
    FINISHED,
    NO_LOG,
    RUNNING,
    STOPPED,
    last_lines,
    run_state,
)

TRACEBACK = ["Traceback (most recent call last):", '  File "x.py"', "RuntimeError: out of memory"]
SIGKILL = "genft: ended with status 137"


def old(path: Path) -> Path:
    """A log that nothing has been written to for an hour."""
    before = time.time() - 3600
    os.utime(path, (before, before))
    return path


@pytest.mark.parametrize(
    ("end", "state"),
    [
        ([DONE], FINISHED),
        ([], STOPPED),
        (TRACEBACK, CRASHED),
        ([SIGKILL], CRASHED),
        (["fairseq-train: error: --gamma must lie in (0, 1], but is 2"], CRASHED),
        # begun again: what it ended with before does not count
        ([*TRACEBACK, BEGIN], STOPPED),
        ([*TRACEBACK, BEGIN, DONE], FINISHED),
        ([DONE, BEGIN], STOPPED),
        ([DONE, BEGIN, *TRACEBACK], CRASHED),
        ([DONE, *TRACEBACK], CRASHED),
        (
            ["2026 | WARNING | fairseq.trainer | RuntimeError: out of memory; skipping", DONE],
            FINISHED,
        ),
    ],
)
def test_by_the_end_of_the_log(tmp_path: Path, end: list[str], state: str) -> None:
    run = make_run(tmp_path / "run", end=end)
    assert run_state(run, old(run / "train.log")) == state


def test_a_log_that_grows_is_of_a_run_that_is_going(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", end=[])
    assert run_state(run, run / "train.log") == RUNNING
    crashed = make_run(tmp_path / "crashed", end=TRACEBACK)
    assert run_state(crashed, crashed / "train.log") == CRASHED


def test_an_error_that_was_survived(tmp_path: Path) -> None:
    line = "2026 | INFO | train_inner | epoch 001: 40 / 100 loss=3, num_updates=40"
    run = make_run(tmp_path / "run", end=[*TRACEBACK, line])
    assert run_state(run, run / "train.log") == RUNNING
    assert run_state(run, old(run / "train.log")) == CRASHED


def test_a_lock_that_is_held(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", end=TRACEBACK)
    with (run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run_state(run, old(run / "train.log")) == RUNNING
        (run / "finished").touch()
        assert run_state(run, run / "train.log") == FINISHED
        (run / "finished").unlink()
    assert run_state(run, run / "train.log") == CRASHED  # the file stays; nobody holds it


def test_checkpoints_without_a_log(tmp_path: Path) -> None:
    """Nothing says that it was stopped: it may be going on."""
    (tmp_path / "checkpoint_last.pt").write_bytes(b"")
    assert run_state(tmp_path, None) == NO_LOG
    assert run_state(tmp_path, None, is_final=True) == FINISHED
    (tmp_path / "finished").write_text("")
    assert run_state(tmp_path, None) == FINISHED


def test_a_log_says_more_than_a_checkpoint(tmp_path: Path) -> None:
    """A run that was begun again with more updates has the old checkpoint for a while."""
    run = make_run(tmp_path / "run", end=[DONE, BEGIN])
    assert run_state(run, old(run / "train.log"), is_final=True) == STOPPED


def test_the_last_lines_are_few_and_not_endless(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_bytes(
        b"x" * 100_000 + b"\n\n" + b"\n".join(b"line %d" % i for i in range(50)) + b"\xff"
    )
    lines = last_lines(log)
    assert lines[0] == "line 38" and len(lines) == 12 and lines[-1] == "line 49�"
    log.write_text("y" * 100_000)
    assert [len(line) for line in last_lines(log)] == [300]
