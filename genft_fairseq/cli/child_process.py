"""Running fairseq's commands as child processes.

The child has our standard input and output, and its exit status becomes ours.  With a log it writes
that file itself, which is shown as it grows: the child and its log go on where this process is
killed.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO

import click

from genft_fairseq.errors import ERROR_VARIABLE

# For an installation whose scripts lie elsewhere than its Python.
_MODULES = {
    "fairseq-train": "fairseq_cli.train",
    "fairseq-generate": "fairseq_cli.generate",
    "fairseq-interactive": "fairseq_cli.interactive",
    "genft": "genft_fairseq.cli",
}
_SECONDS = 0.1
_STDOUT = 1  # the process's own, which the child would have had


def runnable(command: Sequence[str]) -> list[str]:
    """Return the command as one can type it: ``python -m`` where its script is not installed."""
    if _script(command[0]).exists():
        return list(command)
    return [sys.executable, "-m", _MODULES[command[0]], *command[1:]]


def run(
    command: Sequence[str],
    inherited: Sequence[int] = (),
    log: Path | None = None,
    is_shown: Callable[[bytes], bool] | None = None,
) -> int:
    """Run what ``runnable`` returned, and wait for it.

    A signal that would end this process ends the child instead, and then this process by status.
    The child gets SIGTERM for an interrupt, too: from a terminal it had the interrupt as well, and
    SIGTERM spares its user the traceback.

    Args:
        command: the words; the first is a script beside this Python, or a path.
        inherited: file descriptors that the child keeps open.
        log: a file that keeps what the child prints, and the exception that it ends with.
        is_shown: told each line that the child prints, and says whether it is shown; not with
            ``log``.

    Returns:
        The child's exit status, or 128 plus the signal's number.
    """
    received: list[int] = []
    child: subprocess.Popen[bytes] | None = None
    said = tempfile.TemporaryFile()  # noqa: SIM115 (the child's last words, read when it has ended)

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        if child is not None:
            child.terminate()

    # One that is ignored, under nohup say, stays so.
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    handled = [number for number in signals if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, stop) for number in handled}
    try:
        script = _script(command[0])
        words = [str(script) if script.exists() else command[0], *command[1:]]
        with followed_log(log) if log else contextlib.nullcontext() as printed:
            environment = {"PYTHONUNBUFFERED": "1"} if log or is_shown else {}
            environment |= {ERROR_VARIABLE: str(said.fileno())} if log else {}
            child = subprocess.Popen(
                words,
                pass_fds=[*inherited, said.fileno()] if log else inherited,
                stdout=subprocess.PIPE if is_shown else printed,
                env={**os.environ, **environment},
            )
            if received:  # before there was a child to end
                child.terminate()
            if is_shown and child.stdout:
                _pass_on(child.stdout, is_shown)
            status = child.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    ended = 128 + received[0] if status and received else 128 - status if status < 0 else status
    if log and ended:
        said.seek(0)
        # What it ended with has been shown, on standard error.
        with contextlib.suppress(OSError), log.open("ab") as stream:
            stream.write(said.read() + f"genft: ended with status {ended}\n".encode())
    return ended


def _pass_on(lines: IO[bytes], is_shown: Callable[[bytes], bool]) -> None:
    with lines:
        for line in lines:
            if is_shown(line):
                try:
                    show(line)
                except OSError:  # nobody reads it any more, which the child is to notice itself
                    return


def _script(name: str) -> Path:
    return Path(sys.executable).parent / name


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


class PassingOn(click.Command):
    """A command that hands everything after ``--`` to ``flags``, untouched."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = args.index("--") if "--" in args else len(args)
        rest = super().parse_args(ctx, args[:at])
        ctx.params["flags"] = args[at + 1 :]
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- FAIRSEQ_FLAGS...]"]
