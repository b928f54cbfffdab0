"""The jobs of a comparison, run side by side, and continued where an earlier call stopped."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Protocol

from genft_fairseq.evaluation.translation import read_lines
from genft_fairseq.study.comparison_config import Comparison
from genft_fairseq.study.comparison_entries import BASELINE
from genft_fairseq.study.decoding_run import (
    DECODE,
    EQUAL_TIME,
    DecodingRun,
    baseline_output,
    equal_time_path,
    generate_command,
    output_file,
)
from genft_fairseq.study.job import TROUBLE, Job
from genft_fairseq.study.training_run import (
    LAST,
    TrainingRun,
    command_environment,
    device_flags,
    run_folder,
    train_command,
)

POLL_SECONDS = 0.2


class Interrupted(Exception):
    """A signal asked the comparison to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class View(Protocol):
    """What is told about the jobs while they run."""

    def started(self, job: Job) -> None:
        """Tell that a job was started."""

    def ended(self, job: Job) -> None:
        """Tell that a job is finished, has failed, or is skipped."""

    def refresh(self) -> None:
        """Show how far the running jobs are."""


def plan(comparison: Comparison) -> list[Job]:
    """Return every job of a comparison, in the order in which they are started."""
    decode = _Decoder(
        comparison, device_flags(comparison.generate), len(read_lines(comparison.references))
    )
    baseline = partial(Path, comparison.baseline)
    jobs: list[Job] = [decode((BASELINE, None, DECODE), baseline_output(comparison), (), baseline)]
    device = device_flags(comparison.train)
    for seed in comparison.seeds:
        runs = [
            TrainingRun(
                *(entry, seed, run_folder(comparison, entry, seed)),
                *(train_command(comparison, entry, seed, device), comparison.updates),
            )
            for entry in comparison.strategies
        ]
        jobs += _jobs_of_seed(comparison, seed, runs, decode)
    return jobs


@dataclass(frozen=True)
class _Decoder:
    """Makes the jobs that decode the test set."""

    comparison: Comparison
    device: list[str]
    sentences: int

    def __call__(
        self,
        title: tuple[str, int | None, str],
        output: Path,
        needs: Sequence[TrainingRun],
        checkpoint: Callable[[], Path | None],
        flags: Sequence[str] = (),
    ) -> DecodingRun:
        def command(path: Path) -> list[str]:
            return generate_command(self.comparison, path, flags, self.device)

        return DecodingRun(title, output, needs, command, checkpoint, self.sentences)


def _jobs_of_seed(
    comparison: Comparison, seed: int, runs: Sequence[TrainingRun], decode: _Decoder
) -> Iterator[Job]:
    standard = next(run for run in runs if run.row == comparison.standard.name)
    # First, because its time is what the others are given.
    for run in sorted(runs, key=lambda run: run is not standard):
        yield run
        output = output_file(comparison, run.entry, seed)
        yield decode((run.row, seed, DECODE), output, (run,), partial(Path, run.folder / LAST))
        if run is not standard:
            checkpoint = partial(equal_time_path, run, standard)
            output = output_file(comparison, run.entry, seed, EQUAL_TIME)
            yield decode((run.row, seed, EQUAL_TIME), output, (run, standard), checkpoint)
    for entry in comparison.decodings:
        last = partial(Path, standard.folder / LAST)
        output = output_file(comparison, entry, seed)
        yield decode((entry.name, seed, DECODE), output, (standard,), last, entry.flags)


def run_jobs(jobs: Sequence[Job], comparison: Comparison, view: View) -> None:
    """Run what is not done yet; a job that fails takes only those with it that need it.

    Raises:
        Interrupted: a signal came; the commands have ended, and a later call continues.
    """
    environment = command_environment(comparison.threads)
    with _signals() as received:
        try:
            while _start_ready(jobs, comparison.processes, environment, view):
                time.sleep(POLL_SECONDS)
                if received:
                    raise Interrupted(received[0])
                for job in running(jobs):
                    job.poll()
                    if job.state != "running":
                        view.ended(job)
                view.refresh()
        finally:
            stopped = running(jobs)
            for job in stopped:
                job.terminate()
            for job in stopped:
                job.wait()


def running(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs that run now."""
    return [job for job in jobs if job.state == "running"]


def _start_ready(
    jobs: Sequence[Job], processes: int, environment: dict[str, str], view: View
) -> list[Job]:
    """Start as many as may run; those that an earlier call finished take no place."""
    for job in jobs:
        if job.state == "waiting" and any(n.state in ("failed", "skipped") for n in job.needs):
            job.state = "skipped"
            view.ended(job)
        if job.is_ready:
            try:
                _start(job, len(running(jobs)) < processes, environment, view)
            except TROUBLE as error:
                job.fail(str(error))
                view.ended(job)
    return running(jobs)


def _start(job: Job, has_place: bool, environment: dict[str, str], view: View) -> None:
    if not job.is_checked:
        job.is_checked = True
        if job.is_done():
            job.state = "finished"
            return
    if has_place:
        job.start(environment)
        view.started(job)


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect the signals that ask to stop, so that none comes between two steps of one action."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
