"""What all tests share: where real text lies, and determinism."""

import os
from pathlib import Path

import pytest
import torch
import warm_python as warm


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real text, or a skip that says why."""
    folder = os.environ.get("GENFT_DATA")
    if not folder:
        pytest.skip("GENFT_DATA names no folder of real text")
    if not Path(folder).is_dir():
        pytest.fail(f"GENFT_DATA names {folder}, which is no folder")
    return Path(folder)


@pytest.fixture(scope="session")
def warm_python() -> warm.WarmPython:
    """An interpreter and commands that start in a moment."""
    return warm.warm_python()


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)
