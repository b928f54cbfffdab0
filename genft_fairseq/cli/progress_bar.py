"""The progress of an evaluation, on a terminal."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _PerSecond(ProgressColumn):
    def __init__(self, unit: str, digits: int):
        self.unit = unit
        self.digits = digits
        super().__init__()

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed or 0
        return Text(f"{speed:,.{self.digits}f} {self.unit}/s", style="dim")


def working_bar(quiet: bool, unit: str = "tokens", digits: int = 0) -> Progress:
    """Return a progress bar for tasks that are counted in a unit; hidden where nobody looks."""
    console = Console(stderr=True, quiet=quiet)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        _PerSecond(unit, digits),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # a log would get an empty line
    )
