"""What a user needs of a refusal: a status, one line, the flag or file, and nothing written."""

from pathlib import Path
from typing import Any


def assert_refused(done: Any, *named: object, unwritten: Path | None = None) -> None:
    """Check how a command ended that was given something it cannot work with.

    Args:
        done: with ``returncode`` and ``stderr``, as the runners of these tests return it.
        named: what the line has to name: the flag or file, the offending value.
        unwritten: a folder that must be absent, or empty.
    """
    assert done.returncode != 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    lines = done.stderr.strip().splitlines()
    line = lines[-1] if lines else ""
    assert ": error: " in line, done.stderr
    missing = [str(name) for name in named if str(name) not in line]
    assert not missing, f"{missing} not in: {line}"
    if unwritten is not None and unwritten.exists():
        written = sorted(path.name for path in unwritten.iterdir())
        assert not written, f"{unwritten} holds {written}"
