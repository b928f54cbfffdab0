"""A comparison at work: its jobs are planned, checked, run side by side, and resumed.

``plan`` lists the jobs, ``check`` refuses what could not become one table, ``claimed`` holds the
output folder, and ``run_jobs`` runs what an earlier call has not finished.
"""

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType

from genft_fairseq.errors import UserError, require_regular
from genft_fairseq.evaluation.predictions import read_lines
from genft_fairseq.experiments.configuration import BASELINE, Comparison
from genft_fairseq.experiments.decoding_run import (
    DECODE,
    EQUAL_TIME,
    DecodingRun,
    baseline_output,
    equal_time_path,
    generate_command,
    output_file,
)
from genft_fairseq.experiments.job import TROUBLE, Job, program
from genft_fairseq.experiments.progress import View
from genft_fairseq.experiments.save_folders import read_baseline
from genft_fairseq.experiments.training_run import (
    LAST,
    TrainingRun,
    command_environment,
    device_flags,
    run_folder,
    train_command,
)
from genft_fairseq.files import locked, require_writable, write_atomic

RECORD = "comparison.json"
POLL_SECONDS = 0.2


def plan(comparison: Comparison) -> list[Job]:
    """Return every job of a comparison, in the order in which they are started."""
    generating = device_flags(comparison.generate)
    sentences = len(read_lines(comparison.references))

    def decode(
        title: tuple[str, int | None, str],
        output: Path,
        needs: Sequence[TrainingRun],
        checkpoint: Callable[[], Path | None],
        flags: Sequence[str] = (),
    ) -> DecodingRun:
        def command(path: Path) -> list[str]:
            return generate_command(comparison, path, flags, generating)

        return DecodingRun(title, output, needs, command, checkpoint, sentences)

    baseline = partial(Path, comparison.baseline)
    jobs: list[Job] = [decode((BASELINE, None, DECODE), baseline_output(comparison), (), baseline)]
    training = device_flags(comparison.train)
    for seed in comparison.seeds:
        runs = [
            TrainingRun(
                entry=entry,
                seed=seed,
                folder=run_folder(comparison, entry, seed),
                words=train_command(comparison, entry, seed, training),
                updates=comparison.updates,
            )
            for entry in comparison.strategies
        ]
        jobs += _jobs_of_seed(comparison, seed, runs, decode)
    return jobs


def _jobs_of_seed(
    comparison: Comparison,
    seed: int,
    runs: Sequence[TrainingRun],
    decode: Callable[..., DecodingRun],
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


def check(comparison: Comparison, jobs: Sequence[Job]) -> None:
    """Refuse, before anything is written, what could not become one table.

    Raises:
        UserError: the baseline is not a checkpoint, or not that of the runs in the output folder;
            the references do not fit the data; a run's folder is another command's.
    """
    for name in ("fairseq-train", "fairseq-generate"):
        program(name)
    _require_checkpoint(comparison.baseline)
    _require_references(comparison)
    if _has_other_baseline(comparison) and _is_trained(comparison.output):
        raise UserError(
            f"{comparison.baseline} has changed since the runs in {comparison.output} started "
            "from it: remove that folder or change output"
        )
    for job in jobs:
        if isinstance(job, TrainingRun):
            job.require_own_folder()


def _require_checkpoint(path: Path) -> None:
    from genft_fairseq.patches.safe_loading import load

    try:
        state = load(str(path), map_location="cpu", mmap=True)
    except UserError:  # also where it is in torch's older format, which cannot be mapped
        state = load(str(path), map_location="cpu")
    if not isinstance(state, dict) or "model" not in state:
        raise UserError(f"{path} is not a checkpoint of fairseq")


def _has_other_baseline(comparison: Comparison) -> bool:
    """Whether the output folder was begun from a baseline of other bytes."""
    record = comparison.output / RECORD
    require_regular(record)
    try:
        known = json.loads(record.read_text(encoding="utf-8"))["baseline_sha256"]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{record} is not a record of genft compare ({error!r}): remove {comparison.output} or "
            "change output"
        ) from error
    return bool(known != read_baseline(comparison.baseline).sha256)


def _is_trained(output: Path) -> bool:
    """Whether any run has begun, even of a strategy that is compared no more."""
    return any(any(output.glob(f"seed-*/*/{name}")) for name in ("checkpoint*.pt", "finished"))


def _require_references(comparison: Comparison) -> None:
    from fairseq.data import data_utils

    source, target = comparison.source_lang, comparison.target_lang
    found = None
    for pair in (f"{source}-{target}", f"{target}-{source}"):
        found = found or data_utils.load_indexed_dataset(
            str(comparison.data / f"test.{pair}.{source}"), None
        )
    if found is None:
        raise UserError(
            f"{comparison.data} has no test set test.{source}-{target}.{source}: is it the output "
            "of fairseq-preprocess --testpref?"
        )
    lines = len(read_lines(comparison.references))
    if lines != len(found):
        raise UserError(
            f"{comparison.references} has {lines} lines, but the test set {len(found)} sentences"
        )


@contextlib.contextmanager
def claimed(comparison: Comparison) -> Iterator[None]:
    """Hold the output folder, and note which baseline its runs start from.

    Raises:
        UserError: it cannot be written, or another call works there.
    """
    require_writable("output", comparison.output / RECORD)
    with locked(comparison.output, "another genft compare works"):
        if _has_other_baseline(comparison):  # the wrong one, of which nothing was trained
            baseline_output(comparison).unlink(missing_ok=True)
        record = {
            "baseline": str(comparison.baseline),
            "baseline_sha256": read_baseline(comparison.baseline).sha256,
        }
        write_atomic(comparison.output / RECORD, json.dumps(record, indent=2) + "\n")
        yield


class Interrupted(Exception):
    """A signal asked the comparison to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


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
