"""Whether a run of training is finished, going on, crashed or stopped, as its folder tells."""

import fcntl
import os
import re
import time
from pathlib import Path

from genft_fairseq.study.baselines import LOCK
from genft_fairseq.study.training_log import TRAINING_BEGINS

FINISHED, RUNNING, CRASHED, STOPPED = "finished", "running", "crashed", "stopped"
NO_LOG = "no log"
# A run of fairseq-train itself holds no lock; while it trains, its log grows.
RECENT_SECONDS = 120
LAST_LINES = 12
_LONGEST_LINE = 300
_TAIL_BYTES = 1 << 16
_LINE = re.compile(r"\| (INFO|WARNING) \|")
_DONE = "| done training in "
# At the beginning of a line: an error that training survived is told in the middle of one.
_ERROR = re.compile(
    r"^(Traceback \(most|(\w+\.)*\w*(Error|Exception)\b|\S+: error: |genft: ended with status)",
    re.MULTILINE,
)


def run_state(folder: Path | None, log: Path | None, is_final: bool = False) -> str:
    """Return the state of a run.

    Args:
        folder: of the run, where it has one.
        log: of the run, where it has one.
        is_final: its checkpoint says that it came to its end; see ``Checkpoint``.

    Returns:
        ``FINISHED``; ``RUNNING``, when a process holds its lock, or its log has just grown;
        ``CRASHED``, when the end of its log is an error; else ``STOPPED``. Without a log
        ``FINISHED`` where its checkpoint is the final one, else ``NO_LOG``.
    """
    # Written at the very end; whoever started the run may hold its lock a little longer.
    if folder is not None and (folder / "finished").is_file():
        return FINISHED
    if folder is not None and _is_locked(folder / LOCK):
        return RUNNING
    if log is None:
        return FINISHED if is_final else NO_LOG
    tail = _tail(log)
    begun, done = tail.rfind(TRAINING_BEGINS), tail.rfind(_DONE)
    after = tail[max(begun, done, 0) :]
    is_recent = time.time() - log.stat().st_mtime < RECENT_SECONDS
    if _ERROR.search(after) and not (is_recent and _goes_on(after)):
        return CRASHED
    if done > begun:
        return FINISHED
    return RUNNING if is_recent else STOPPED


def _goes_on(tail: str) -> bool:
    """Whether what stands last in a log is a line of training: an error before it was survived."""
    return _LINE.search(tail.rstrip().rpartition("\n")[2]) is not None


def last_lines(log: Path | None) -> list[str]:
    """Return the end of a log: a few lines, none of them endless."""
    lines = [line.rstrip() for line in _tail(log).splitlines()] if log else []
    return [line[:_LONGEST_LINE] for line in lines if line][-LAST_LINES:]


def _tail(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL_BYTES))
        return stream.read().decode("utf-8", errors="replace")


def _is_locked(lock: Path) -> bool:
    if not lock.is_file():
        return False
    try:
        with lock.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
