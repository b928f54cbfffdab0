"""A log that is shown as it grows, whatever standard output is."""

import os
import subprocess
from pathlib import Path

import pytest
from warm_python import warm_python

CHILD = """
import subprocess, sys
from pathlib import Path
from genft_fairseq.cli.child_process import followed_log
with followed_log(Path(sys.argv[1])) as log:
    words = "import time; print('one', flush=True); time.sleep(0.5); print('two' * 50_000)"
    subprocess.run([sys.executable, "-c", words], stdout=log, check=True)
"""


def start(log: Path, stdout: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([str(warm_python().python), "-c", CHILD, str(log)], stdout=stdout)


def follow(log: Path, stdout: int) -> None:
    assert start(log, stdout).wait(timeout=60) == 0


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "genft.log"
    path.write_text("before\n")
    return path


TEXT = "one\n" + "two" * 50_000 + "\n"


def test_what_is_appended_is_shown(log: Path, tmp_path: Path) -> None:
    with (tmp_path / "shown").open("wb") as shown:
        follow(log, shown.fileno())
    assert (tmp_path / "shown").read_text() == TEXT
    assert log.read_text() == f"before\n{TEXT}"


def test_a_log_that_is_standard_output_too_is_not_fed_to_itself(log: Path) -> None:
    with log.open("ab") as shown:
        follow(log, shown.fileno())
    assert log.read_text() == f"before\n{TEXT}"


def test_a_pipe_that_does_not_wait_loses_nothing(log: Path) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    process = start(log, writing)
    os.close(writing)
    with open(reading, "rb") as stream:
        assert stream.read().decode() == TEXT
    assert process.wait(timeout=60) == 0


def test_a_closed_pipe_stops_the_showing_not_the_log(log: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    follow(log, writing)
    os.close(writing)
    assert log.read_text() == f"before\n{TEXT}"
