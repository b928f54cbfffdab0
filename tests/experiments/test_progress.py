"""What a comparison shows while it runs, and how long it thinks that it will take."""

import io
import re
from pathlib import Path

import pytest

from genft_fairseq.experiments.job import Job
from genft_fairseq.experiments.progress import LineView, LiveView, QuietView, duration, time_left


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
    assert duration(None)
    assert [int(number) for number in re.findall(r"\d+", duration(59.6))] == [1, 0]
    assert [int(number) for number in re.findall(r"\d+", duration(3725))] == [1, 2]


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
    started, failed = stream.getvalue().splitlines()
    assert jobs[0].title in started and "40" in started
    assert all(text in failed for text in (jobs[1].title, "no memory", "train.log", "1/3"))
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
    assert "[red]x" in shown and jobs[0].note in shown and duration(60.0) in shown
    assert jobs[1].title in shown and "RuntimeError: [bold]" in shown and "train.log" in shown
