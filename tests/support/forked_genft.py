"""The ``genft`` command in a forked process: on a full disk, or ended at a moment of writing."""

import contextlib
import importlib
import os
import pkgutil
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fairseq_commands import called
from forked import Done, Forked

import genft_fairseq

# What the commands import when they need it is imported once, before all forks.
_OURS = [module.name for module in pkgutil.walk_packages(genft_fairseq.__path__, "genft_fairseq.")]
_THEIRS = ["bm25s", "rouge_score.rouge_scorer", "transformers", "rich.progress", "rich.table"]
for _name in [*_OURS, *_THEIRS]:
    if not _name.endswith("__main__"):
        importlib.import_module(_name)

_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def run_genft(*arguments: object, prepare: Callable[[], None] = lambda: None) -> Done:
    """Run a command as its script does, with torch and fairseq imported already.

    Args:
        arguments: of the command line.
        prepare: called in the forked process before the command begins.
    """
    return Forked(called("genft", *arguments, prepare=prepare)).wait()


def full_disk(size: int) -> Callable[[], None]:
    """No file of the process can grow beyond so many bytes, as on a disk that is full."""

    def prepare() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return prepare


def killed_in_a_write(size: int) -> Callable[[], None]:
    """The process is killed in the middle of the first file that grows beyond so many bytes."""

    def prepare() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return prepare


def count_moments(folder: Path, *arguments: object) -> tuple[Done, int]:
    """Run a command, and count the moments in which it changes something below a folder."""
    read_end, write_end = os.pipe()
    done = run_genft(*arguments, prepare=_at_each(folder, lambda _: os.write(write_end, b".")))
    os.close(write_end)
    with open(read_end, "rb") as stream:
        return done, len(stream.read())


def ended_at(moment: int, number: int, folder: Path) -> Callable[[], None]:
    """The process gets a signal just before its n-th change below a folder, counted from 1."""

    def at(count: int) -> None:
        if count == moment:
            os.kill(os.getpid(), number)

    return _at_each(folder, at)


def _at_each(folder: Path, act: Callable[[int], object]) -> Callable[[], None]:
    """Act whenever a file below the folder is opened to be written, renamed or removed."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & _WRITES:
                return
        elif event in _CHANGES:
            path = arguments[0]
        else:
            return
        with contextlib.suppress(TypeError, ValueError):
            if Path(os.path.abspath(os.fsdecode(path))).is_relative_to(folder):
                count += 1
                act(count)

    return lambda: sys.addaudithook(hook)
