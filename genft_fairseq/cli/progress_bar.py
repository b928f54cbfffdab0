"""The progress of a command's work, on a terminal: what is done, how fast, and the time left."""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

# rich is imported when a bar is shown: --help does not need it.
if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, Task
    from rich.text import Text


def _per_second(default_unit: str, digits: int) -> "ProgressColumn":
    from rich.progress import ProgressColumn
    from rich.text import Text

    class PerSecond(ProgressColumn):
        def render(self, task: "Task") -> "Text":
            if task.total is None:  # of unknown length
                return Text()
            speed = task.finished_speed or task.speed or 0
            unit = task.fields.get("unit", default_unit)
            return Text(f"{speed:,.{digits}f} {unit}/s", style="dim")

    return PerSecond()


@contextmanager
def working_bar(quiet: bool, unit: str = "tokens", digits: int = 0) -> Iterator["Progress"]:
    """Show a progress bar for tasks that are counted in a unit.

    Standard output is kept for what a command finds: what libraries print meanwhile goes to
    standard error.

    Args:
        quiet: the bar is hidden, as it is wherever standard error is not a terminal.
        unit: what the work is counted in; a task may have a ``unit`` of its own.
        digits: of units a second.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True, quiet=quiet)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        _per_second(unit, digits),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,  # a log would get an empty line
    )
    with redirect_stdout(sys.stderr), bar:
        yield bar


@contextmanager
def shown_steps(quiet: bool, first: str) -> Iterator[Callable[[str], None]]:
    """Show the step at work, of unknown length; yields a function that begins the next.

    Args:
        quiet: as of ``working_bar``.
        first: the step that is at work already.
    """
    with working_bar(quiet) as bar:
        step = bar.add_task(first, total=None)
        yield lambda name: bar.update(step, description=name)


def number_of_lines(path: Path, bar: "Progress") -> int | None:
    """Count the lines of a file, gzipped or not, so that a bar can tell the time left.

    Returns:
        None where the bar is hidden, or the file is a pipe or damaged, which its reader reports.
    """
    if bar.disable or not path.is_file():
        return None
    opened = gzip.open if path.name.endswith(".gz") else open
    try:
        with opened(path, "rb") as stream:
            return sum(block.count(b"\n") for block in iter(lambda: stream.read(1 << 20), b""))
    except (OSError, EOFError, zlib.error):
        return None
