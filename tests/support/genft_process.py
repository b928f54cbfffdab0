"""``genft`` in a process forked from the tests', with whatever streams a test gives it."""

import functools
import os
import pty
import re
import select
import time

from fairseq_commands import called
from forked import TIMEOUT, Done, Forked

from genft_fairseq import cli, register

# What commands import when they are asked for is imported once, before all forks.
register()
dict(cli.genft.commands)


class GenftProcess(Forked):
    """The command as it runs in a shell, but for the start of an interpreter, which takes seconds.

    Args:
        arguments: behind ``genft``.
        stdout: as ``Forked`` has it.
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
        prepare = functools.partial(os.environ.update, environment)
        super().__init__(called("genft", *arguments, prepare=prepare), stdout=stdout, stderr=stderr)


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

    def watch(self, process: Forked, until: str = "(?!)") -> str:
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
