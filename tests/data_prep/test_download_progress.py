"""download_progress.py: complaints go to the log, sizes to the screen."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from refusals import assert_names

DATA_PREP = Path(__file__).parents[2] / "data-prep"
sys.path.insert(0, str(DATA_PREP))  # a folder of scripts, not a package

import download_progress  # noqa: E402


def test_sizes_are_told_while_a_download_lasts(tmp_path, monkeypatch, capsys):
    part, log = tmp_path / "corpus.tgz.part", tmp_path / "log"
    read_end, write_end = os.pipe()
    monkeypatch.setattr(download_progress, "SECONDS_PER_PROGRESS", 0.01)

    def download() -> None:
        time.sleep(0.1)
        part.write_bytes(b"x" * 2_000_000)
        time.sleep(0.1)
        os.write(write_end, b"curl: (18) cut off\n")
        os.close(write_end)

    with os.fdopen(read_end) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        thread = threading.Thread(target=download)
        thread.start()
        download_progress.watch(part, log)
        thread.join()
    told = capsys.readouterr().out.splitlines()
    assert_names(told[0], "corpus.tgz", 0)
    assert_names(told[-1], "corpus.tgz", 2)
    assert log.read_text() == "curl: (18) cut off\n"
