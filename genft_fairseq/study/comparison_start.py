"""What must hold before a comparison starts, and the output folder that it holds while it works."""

import contextlib
import fcntl
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from genft_fairseq.errors import UserError, require_regular
from genft_fairseq.evaluation.records import require_writable, write_whole
from genft_fairseq.evaluation.translation import read_lines
from genft_fairseq.study.baselines import read_baseline
from genft_fairseq.study.comparison_config import Comparison
from genft_fairseq.study.decoding_run import baseline_output
from genft_fairseq.study.job import Job, program
from genft_fairseq.study.training_run import TrainingRun

RECORD = "comparison.json"


def check(comparison: Comparison, jobs: Sequence[Job]) -> None:
    """Refuse, before anything is written, what could not become one table.

    Raises:
        UserError: the baseline is no checkpoint, or not that of the runs in the output folder; the
            references do not fit the data; a run's folder is another command's.
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
    from genft_fairseq.safe_loading import load

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
            f"{record} is no record of genft compare ({error!r}): remove {comparison.output} or "
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
    with _lock_file(comparison.output) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"another genft compare works in {comparison.output}") from error
        require_writable("output", comparison.output / RECORD)
        if _has_other_baseline(comparison):  # the wrong one, of which nothing was trained
            baseline_output(comparison).unlink(missing_ok=True)
        record = {
            "baseline": str(comparison.baseline),
            "baseline_sha256": read_baseline(comparison.baseline).sha256,
        }
        write_whole(comparison.output / RECORD, json.dumps(record, indent=2) + "\n")
        yield


def _lock_file(output: Path) -> IO[str]:
    try:
        output.mkdir(parents=True, exist_ok=True)
        return (output / "lock").open("a")
    except OSError as error:
        raise UserError(f"output {output} cannot be written: {error.strerror}") from error
