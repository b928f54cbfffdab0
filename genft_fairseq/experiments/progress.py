"""What a comparison shows while it runs: a live table on a terminal, else a line an event."""

import time
from collections.abc import Sequence
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from genft_fairseq.experiments.job import Job


def time_left(jobs: Sequence[Job], processes: int) -> float | None:
    """Estimate the seconds until all jobs have ended; None before anything is known.

    A job that waits is taken to last as long as the others of its kind and row did, or of its kind.
    """
    seconds: dict[tuple[str, str], list[float]] = {}
    for job in jobs:
        whole = _whole_seconds(job)
        if whole is not None:
            seconds.setdefault((job.kind, job.row), []).append(whole)
            seconds.setdefault((job.kind, ""), []).append(whole)
    if not seconds:
        return None
    total = longest = 0.0
    for job in jobs:
        if job.state not in ("waiting", "running"):
            continue
        known = seconds.get((job.kind, job.row)) or seconds.get((job.kind, "")) or [0.0]
        left = sum(known) / len(known) * (1 - job.fraction)
        if job.fraction == 0:
            left = max(0.0, left - job.elapsed)
        total, longest = total + left, max(longest, left)
    return max(total / processes, longest)


def _whole_seconds(job: Job) -> float | None:
    """How long a job takes in all, from what is seen of it."""
    if job.state == "finished":
        return job.known_seconds
    here = job.fraction - job.resumed_at
    return job.elapsed / here if job.state == "running" and here > 0 else None


def duration(seconds: float | None) -> str:
    """Write seconds as hours, minutes and seconds."""
    if seconds is None:
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


class LineView:
    """One line when a job starts and one when it ends."""

    def __init__(self, jobs: Sequence[Job], processes: int, stream: TextIO) -> None:
        self.jobs, self.processes, self.stream = jobs, processes, stream

    def __enter__(self) -> "LineView":
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def started(self, job: Job) -> None:
        resumed = f", continued at {job.resumed_at:.0%}" if job.resumed_at else ""
        self._say(f"started   {job.title}{resumed}")

    def ended(self, job: Job) -> None:
        ended = sum(other.state not in ("waiting", "running") for other in self.jobs)
        left = duration(time_left(self.jobs, self.processes))
        reason = f": {job.error} (see {job.log})" if job.error else ""
        self._say(f"{job.state:9} {job.title}{reason} [{ended}/{len(self.jobs)}, left: {left}]")

    def refresh(self) -> None:
        pass

    def _say(self, line: str) -> None:
        print(line, file=self.stream, flush=True)


class QuietView(LineView):
    """Nothing at all."""

    def _say(self, line: str) -> None:
        pass


class LiveView:
    """A table of what runs, a bar of what is done, and an estimate of the time left."""

    def __init__(self, jobs: Sequence[Job], processes: int, stream: TextIO) -> None:
        self.jobs, self.processes = jobs, processes
        self.console = Console(file=stream)
        self.live = Live(console=self.console, refresh_per_second=2, transient=True)
        self.shown = 0.0

    def __enter__(self) -> "LiveView":
        self.live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.live.__exit__(*error)

    def started(self, job: Job) -> None:
        self.refresh(at_once=True)

    def ended(self, job: Job) -> None:
        style = {"failed": "red", "skipped": "yellow"}.get(job.state, "green")
        reason = f": {job.error} (see {job.log})" if job.error else ""
        self.console.print(Text.assemble((job.state, style), f" {job.title}{reason}"))

    def refresh(self, at_once: bool = False) -> None:
        if at_once or time.monotonic() - self.shown >= 0.5:
            self.shown = time.monotonic()
            self.live.update(self._table())

    def _table(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for title, justify in (("running", "left"), ("seed", "right"), ("", "left")):
            table.add_column(title, justify=justify)  # type: ignore[arg-type]
        table.add_column("progress", justify="left")
        table.add_column("time", justify="right")
        for job in self.jobs:
            if job.state == "running":
                seed = "" if job.seed is None else str(job.seed)
                cells = (job.row, seed, job.kind, job.note, duration(job.elapsed))
                table.add_row(*map(Text, cells))
        done = sum(1.0 if _is_over(job) else job.fraction for job in self.jobs)
        failed = sum(job.state == "failed" for job in self.jobs)
        ended = sum(map(_is_over, self.jobs))
        left = duration(time_left(self.jobs, self.processes))
        line = f"{ended} of {len(self.jobs)} done, {failed} failed, about {left} left"
        return Group(table, ProgressBar(len(self.jobs), done, width=60), Text(line))


View = LineView | LiveView


def _is_over(job: Job) -> bool:
    return job.state not in ("waiting", "running")
