"""Errors that are the user's to mend, shown as one line."""

import contextlib
import errno
import os
import re
import stat
import sys
from collections.abc import Callable
from traceback import format_exception
from types import TracebackType
from typing import Any

from genft_fairseq.fairseq_errors import mistake

TRACEBACK_VARIABLE = "GENFT_TRACEBACK"
# The file descriptor that `genft train` reads what its run ended with from, for the run's log.
ERROR_VARIABLE = "GENFT_ERROR_FD"

# Where one process of several fails, torch raises the child's traceback as the message of an
# exception in the parent; the line that matters is the child's last.
_SPAWN_FAILURES = {"ProcessRaisedException"}
_ONE_LINE_NAMES = ("UserError", "UnsuitableModel", "FileNotFoundError", "PermissionError")
# What a disk, a path, or the rights to it are to blame for.
_OF_FILES = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(
        errno.EISDIR,
        errno.ENOTDIR,
        errno.EEXIST,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.EMFILE,
        errno.ESTALE,
    ),
}
# The parts of a message that came out of a file may end a line, or speak to the terminal.
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LONGEST = 1000
# What the shell has opened has its writer: <(command), and what is piped in.
_OPEN_ALREADY = ("/dev/fd/", "/dev/stdin", "/proc/self/fd/")


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


def require_regular(path: str | os.PathLike[str]) -> None:
    """Refuse what may be read without end: a named pipe, a device.

    A pipe that the shell has opened passes; and what is not there is for whoever opens it.

    Raises:
        UserError: the message names the path, and what it is.
    """
    if str(path).startswith(_OPEN_ALREADY):
        return
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        what = "a named pipe" if stat.S_ISFIFO(mode) else "a device"
        raise UserError(f"{path} is {what}, which may never end: give a file, or <(command)")


def one_line(error: BaseException) -> str | None:
    """Return the line that tells a user what is wrong, or None where only a traceback can tell.

    A file that is missing, a disk that is full, or a folder that may not be written, is nobody's
    bug; of what fairseq raises ``fairseq_errors`` tells which are.
    """
    line = _line(error)
    if line is None:
        return None
    if len(line) > _LONGEST:  # what is wrong begins it, and what to do ends it
        line = f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"
    return _UNSEEN.sub(_seen, line)


def _seen(found: re.Match[str]) -> str:
    return " " if found[0] in "\t\n\r" else ascii(found[0])[1:-1]


def _line(error: BaseException) -> str | None:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        advice = "is the data folder the output of fairseq-preprocess, and complete?"
        return f"{error}; {advice}" if "ataset not found" in str(error) else str(error)
    if isinstance(error, OSError) and error.errno in _OF_FILES:
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    if type(error).__name__ in _SPAWN_FAILURES:
        last = str(error).strip().splitlines()[-1]
        kind, _, message = last.partition(": ")
        return message if kind.endswith(_ONE_LINE_NAMES) else None
    return mistake(error)


def told(main: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Run the main function of a command; what is the user's to mend leaves it as a UserError.

    Of a process that others wait for, torch passes on nothing but the text of a traceback.
    """
    try:
        return main(*arguments, **keywords)
    except Exception as error:
        line = one_line(error)
        if line is None or type(error) is UserError:
            raise
        raise UserError(line) from error


def _report(text: str) -> None:
    descriptor = os.environ.get(ERROR_VARIABLE, "")
    with contextlib.suppress(OSError):
        # A file without a name; in a process that did not inherit it the number is another file's.
        if descriptor.isdecimal() and os.fstat(int(descriptor)).st_nlink == 0:
            os.write(int(descriptor), f"{text.rstrip()}\n".encode(errors="replace"))


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
        command = os.path.basename(sys.argv[0]) or "python"
        sys.stdout.flush()
        _report(f"{command}: error: {message}" if message else "".join(format_exception(error)))
        if message is None or os.environ.get(TRACEBACK_VARIABLE):
            return previous(kind, error, traceback)
        print(f"{command}: error: {message}", file=sys.stderr)

    show.shows_one_line = True  # type: ignore[attr-defined]
    sys.excepthook = show
