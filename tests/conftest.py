"""What all tests share: where real text lies, and determinism."""

import logging
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import warm_python as warm

# In a process that is forked from one whose threads have computed, the first computation waits for
# them for ever.
torch.set_num_threads(1)


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
    _seed_all()


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    """Give loggers back the levels that they had: commands make libraries, and us, quiet."""
    for name in ("fairseq", "genft_fairseq", "hydra"):
        logging.getLogger(name)  # or one that the test makes first would stay as it is
    known = logging.Logger.manager.loggerDict.values()
    before = {found: found.level for found in known if isinstance(found, logging.Logger)}
    yield
    for logger, level in before.items():
        if logger.level != level:
            logger.setLevel(level)


@pytest.fixture(autouse=True)
def _attention_of_float64_in_float64() -> Iterator[None]:
    """Keep fairseq's attention from rounding a float64 model to float32.

    How a sum in float32 is rounded depends on its length and on the processor, so that the same row
    alone and in a batch would differ by far more than these tests allow.
    """
    utils = sys.modules.get("fairseq.utils")
    with pytest.MonkeyPatch.context() as patch:  # the test's own is its to undo
        if utils is not None:
            patch.setattr(utils, "softmax", _softmax)
        yield


def _softmax(x: torch.Tensor, dim: int, onnx_trace: bool = False) -> torch.Tensor:
    return torch.softmax(x, dim, dtype=torch.promote_types(x.dtype, torch.float32))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Iterator[None]:
    """Make what several tests share the same, whichever of them asks for it first.

    Such a fixture is set up before any test's own, with what the test before has left: on several
    workers a random model would differ from run to run.
    """
    if fixturedef.scope == "function":
        return (yield)
    before = random.getstate()
    with torch.random.fork_rng(devices=[]):
        _seed_all()
        try:
            return (yield)
        finally:
            random.setstate(before)


def _seed_all() -> None:
    torch.manual_seed(0)
    random.seed(0)
