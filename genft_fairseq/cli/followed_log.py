"""A log that a child writes as its standard output, shown on ours as it grows.

The child writes the file itself: it goes on, and so does its log, where this process is killed.
"""

import contextlib
import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_SECONDS = 0.1
_STDOUT = 1  # the process's own, which the child would have had


@contextlib.contextmanager
def followed_log(path: Path) -> Iterator[IO[bytes]]:
    """Open a log to be appended to by a child, and show what it appends.

    Args:
        path: of the log; what it holds already is kept, and not shown again.

    Yields:
        the file, for the child's standard output.
    """
    with path.open("ab") as log, path.open("rb") as reading:
        if _is_ours(log):  # >> LOG: what is shown would be logged, and shown again
            yield log
            return
        reading.seek(0, os.SEEK_END)
        ended = threading.Event()
        follower = threading.Thread(target=_follow, args=(reading, ended), daemon=True)
        follower.start()
        try:
            yield log
        finally:
            ended.set()
            follower.join()


def _is_ours(log: IO[bytes]) -> bool:
    try:
        return os.path.samestat(os.fstat(_STDOUT), os.fstat(log.fileno()))
    except OSError:  # closed
        return True


def _follow(reading: IO[bytes], ended: threading.Event) -> None:
    while True:
        is_last = ended.wait(_SECONDS)
        try:
            show(reading.read())
        except OSError:  # nobody reads it any more; the log has it
            return
        if is_last:
            return


def show(new: bytes) -> None:
    """Write bytes on the process's own standard output."""
    left = memoryview(new)
    while left:
        try:
            left = left[os.write(_STDOUT, left) :]
        except BlockingIOError:  # a pipe that is full, and whose owner does not wait
            select.select([], [_STDOUT], [])
