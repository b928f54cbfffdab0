"""The scripts of data-prep on a full disk, in a read-only folder, and interrupted."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from data_prep.conftest import DATA_PREP, SECONDS, Script
from trust.test_writing import read_only  # noqa: F401 (a fixture)


@pytest.fixture
def book(folder) -> Script:
    (folder / "elsewhere").mkdir()
    return Script("prepare-book.sh", folder / "elsewhere", Path(sys.executable))


@pytest.fixture
def text(folder) -> Path:
    path = folder / "text.txt"
    path.write_text("".join(f"The {n} cats sat on the mat of the house.\n\n" for n in range(400)))
    return path


def test_a_full_disk_is_told_in_one_line(book, text, folder):
    """No file of the run can grow beyond a kilobyte; nothing has the name of the result."""
    out = folder / "out"
    script = DATA_PREP / book.name
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 1; exec '{script}' --text '{text}' --out '{out}'"],
        cwd=book.folder,
        env=book.environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 2, done
    assert len(done.stderr.splitlines()) == 1 and "Traceback" not in done.stderr
    assert not out.exists()


def test_a_read_only_folder_is_refused(book, text, read_only):  # noqa: F811
    message = book.complain("--text", text, "--out", read_only / "out")
    assert str(read_only) in message
    assert os.listdir(read_only) == []


def test_an_interrupted_run_says_one_line_and_keeps_what_it_has(book, text, folder):
    out, work = folder / "out", folder / "out.partial"
    stamps = work / "work" / "stamps"
    code, complaint = book.kill_when(
        lambda: stamps.is_dir() and any(stamps.iterdir()),
        *("--text", text, "--bpe-operations", 20, "--out", out),
        how=signal.SIGINT,
    )
    assert code == 130
    assert complaint.startswith("prepare-book.sh: ") and complaint.count("\n") == 1
    assert not out.exists() and any(stamps.iterdir())
