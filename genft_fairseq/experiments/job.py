"""One command of a comparison, from waiting to its end."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from genft_fairseq.errors import UserError

SECONDS_TO_END = 10

# What one job can meet that says nothing about the others: a mistake in its flags, or a full disk.
TROUBLE = (OSError, ValueError)  # a UserError is a ValueError


def program(name: str) -> str:
    """Return the path of a command that is installed beside this Python.

    Raises:
        UserError: it is not there.
    """
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise UserError(f"{path} is not there: install fairseq as the README shows")
    return str(path)


class Job:
    """One command with its log.

    Attributes:
        row: the row of the table that it works for.
        seed: of the run, or None for the baseline.
        kind: ``train``, ``decode`` or ``decode, equal time``.
        needs: jobs that must be finished before.
        state: ``waiting``, ``running``, ``finished``, ``failed`` or ``skipped``.
        error: why it failed.
    """

    def __init__(
        self, row: str, seed: int | None, kind: str, log: Path, needs: Sequence["Job"] = ()
    ) -> None:
        self.row, self.seed, self.kind, self.log, self.needs = row, seed, kind, log, needs
        self.state, self.error = "waiting", ""
        self.trouble = ""  # met while it ran, and why it was ended
        self.is_checked = False  # for what an earlier call has done
        self.process: subprocess.Popen[bytes] | None = None
        self.begun = 0.0
        self.resumed_at = 0.0  # how much of it was done before this start
        self.took: float | None = None

    @property
    def title(self) -> str:
        """Name it in a line of text."""
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"{self.kind}: {self.row}{seed}"

    @property
    def is_ready(self) -> bool:
        """Whether all that it needs is finished."""
        return self.state == "waiting" and all(job.state == "finished" for job in self.needs)

    def words(self) -> list[str]:
        """Return the command."""
        raise NotImplementedError

    def planned_words(self) -> list[str]:
        """Return the command as far as it is known before anything runs."""
        return self.words()

    def is_done(self) -> bool:
        """Whether an earlier call has done it already."""
        raise NotImplementedError

    def finish(self) -> None:
        """Put what the command made into place.

        Raises:
            UserError: it is not what it should be.
        """
        raise NotImplementedError

    def open_output(self) -> IO[bytes]:
        """Open what takes the command's standard output."""
        return self.log.open("ab")

    def watch(self) -> None:
        """Look at the running command; called several times a second."""

    @property
    def fraction(self) -> float:
        """The share of it that is done."""
        return 1.0 if self.state == "finished" else 0.0

    @property
    def known_seconds(self) -> float | None:
        """How long it took, when that is known."""
        return self.took

    @property
    def note(self) -> str:
        """What a view shows of it while it runs."""
        return ""

    def start(self, environment: dict[str, str], pass_fds: Sequence[int] = ()) -> None:
        """Start the command in a process group of its own, so that Ctrl-C reaches only us."""
        name, *arguments = self.words()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.open_output() as output, self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [program(name), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=log,
                env={**os.environ, **environment},
                start_new_session=True,
                pass_fds=pass_fds,
            )
        self.begun, self.state = time.monotonic(), "running"

    def poll(self) -> None:
        """Notice the end of the command."""
        assert self.process is not None
        try:
            self.watch()
            status = self.process.poll()
            if status is None:
                return
            self.took = self.elapsed
            self.ended()
            if self.trouble or status:
                self.fail(self.trouble or failure(status, self.log))
                return
            self.finish()
            self.state = "finished"
        except TROUBLE as error:  # its own: the other jobs go on
            self.trouble = self.trouble or str(error)
            if self.process.poll() is None:
                self.terminate()  # and another look finds that it has ended
            else:
                self.fail(self.trouble)

    def ended(self) -> None:
        """Keep what is known only while the command runs; called once it has ended."""

    def fail(self, reason: str) -> None:
        """Mark it as failed."""
        self.state, self.error = "failed", reason

    def terminate(self) -> None:
        """Ask the command and its children to end."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)

    def wait(self) -> None:
        """Wait for a terminated command, not forever."""
        if self.process is None:
            return
        try:
            self.process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        with contextlib.suppress(*TROUBLE):  # the others are still to be waited for
            self.ended()
        self.state = "waiting"

    @property
    def elapsed(self) -> float:
        """Seconds since it was started, this time."""
        return time.monotonic() - self.begun if self.state == "running" else 0.0


def failure(status: int, log: Path) -> str:
    """Say why a command failed: by a signal (no memory left, often), or by its last words."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return last_line(log) or f"ended with status {status}"


def last_line(log: Path) -> str:
    """Return the last line of a log that says something."""
    if not log.exists():
        return ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def printable(words: Sequence[str]) -> str:
    """Write a command as one types it; paths below the current folder are kept relative."""
    here = os.getcwd()
    return shlex.join(_relative(word, here) for word in words)


def _relative(word: str, here: str) -> str:
    # Only a whole path: the folder's name may be part of another path, or of any other word.
    if here == os.sep or not (word == here or word.startswith(here + os.sep)):
        return word
    return word[len(here) + 1 :] or "."
