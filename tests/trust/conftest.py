"""A folder to read from, which is the current one, and the tiny runs of tests/commands."""

from pathlib import Path

import pytest
from commands.conftest import (  # noqa: F401 (fixtures)
    language_model_baseline,
    language_model_data,
    text,
    translation_baseline,
    translation_data,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the test; what is written by mistake is written there."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
