"""What a comparison shows while it runs, and how long it thinks that it will take."""

import io
from pathlib import Path

import pytest

from genft_fairseq.study.comparison_view import LineView, LiveView, QuietView, duration, time_left
from genft_fairseq.study.job import Job


class _Job(Job):
    fraction = elapsed = 0.0
    note = ""

    def __init__(self, row, state, kind="train", took=None, **shown):
        super().__init__(row, 7, kind, log=Path("train.log"))
        self.state, self.took = state, took
        for name, value in shown.items():
            setattr(self, name, value)


def test_time_left():
    """One of 100 s is known, one is half through its 240 s; two wait, of which one is like it."""
    jobs = [
        _Job("standard", "finished", took=100.0, fraction=1.0),
        _Job("recurrent", "running", fraction=0.5, elapsed=120.0),
        _Job("recurrent", "waiting"),
        _Job("auxiliary", "waiting"),  # taken to last as long as they do on average: 170
        _Job("broken", "failed"),
    ]
    assert time_left(jobs, processes=1) == pytest.approx(120 + 240 + 170)
    assert time_left(jobs, processes=2) == pytest.approx(265)
    assert time_left(jobs[2:], processes=2) is None


def test_time_left_of_a_resumed_run():
    """It was three quarters done before, and made an eighth in 10 s: the last takes as long."""
    job = _Job("standard", "running", fraction=0.875, elapsed=10.0)
    job.resumed_at = 0.75
    assert time_left([job], processes=1) == pytest.approx(10.0)


def test_duration():
    assert duration(None) == "unknown"
    assert duration(59.6) == "1 min 00 s"
    assert duration(3725) == "1 h 02 min"


def test_lines():
    jobs = [
        _Job("standard", "running"),
        _Job("broken", "failed"),
        _Job("standard", "waiting", "decode"),
    ]
    jobs[0].resumed_at, jobs[1].error = 0.4, "no memory"
    stream = io.StringIO()
    with LineView(jobs, 2, stream) as view:
        view.started(jobs[0])
        view.ended(jobs[1])
        view.refresh()
    assert stream.getvalue() == (
        "started   train: standard, seed 7, continued at 40%\n"
        "failed    train: broken, seed 7: no memory (see train.log) [1/3, left: unknown]\n"
    )
    stream = io.StringIO()
    with QuietView(jobs, 2, stream) as view:
        view.started(jobs[0])
        view.ended(jobs[1])
    assert stream.getvalue() == ""


def test_live(monkeypatch):
    """Names are shown as they are, not as markup."""
    monkeypatch.setenv("COLUMNS", "120")
    jobs = [
        _Job("[red]x", "running", fraction=0.5, elapsed=60.0, note="150/300 updates, 2.50/s"),
        _Job("y", "failed"),
    ]
    jobs[1].error = "RuntimeError: [bold]"
    stream = io.StringIO()
    with LiveView(jobs, 1, stream) as view:
        view.started(jobs[0])
        view.ended(jobs[1])
        view.console.print(view._table())
    shown = stream.getvalue()
    assert "[red]x" in shown and "150/300 updates, 2.50/s" in shown and "1 min 00 s" in shown
    assert "1 of 2 done, 1 failed, about 1 min 00 s left" in shown
    assert "failed train: y, seed 7: RuntimeError: [bold] (see train.log)" in shown
