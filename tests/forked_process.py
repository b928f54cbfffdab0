"""How a process that is forked from the tests' own begins and ends like a new one."""

import contextlib
import logging
import multiprocessing.process
import multiprocessing.util
import os
import sys
from pathlib import Path
from typing import Any, NoReturn


def begin(folder: Path | None = None) -> None:
    """In the forked process, first: forget what the other has started, and where it logs what.

    Args:
        folder: for the sockets of data loaders' workers, which leave them where they are ended; of
            a short name, and removed by the caller.  By default they lie in one of their own.
    """
    multiprocessing.process._children.clear()  # type: ignore[attr-defined]
    if folder is not None:
        process: Any = multiprocessing.process.current_process()
        process._config["tempdir"] = str(folder)
    logging.getLogger("fairseq").setLevel(logging.NOTSET)  # which the genft command makes quieter
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)


def end(status: int) -> NoReturn:
    """End as an interpreter does, but for what the other process is to do at its end.

    That is: workers of data loaders are ended first.  One that is left writes a traceback when the
    process that it was about to hand a batch to is gone.
    """
    try:
        with contextlib.suppress(Exception):
            multiprocessing.util._exit_function()  # type: ignore[attr-defined]
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
    finally:
        os._exit(status)
