"""What the command lines of ``losses.py``, ``projection.py`` and ``growth.py`` share."""

from collections.abc import Callable, Mapping
from typing import Any

import click
from loss_tables import BASELINE
from result_files import NamesType, OneLineError

SMALLEST_VOCABULARY = 8  # fairseq's four special symbols, and some words
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]
NUMBERS = {3: "three", 4: "four"}


class ShapeType(click.ParamType):
    """Sizes separated by commas, named by letters, of which V is the last."""

    def __init__(self, *letters: str):
        self.letters = letters
        self.name = ",".join(letters)

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, ...]:
        """Parse the sizes."""
        if not isinstance(value, str):
            return value
        try:
            sizes = tuple(int(size) for size in value.split(","))
        except ValueError:
            sizes = ()
        wanted = len(self.letters)
        if len(sizes) != wanted or min(sizes) < 1 or sizes[-1] < SMALLEST_VOCABULARY:
            raise OneLineError(
                f"--shape must be {self.name}, {NUMBERS[wanted]} positive integers with V at "
                f"least {SMALLEST_VOCABULARY}, but is {value!r}"
            )
        return sizes


def measurement_options(
    losses: Mapping[str, str], repeats: int, threads: int | None = None
) -> Decorator:
    """Add the options that say which losses are measured, how often, and on what."""
    chosen: dict[str, Any] = {"help": "CPU threads.  [default: torch's own]"}
    if threads is not None:
        chosen = {"default": threads, "show_default": True, "help": "CPU threads."}
    return _all_of(
        click.option(
            "--repeats",
            type=click.IntRange(min=1),
            default=repeats,
            show_default=True,
            help="Rounds, each with every loss once.",
        ),
        click.option("--threads", type=click.IntRange(min=1), **chosen),
        click.option(
            "--dtype",
            type=click.Choice(["float32", "bfloat16", "float16"]),
            default="float32",
            show_default=True,
            help="Of the logits.",
        ),
        click.option(
            "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True
        ),
        click.option(
            "--losses",
            "names",
            type=NamesType(losses, always=BASELINE),
            default=",".join(losses),
            help=f"Which to measure, of {', '.join(losses)}; {BASELINE} always is.  [default: all]",
        ),
    )


def dense_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that keep the dense masks within bounds."""
    add = _all_of(
        click.option(
            "--dense-repeats",
            type=click.IntRange(min=1),
            default=3,
            show_default=True,
            help="Rounds in which the slow dense masks take part.",
        ),
        click.option(
            "--dense-limit-gib",
            type=float,
            default=12.0,
            show_default=True,
            help="Skip the dense masks where they would need more memory (GiB).",
        ),
    )
    return add(function)


def _all_of(*options: Decorator) -> Decorator:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return add
