"""Errors that are the user's to mend, shown as one line."""

import os
import sys
from types import TracebackType
from typing import Any

TRACEBACK_VARIABLE = "GENFT_TRACEBACK"

# Where one process of several fails, torch raises the child's traceback as the message of an
# exception in the parent; the line that matters is the child's last.
_SPAWN_FAILURES = {"ProcessRaisedException"}
_ONE_LINE_NAMES = ("UserError", "UnsuitableModel", "FileNotFoundError")


class UserError(ValueError):
    """A value, file or combination that cannot work; the message says what would."""


class UnsuitableModel(UserError, RuntimeError):
    """A model that a criterion or task cannot train, found out when the two first meet.

    A RuntimeError as well, because the trainer answers any other exception of an update by writing
    ``crash.pt``, a copy of a model that nothing has happened to.
    """


def check_range(flag: str, value: float, allowed: bool, interval: str) -> None:
    """Refuse a value that is out of range, or nan, when a criterion or task is built."""
    if not allowed:
        raise UserError(f"{flag} must lie in {interval}, but is {value}")


def one_line(error: BaseException) -> str | None:
    """Return the line that tells a user what is wrong, or None where only a traceback can tell.

    fairseq reports what is missing on disk by ``FileNotFoundError`` and most other mistakes of its
    users by a bare ``Exception``; both say what they mean in one line.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        advice = "is the data folder the output of fairseq-preprocess, and complete?"
        return f"{error}; {advice}" if "ataset not found" in str(error) else str(error)
    if type(error) is Exception and "\n" not in str(error).strip():
        return str(error).strip()
    if type(error).__name__ in _SPAWN_FAILURES:
        last = str(error).strip().splitlines()[-1]
        kind, _, message = last.partition(": ")
        if kind == "Exception" or kind.endswith(_ONE_LINE_NAMES):
            return message
    return None


def install_one_line_errors() -> None:
    """Make an uncaught user error end a command with one line instead of a traceback.

    The exit status stays non-zero.  ``GENFT_TRACEBACK=1`` shows the traceback as well.  Only in
    fairseq's own commands: a script that imports this package keeps its tracebacks.
    """
    program = sys.argv[0] if sys.argv else ""
    is_fairseq = os.path.basename(program).startswith("fairseq-") or "fairseq_cli" in program
    if not is_fairseq or getattr(sys.excepthook, "shows_one_line", False):
        return
    previous = sys.excepthook
    # Hydra prints a traceback of its own and leaves; this makes it pass the error on to the hook.
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")

    def show(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> Any:
        message = one_line(error)
        if message is None or os.environ.get(TRACEBACK_VARIABLE):
            return previous(kind, error, traceback)
        command = os.path.basename(sys.argv[0]) or "python"
        sys.stdout.flush()
        print(f"{command}: error: {message}", file=sys.stderr)

    show.shows_one_line = True  # type: ignore[attr-defined]
    sys.excepthook = show
