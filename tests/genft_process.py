"""``genft`` in a process forked from the tests', with whatever streams a test gives it."""

import os
import pty
import re
import select
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NoReturn

import forked_process
from fairseq_commands import Done

from genft_fairseq import cli, register

# What commands import when they are asked for is imported once, before all forks.
register()
dict(cli.genft.commands)
TIMEOUT = 60  # seconds, for what takes one


class GenftProcess:
    """The command as it runs in a shell, but for the start of an interpreter, which takes seconds.

    Args:
        arguments: behind ``genft``.
        stdout: a file descriptor; None: what is printed is kept for ``wait``.
        stderr: the same.
        environment: what is added to this process's.
    """

    def __init__(
        self,
        *arguments: object,
        stdout: int | None = None,
        stderr: int | None = None,
        **environment: str,
    ):
        self._folder = tempfile.TemporaryDirectory()
        self._kept = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        for path in self._kept:
            path.touch()
        self.pid = os.fork()
        if self.pid == 0:
            files = [
                os.open(path, os.O_WRONLY) if given is None else given
                for path, given in zip(self._kept, (stdout, stderr), strict=True)
            ]
            os.environ.update(environment)
            # Where the tests run in the background, it is ignored.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _become(["genft", *map(str, arguments)], files)
        self._status: int | None = None

    def is_running(self) -> bool:
        """Tell whether it has not ended yet."""
        if self._status is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status is None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self) -> Done:
        """Wait for its end, and return how it ended; kill it where it does not come to one."""
        end = time.monotonic() + TIMEOUT
        while self.is_running():
            if time.monotonic() > end:
                self.signal(signal.SIGKILL)
            time.sleep(0.005)
        done = Done(int(self._status or 0), *(path.read_text() for path in self._kept))
        self._folder.cleanup()
        return done


def genft(*arguments: object, **streams: int | None) -> Done:
    """Run the command to its end."""
    return GenftProcess(*arguments, **streams).wait()


class Terminal:
    """A terminal of its own for a process, which notes what is written on it."""

    def __init__(self) -> None:
        self._ours, self.descriptor = pty.openpty()
        self.text = ""

    def read(self) -> str:
        """Return all that has been written so far."""
        while select.select([self._ours], [], [], 0)[0]:
            self.text += os.read(self._ours, 1 << 16).decode()
        return self.text

    def watch(self, process: GenftProcess, until: str = "(?!)") -> str:
        """Read until the process ends, or has written what is looked for."""
        end = time.monotonic() + TIMEOUT
        while process.is_running() and not re.search(until, self.read()):
            assert time.monotonic() < end, self.text
            time.sleep(0.01)
        return self.read()

    def close(self) -> None:
        """Hang up."""
        os.close(self.descriptor)
        os.close(self._ours)


def without_controls(shown: str) -> str:
    """Return the letters among what was written on a terminal."""
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", shown)


def _become(argv: list[str], files: list[int]) -> NoReturn:
    """Do what the installed script and the end of its interpreter do."""
    status = 1
    try:
        forked_process.begin()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, file in enumerate(files, start=1):
            os.dup2(file, number)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
        sys.argv = argv
        try:
            cli.main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(bool(end.code))
        except BaseException:
            traceback.print_exc()
        try:
            sys.stdout.flush()
        except OSError as error:
            status = 120
            print(f"Exception ignored: {error!r}", file=sys.stderr)
    finally:
        forked_process.end(status)
