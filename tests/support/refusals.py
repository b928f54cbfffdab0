"""What a user needs of a refusal: a status, one line, the flag or file, and nothing written.

The words of a message are not tested, so that anybody may improve them.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from genft_fairseq.errors import UserError


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
    assert_names(line, *named)
    _assert_unwritten(unwritten)


def assert_script_refused(done: Any, *named: object, unwritten: Path | None = None) -> None:
    """Check how a script of the examples or benchmarks ended that cannot work with its arguments.

    Args:
        done: a completed process, or click's result.
        named: what the line has to name: the flag or file, the offending value.
        unwritten: a folder that must be absent, or empty.
    """
    status = done.exit_code if hasattr(done, "exit_code") else done.returncode
    assert (status, done.stdout) == (2, ""), done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert_names(done.stderr, *named)
    _assert_unwritten(unwritten)


@contextmanager
def refuses(
    *named: object,
    error: type[Exception] | tuple[type[Exception], ...] = UserError,
    unwritten: Path | None = None,
) -> Iterator[None]:
    """Check that what is called inside raises ``error``, in one line that names all of ``named``.

    Args:
        named: the flag, file or argument, and the offending value.
        error: the type that is raised; ``ValueError`` where the Python API refuses.
        unwritten: a folder that must be absent, or empty.
    """
    with pytest.raises(error) as raised:
        yield
    message = str(raised.value)
    assert len(message.splitlines()) == 1, message
    assert_names(message, *named)
    _assert_unwritten(unwritten)


def assert_names(line: str, *named: object) -> None:
    """Check that a line names a flag, a file, a value; a number stands alone, not in a path."""
    missing = [str(name) for name in named if not _is_named(name, line)]
    assert not missing, f"{missing} not in: {line}"


def _is_named(name: object, line: str) -> bool:
    if isinstance(name, int | float):
        return re.search(rf"(?<![\w./-]){re.escape(str(name))}(?!\w|\.\d)", line) is not None
    return str(name) in line


def _assert_unwritten(folder: Path | None) -> None:
    if folder is not None and folder.exists():
        written = sorted(path.name for path in folder.iterdir())
        assert not written, f"{folder} holds {written}"
