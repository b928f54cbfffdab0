"""Training runs in processes forked from the tests': several ranks of one run, and runs to kill.

A run of ``fairseq-train`` that is forked from here has torch and fairseq imported already, and so
has each of several ranks, which ``--distributed-world-size`` alone would start from nothing.
"""

import contextlib
import functools
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fairseq_commands import called
from forked import TIMEOUT, Done, Forked


class ForkedRun:
    """``fairseq-train`` in one process or several, which are one process group.

    Args:
        commands: the arguments of each process.
        prepare: called in each process with its number, before the command begins.
    """

    def __init__(
        self,
        commands: Sequence[Sequence[object]],
        prepare: Callable[[int], None] | None = None,
    ):
        self._processes: list[Forked] = []
        for number, arguments in enumerate(commands):
            group = self.pids[0] if number else 0
            prepared = functools.partial(self._prepare, prepare, number)
            function = called("fairseq-train", *arguments, prepare=prepared)
            self._processes.append(Forked(function, group=group))

    @staticmethod
    def _prepare(prepare: Callable[[int], None] | None, number: int) -> None:
        signal.alarm(2 * TIMEOUT)  # should nobody be left who waits
        if prepare is not None:
            prepare(number)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def running(self) -> bool:
        """Tell whether a process has not ended yet."""
        return any(process.is_running() for process in self._processes)

    def kill(self) -> None:
        """Kill all processes at once, and those that they have started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pids[0], signal.SIGKILL)
        while self.running():
            time.sleep(0.001)

    def wait(self, timeout: float = TIMEOUT) -> list[Done]:
        """Wait for the end, and kill what does not come to one; how each process ended."""
        end = time.monotonic() + timeout
        try:
            while self.running() and time.monotonic() < end:
                if any(p.wait().returncode for p in self._processes if not p.is_running()):
                    end = min(end, time.monotonic() + 10)  # the others may wait for it for ever
                time.sleep(0.002)
        finally:
            self.kill()
        return [process.wait() for process in self._processes]

    def log(self) -> str:
        """Return what the first process has logged so far."""
        return self._processes[0].printed()[1]

    def checked(self, timeout: float = TIMEOUT) -> list[Done]:
        """Wait for the end, which must be a good one in every process."""
        done = self.wait(timeout)
        failed = [number for number, ended in enumerate(done) if ended.returncode]
        if failed:
            ends = (
                f"process {n} ended with {done[n].returncode}:\n{done[n].output}" for n in failed
            )
            pytest.fail("\n".join(ends))
        return done


def ranks(arguments: Sequence[object], number: int, store: Path) -> list[list[object]]:
    """Return the command of each of several ranks, which find each other by a new file."""
    store.unlink(missing_ok=True)
    several = ["--distributed-world-size", number, "--distributed-no-spawn"]
    several += ["--distributed-init-method", f"file://{store}"]
    return [[*arguments, *several, "--distributed-rank", rank] for rank in range(number)]
