"""What the tests of the prepare-*.sh scripts share: running and killing them, reading results."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from warm_python import WarmPython

from genft_fairseq.files import is_locked

REPOSITORY = Path(__file__).resolve().parents[2]
DATA_PREP = REPOSITORY / "data-prep"
SECONDS = 120


class Script:
    """One of the shell scripts, run as a user runs it, from a folder that is not the repository.

    Its Python is forked from one that has torch and fairseq imported.  With ``**COLD`` as
    environment it starts anew: once for parallel text, once for Fusion-in-Decoder, once for
    summaries, which together run every stage that several scripts share.
    """

    COLD: ClassVar = {"PYTHON": sys.executable}

    def __init__(self, name: str, folder: Path, python: Path) -> None:
        self.name = name
        self.folder = folder
        self.path = DATA_PREP / name
        self.environment = {**os.environ, "PYTHON": str(python)}

    def run(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script to its end."""
        return subprocess.run(
            [str(self.path), *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def succeed(self, *arguments: object, **environment: str) -> str:
        """Run the script, require success and silence on stderr, and return what it printed."""
        result = self.run(*arguments, **environment)
        assert (result.returncode, result.stderr) == (0, ""), result.stderr
        return result.stdout

    def complain(self, *arguments: object, **environment: str) -> str:
        """Run the script, require exit code 2 and one line on stderr, and return its message."""
        result = self.run(*arguments, **environment)
        assert result.returncode == 2, result
        lines = result.stderr.splitlines()
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith(f"{self.name}: ")
        return lines[0].removeprefix(f"{self.name}: ")

    def leave_alone(self, out: Path, *arguments: object) -> None:
        """Run the script on a complete folder, of which it makes nothing anew."""
        before = (out / "MANIFEST.json").stat()
        self.succeed(*arguments, "--out", out)
        after = (out / "MANIFEST.json").stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    @staticmethod
    def finished(partial: Path) -> dict[str, int]:
        """Return when an interrupted run finished each of its stages."""
        stamps = (partial / "work" / "stamps").iterdir()
        return {stamp.name: stamp.stat().st_mtime_ns for stamp in stamps}

    def kill_when(
        self, ready: Callable[[], bool], *arguments: object, how: int = signal.SIGKILL
    ) -> tuple[int, str]:
        """Start the script; kill it, with all that it started, as soon as ``ready()`` holds."""
        process = subprocess.Popen(
            [str(self.path), *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + SECONDS
            while not ready():
                assert process.poll() is None, "the script ended before it could be killed"
                assert time.monotonic() < deadline
                time.sleep(0.005)
            os.killpg(process.pid, how)
            _, complaint = process.communicate(timeout=SECONDS)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        # A Python that was forked for it is killed a moment later, and holds the lock until then.
        for out in (argument for argument in arguments if isinstance(argument, Path)):
            while is_locked(Path(f"{out}.partial")):
                assert time.monotonic() < deadline
                time.sleep(0.005)
        return process.returncode, complaint


@pytest.fixture(scope="session")
def script(
    tmp_path_factory: pytest.TempPathFactory, warm_python: WarmPython
) -> Callable[[str], Script]:
    """Return a maker of scripts that run in a folder of their own."""
    return lambda name: Script(name, tmp_path_factory.mktemp("elsewhere"), warm_python.python)


@pytest.fixture(scope="session")
def read_tree() -> Callable[[Path], dict[str, bytes]]:
    """Return a reader of all files of a folder, by their path in it."""

    def read(folder: Path) -> dict[str, bytes]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    return read


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """Return an output folder of which nothing may be left after a test about an error."""
    out = tmp_path / "out"
    yield out
    assert not out.exists()
    assert not Path(f"{out}.partial").exists()
