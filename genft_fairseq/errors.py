"""User errors, shown as one line.

Errors that are the user's to mend, shown as one line.

Which exceptions of fairseq report a mistake of its user, and the line that says which.

fairseq raises what it has to tell its users as it raises everything else.  One rule tells the two
apart, by where an exception comes from.  It is the user's to mend if

- fairseq's own code raises it on purpose, by ``raise`` or ``assert``, with a message;
- omegaconf or hydra refuses a setting while fairseq puts its configuration together;
- fairseq imports a package that is not installed, or looks up a name that is not registered;
- fairseq reads a text file that is not UTF-8, not JSON, or holds no number where one is due.

What is raised while a model or a loss is computed, and everything else, is a bug, and keeps its
traceback.
"""

import contextlib
import dis
import errno
import json
import os
import re
import stat
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from traceback import format_exception
from types import CodeType, FrameType, TracebackType
from typing import Any

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


_FAIRSEQ = ("fairseq", "fairseq_cli")

_CONFIGURATION = ("omegaconf", "hydra")

# An exception of another kind (KeyError, IndexError, TypeError, ...) belongs to a protocol of
# Python, and is a bug where nobody catches it.
_ON_PURPOSE = (AssertionError, ValueError, RuntimeError, ImportError, OSError)

_NAME = re.compile(r"(?<![\w./-])[a-z]+(?:_[a-z0-9]+)+(?![\w./(])")

_STDIN = "standard input"

_OVERRIDE = re.compile(r"Error merging override \w+\.(\w+)=(.*)")


# What the running command can be given; fairseq's messages write some of it as in the code.
known_settings: set[str] = set()


def mistake(error: BaseException) -> str | None:
    """Return what an exception tells the user to mend, in one line; None: it is a bug."""
    steps = list(traceback.walk_tb(error.__traceback__))
    frames = [frame for frame, _ in steps]
    if any(map(_computes, frames)):
        return None
    text = _one(str(error))
    if type(error) is Exception:  # the kind that fairseq and its plugins raise for users
        return text or None
    if not any(_package(frame) in _FAIRSEQ for frame in frames):
        return None
    if type(error).__module__.partition(".")[0] in _CONFIGURATION:
        if any(map(_configures, frames)) or type(error).__name__ == "MissingMandatoryValue":
            return _with_choice(_of_configuration(error, frames), frames)
        return None  # code that asks for a setting that there is not
    if isinstance(error, UnicodeDecodeError | json.JSONDecodeError):
        return _of_file(error, frames)
    if _package(frames[-1]) not in _FAIRSEQ:
        return None
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _with_choice(f"needs the package {error.name}, which is not installed", frames)
    if isinstance(error, KeyError) and _is_registry(frames[-1]):
        return _unknown_choice(frames[-1])
    last = _last_instruction(error)
    if text and isinstance(error, _ON_PURPOSE) and _raises(frames[-1].f_code, last, error):
        return _with_choice(_with_flags(text), frames)
    if isinstance(error, ValueError):  # of what a line of a file holds
        path = next(filter(None, map(_opened, reversed(frames[-2:]))), None)
        return path and f"{path} cannot be read: {text}"
    return None


def _one(text: str) -> str:
    return " ".join(text.split())


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _computes(frame: FrameType) -> bool:
    """Tell whether a frame is the call of a model, a layer or a loss."""
    if frame.f_code.co_name == "forward":  # which fairseq's generator calls itself
        return True
    return (
        frame.f_globals.get("__name__") == "torch.nn.modules.module"
        and frame.f_code.co_name == "_call_impl"
    )


def _configures(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).startswith("fairseq.dataclass")


def _last_instruction(error: BaseException) -> int:
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    return -1 if step is None else step.tb_lasti


def _raises(code: CodeType, instruction: int, error: BaseException) -> bool:
    """Tell whether an instruction is that of ``raise`` or ``assert``."""
    if code.co_filename.endswith(".pyx"):  # compiled: what is left is what only an assert raises
        return isinstance(error, AssertionError)
    if not 0 <= instruction < len(code.co_code):
        return False
    return dis.opname[code.co_code[instruction]] == "RAISE_VARARGS"


