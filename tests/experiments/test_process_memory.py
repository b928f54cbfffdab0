"""What is measured of processes: our own, and those that a made-up driver lists."""

import multiprocessing
import os

import pytest

from genft_fairseq.experiments.training_run import gpu_mib, resident_mib


def _hold(connection, mib):
    held = bytearray(b"x" * (mib * 2**20))
    connection.send(len(held))
    connection.recv()


def test_resident_memory_has_what_a_child_holds_alone():
    """A forked child shares this process's pages: only its own 64 MiB are added."""
    before = resident_mib(os.getpid())
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_hold, args=(theirs, 64))
    child.start()
    ours.recv()
    added = resident_mib(os.getpid()) - before
    ours.send("end")
    child.join()
    assert 60 < added < 110
    assert resident_mib(child.pid) is None


def test_gpu_memory(tmp_path, monkeypatch):
    driver = tmp_path / "nvidia-smi"
    driver.write_text(f"#!/bin/sh\nprintf '{os.getpid()}, 400\\n1, 900\\n{os.getpid()}, 24\\n'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert gpu_mib(os.getpid()) == pytest.approx(424.0)
    driver.write_text("#!/bin/sh\necho 1, 900\n")  # a container: we have other numbers there
    assert gpu_mib(os.getpid()) is None
    driver.write_text("#!/bin/sh\nexit 9\n")
    assert gpu_mib(os.getpid()) is None
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert gpu_mib(os.getpid()) is None
