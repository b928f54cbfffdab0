"""Processes that are forked where torch and fairseq are imported, and are like new ones.

Importing takes seconds, a fork a hundredth of one.
"""

import atexit
import gc
import io
import logging
import multiprocessing.process
import multiprocessing.util
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

TIMEOUT = 120  # seconds, for what takes one or two


@dataclass
class Done:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr  # fairseq logs to one or the other

    @property
    def error(self) -> str:
        """The last line of standard error."""
        lines = self.stderr.strip().splitlines()
        return lines[-1] if lines else ""


class Forked:
    """A process that calls a function.

    Args:
        function: what a new interpreter would do.
        stdin: what it can read.
        stdout: a file descriptor; None: what is printed is kept for ``wait``.
        stderr: the same.
        group: of processes, which it joins; 0: a new one; None: the one of this process.
    """

    def __init__(
        self,
        function: Callable[[], object],
        stdin: str = "",
        stdout: int | None = None,
        stderr: int | None = None,
        group: int | None = None,
    ):
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        kept = [Path(self._folder.name, name) for name in ("stdin", "stdout", "stderr")]
        self._done: Done | None = None
        for path in kept:
            path.write_text(stdin if path.name == "stdin" else "")
        self.pid = os.fork()
        if self.pid == 0:
            try:
                if group is not None:
                    os.setpgid(0, group)
                _reset(self._folder.name)
                given = (None, stdout, stderr)
                modes = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)
                for number, (file, path, mode) in enumerate(zip(given, kept, modes, strict=True)):
                    os.dup2(os.open(path, mode) if file is None else file, number)
                open_streams()
                call_and_end(function)
            finally:
                os._exit(70)
        if group is not None:
            with suppress(OSError):  # whoever of the two comes first
                os.setpgid(self.pid, group)

    def is_running(self) -> bool:
        """Tell whether it has not ended yet."""
        if self._done is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self._done = Done(os.waitstatus_to_exitcode(status), *self.printed())
                self._folder.cleanup()
        return self._done is None

    def printed(self) -> tuple[str, str]:
        """Return what it has written so far to standard output and standard error."""
        if self._done is not None:
            return self._done.stdout, self._done.stderr
        stdout, stderr = (Path(self._folder.name, name) for name in ("stdout", "stderr"))
        return stdout.read_text("utf-8"), stderr.read_text("utf-8")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self, timeout: float = TIMEOUT) -> Done:
        """Wait for its end; kill it where it does not come to one."""
        end = time.monotonic() + timeout
        while self.is_running():
            if time.monotonic() > end:
                self.signal(signal.SIGKILL)
            time.sleep(0.002)
        assert self._done is not None
        return self._done


def _reset(folder: str) -> None:
    """Forget what the other process has started, is to do at its end, and logs."""
    gc.freeze()  # a collection would write to every page that is shared
    process: Any = multiprocessing.process
    process._children.clear()
    # Sockets of data loaders' workers, which leave them where they are ended.
    process.current_process()._config["tempdir"] = folder
    # Where the tests run in the background, it is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    forget_exit_and_logs()


def forget_exit_and_logs() -> None:
    """Leave nothing to do at the end, and no handler of logs, but what an interpreter has."""
    atexit._clear()
    atexit.register(multiprocessing.util._exit_function)  # type: ignore[attr-defined]
    atexit.register(logging.shutdown)
    logging.getLogger("fairseq").setLevel(logging.NOTSET)  # which the genft command makes quieter
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.setLevel(logging.WARNING)


def open_streams() -> None:
    """Make the standard streams anew: what the old ones know of their files holds no longer."""
    unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    for number, name, errors in (
        (1, "stdout", "surrogateescape"),
        (2, "stderr", "backslashreplace"),
    ):
        binary = open(number, "wb", 0 if unbuffered else -1, closefd=False)  # noqa: SIM115
        text = io.TextIOWrapper(
            binary, "utf-8", errors, line_buffering=number == 2, write_through=unbuffered
        )
        setattr(sys, name, text)


def call_and_end(function: Callable[[], object]) -> NoReturn:
    """Call a function, and end as an interpreter does."""
    status = 1
    try:
        function()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(bool(end.code))
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        place = error.__traceback__
        ours = os.path.dirname(__file__)
        while place and os.path.dirname(place.tb_frame.f_code.co_filename) == ours:
            place = place.tb_next
        sys.excepthook(type(error), error.with_traceback(place), place)
        if isinstance(error, KeyboardInterrupt):
            status = -signal.SIGINT
    finally:
        _end(status)


def _end(status: int) -> NoReturn:
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        with suppress(AttributeError):  # None, if the command has put that there
            sys.stdout.flush()
            sys.stderr.flush()
    except OSError as error:
        status = status or 120
        print(f"Exception ignored: {error!r}", file=sys.stderr)
    finally:
        if status < 0:
            signal.signal(-status, signal.SIG_DFL)
            os.kill(os.getpid(), -status)
        os._exit(status & 0xFF)