def _with_flags(text: str) -> str:
    """Write settings as on the command line."""
    return _NAME.sub(lambda found: _flag(found[0]), text)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}" if name in known_settings else name


# --- what fairseq builds by name -----------------------------------------------------------------


def _is_registry(frame: FrameType) -> bool:
    named = frame.f_globals.get("__name__"), frame.f_code.co_name
    return named == ("fairseq.registry", "build_x") and isinstance(
        frame.f_locals.get("choice"), str
    )


def _with_choice(text: str, frames: Iterable[FrameType]) -> str:
    """Put the flag in front by which the failing part was chosen: ``--optimizer lamb: ...``."""
    chosen = [frame.f_locals for frame in frames if _is_registry(frame)]
    if not chosen:
        return text
    flag = f"--{chosen[-1]['registry_name'].replace('_', '-')}"
    return text if flag in text.split() else f"{flag} {chosen[-1]['choice']}: {text}"


def _unknown_choice(frame: FrameType) -> str:
    known = ", ".join(sorted(map(str, frame.f_locals["REGISTRY"])))
    flag = f"--{frame.f_locals['registry_name'].replace('_', '-')}"
    return f"{flag} must be one of {known}, but is {frame.f_locals['choice']!r}"


# --- settings ------------------------------------------------------------------------------------


def _of_configuration(error: BaseException, frames: Iterable[FrameType]) -> str:
    """Name the setting that omegaconf complains of; what follows its first line is for coders."""
    text = str(error).strip().partition("\n")[0]
    override = _OVERRIDE.match(text)
    if override:  # from the command line
        name, value = override.groups()
        cause = str(error.__cause__ or error.__context__ or "").strip().partition("\n")[0]
        flag = f"--{name.replace('_', '-')}"
        return f"{flag} is required" if value == "null" else f"{flag} {value}: {_one(cause)}"
    key = str(getattr(error, "full_key", None) or getattr(error, "key", None) or "")
    if type(error).__name__ == "MissingMandatoryValue":
        return f"--{key.rpartition('.')[2].replace('_', '-')} is required"
    # In a file of hydra's.
    groups = [frame.f_locals.get("k") for frame in frames if frame.f_code.co_name == "add_defaults"]
    where = ".".join(str(part) for part in (*groups, key) if part)
    return f"{where}: {text}" if where else text


# --- files ---------------------------------------------------------------------------------------


def _of_file(error: ValueError, frames: list[FrameType]) -> str | None:
    """Name the file that was read; a text that came from elsewhere is no file's fault."""
    path = next(filter(None, map(_file_of, reversed(frames))), None)
    if path is None:
        return None
    if isinstance(error, UnicodeDecodeError):
        return f"{path} is not UTF-8{_line_of(path)} ({error.reason})"
    return f"{path} is not JSON ({error})"


def _file_of(frame: FrameType) -> str | None:
    """The file that a function has opened, or is about to: what it holds of one."""
    if frame.f_globals.get("__name__") == "fileinput" and "self" in frame.f_locals:
        name = getattr(frame.f_locals["self"], "_filename", None)
        return _STDIN if name in (None, "-", "<stdin>") else str(name)
    if _package(frame) not in (*_FAIRSEQ, __name__.partition(".")[0]):
        return None
    named = (value for value in frame.f_locals.values() if isinstance(value, str))
    return _opened(frame) or next(filter(os.path.isfile, named), None)


def _opened(frame: FrameType) -> str | None:
    for value in list(frame.f_locals.values()):
        name = getattr(value, "name", None) if hasattr(value, "fileno") else None
        if name == "<stdin>":
            return _STDIN
        if isinstance(name, str) and os.path.isfile(name):
            return name
    return None


def _line_of(path: str) -> str:
    for number, line in enumerate(_lines(path), start=1):
        try:
            line.decode()
        except UnicodeDecodeError:
            return f" in line {number}"
    return ""


def _lines(path: str) -> Iterator[bytes]:
    if os.path.isfile(path):
        with open(path, "rb") as stream:
            yield from stream
