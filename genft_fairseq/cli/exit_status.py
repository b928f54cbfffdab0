"""How every ``genft`` command ends: its exit status, and the one line that says why.

A shell, and whoever automates a command, can tell by the status what happened::

    0        done
    1        something ran but failed, or a check found something wrong
    2        a mistake of the user's: a flag or file that cannot work, or cannot be written
    128 + n  ended by signal n: 130 by Ctrl-C, 141 where a pipe was closed, 143 by SIGTERM

An error of ours ends with a traceback and status 1.
"""

import contextlib
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import TextIO

import click

from genft_fairseq.errors import TRACEBACK_VARIABLE, UserError, one_line

EPILOG = (
    "Exit status: 0 done; 1 something ran but failed, or a check found something wrong; 2 a "
    "mistake in what was given, said in one line; 128 + n ended by signal n (130: Ctrl-C). train, "
    "finetune, test and inference end with the status of the command that they run. "
    f"{TRACEBACK_VARIABLE}=1 shows where an error comes from."
)


class Stopped(SystemExit):
    """A signal asks to end; on the way out, what is half-written is taken away.

    No KeyboardInterrupt, which click ends with status 1, and which shows a traceback in processes
    that are forked from here.
    """

    def __init__(self, number: int):
        super().__init__(128 + number)
        self.reason = f"ended by {signal.Signals(number).name}"


def status_of(command: click.Command, name: str) -> int:
    """Run a command on this process's arguments, say in one line what ended it, if anything did.

    Args:
        command: of click's.
        name: its program's.

    Returns:
        The exit status.

    Raises:
        Exception: an error of this package.
    """
    try:
        with _stopped_by_signals():
            # click's own status, of --help say; where the command itself is done, what it returns.
            done = command.main(prog_name=name, standalone_mode=False)
        status, message = done if isinstance(done, int) else 0, ""
    except (Exception, SystemExit) as error:
        status, message = _status_and_line(error, name)
    unwritten = _let_go(sys.stdout)
    if isinstance(unwritten, BrokenPipeError):  # nobody wants to read the rest: no mistake
        status, message = 128 + signal.SIGPIPE, ""
    elif unwritten is not None:
        status, message = 2, f"{name}: error: standard output: {unwritten.strerror}"
    if message:
        with contextlib.suppress(OSError):
            print(message, file=sys.stderr)
    _let_go(sys.stderr)
    return status


def _status_and_line(error: Exception | SystemExit, name: str) -> tuple[int, str]:
    if isinstance(error, Stopped):
        return int(error.code or 0), f"{name}: {error.reason}"
    if isinstance(error, SystemExit):
        # click and rich leave so, each with a status of its own, where a pipe is closed.
        if isinstance(error.__context__, BrokenPipeError):
            return 128 + signal.SIGPIPE, ""
        known = error.code is None or isinstance(error.code, int)
        return (int(error.code or 0), "") if known else (1, str(error.code))
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error.exit_code, error.format_message()
    if isinstance(error, click.UsageError):
        asked = error.ctx.command_path if error.ctx else name
        return 2, f"{name}: error: {_one(error.format_message())} (see {asked} --help)"
    line = error.format_message() if isinstance(error, click.ClickException) else one_line(error)
    if line is None or os.environ.get(TRACEBACK_VARIABLE):
        raise error
    return 2, f"{name}: error: {line}"


def _one(text: str) -> str:
    """In one line; a list of choices stands below what click says of them."""
    return " ".join(text.split())


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    # One that is ignored, under nohup say, stays so.
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    handled = [number for number in signals if signal.getsignal(number) != signal.SIG_IGN]
    previous = {number: signal.signal(number, stop) for number in handled}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _let_go(stream: TextIO | None) -> OSError | None:
    """Write what a stream still holds; what cannot be written is dropped, and why is returned.

    Python would try it once more at its end, and complain of it.
    """
    if stream is None:  # it was closed before we began
        return None
    try:
        stream.flush()
    except OSError as error:
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), stream.fileno())
        return error
    return None


def require_extra(command: str, libraries: Mapping[str, str], extra: str) -> None:
    """Refuse to begin what could not be finished.

    Args:
        command: what needs the libraries.
        libraries: by the names that they are imported by, those that they are installed by.
        extra: of our distribution, which installs them.

    Raises:
        UserError: one is not there.
    """
    missing = [name for module, name in libraries.items() if not importlib.util.find_spec(module)]
    if missing:
        raise UserError(
            f"{command} needs {' and '.join(missing)}: pip install 'genft_fairseq[{extra}]'"
        )
