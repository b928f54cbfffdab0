"""Report errors of the data preparation: one line on stderr, exit code 2, and no traceback."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXIT_CODE = 2


class PrepareError(Exception):
    """A complaint whose message tells the user what is wrong, and needs nothing added."""


@contextmanager
def report_errors() -> Iterator[None]:
    """Turn a PrepareError, or an error of the operating system, into one line and exit code 2.

    The line begins with the name of the shell script that the user started, which that script
    hands down in PREPARE_PROGRAM, because the user has never heard of the Python file behind it.
    """
    program = os.environ.get("PREPARE_PROGRAM") or Path(sys.argv[0]).name
    try:
        yield
    except (PrepareError, OSError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(EXIT_CODE)
    except KeyboardInterrupt:  # the shell script, which was interrupted too, has a line for it
        sys.exit(128 + signal.SIGINT)
