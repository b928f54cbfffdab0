"""Training runs in processes forked from the tests': several ranks of one run, and runs to kill.

A run of ``fairseq-train`` that is forked from here has torch and fairseq imported already, and so
has each of several ranks, which ``--distributed-world-size`` alone would start from nothing.
"""

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import fairseq_cli.train  # noqa: F401 (before the fork, so that it is imported once)
import pytest
from fairseq_commands import Done, become
from warm_python import configure_once

TIMEOUT = 120  # seconds, for what takes one or two


class ForkedRun:
    """``fairseq-train`` in one process or several, which are one process group.

    Args:
        commands: the arguments of each process.
        prepare: called in each process with its number, before the command begins.
    """

    def __init__(
        self, commands: Sequence[Sequence[object]], prepare: Callable[[int], None] | None = None
    ):
        self._folder = tempfile.TemporaryDirectory()
        self.pids: list[int] = []
        self.statuses: dict[int, int] = {}
        configure_once()
        for number, arguments in enumerate(commands):
            pid = os.fork()
            if pid == 0:
                group = self.pids[0] if self.pids else 0
                _train(list(map(str, arguments)), group, number, prepare, self._streams(number))
            self.pids.append(pid)
            os.setpgid(pid, self.pids[0])  # here as well: whoever comes first

    def _streams(self, number: int) -> list[Path]:
        names = (f"{number}.{name}" for name in ("stdin", "stdout", "stderr"))
        streams = [Path(self._folder.name, name) for name in names]
        for stream in streams:
            stream.touch()
        return streams

    def running(self) -> bool:
        """Tell whether a process has not ended yet."""
        for pid in self.pids:
            if pid not in self.statuses:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    self.statuses[pid] = os.waitstatus_to_exitcode(status)
        return len(self.statuses) < len(self.pids)

    def kill(self) -> None:
        """Kill all processes at once, and those that they have started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pids[0], signal.SIGKILL)
        while self.running():
            time.sleep(0.001)

    def wait(self, timeout: float = TIMEOUT) -> list[Done]:
        """Wait for the end, and kill what does not come to one; what each process printed."""
        end = time.monotonic() + timeout
        try:
            while self.running() and time.monotonic() < end:
                if any(self.statuses.values()):  # the others may wait for it for ever
                    end = min(end, time.monotonic() + 10)
                time.sleep(0.002)
        finally:
            self.kill()
        return self.done()

    def log(self) -> str:
        """Return what the first process has logged so far."""
        return self._streams(0)[2].read_text()

    def done(self) -> list[Done]:
        """Return how each process ended, and what it printed."""
        done = []
        for number, pid in enumerate(self.pids):
            _, stdout, stderr = (stream.read_text() for stream in self._streams(number))
            done.append(Done(self.statuses[pid], stdout, stderr))
        return done

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


def _train(
    arguments: list[str],
    group: int,
    number: int,
    prepare: Callable[[int], None] | None,
    streams: list[Path],
) -> NoReturn:
    try:
        os.setpgid(0, group)
        signal.alarm(2 * TIMEOUT)  # should nobody be left who waits
        if prepare is not None:
            prepare(number)
        become("fairseq_cli.train", ["fairseq-train", *arguments], streams)
    finally:
        os._exit(70)
