"""The flags of commands in which an encoder-decoder reads a split and writes texts."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

POSITIVE = click.IntRange(min=1)
FILE = click.Path(dir_okay=False)
READ = click.Path(exists=True, dir_okay=False)
# evaluation/question_answering.py says what they mean; it is not imported for --help.
LANGUAGES = (
    *("en", "de", "es", "vi", "ar", "hi", "zh"),
    *("ko", "ja", "th", "lo", "km", "my", "other"),
)
# What Decoding holds.
DECODING = ("beam", "max_len_b", "lenpen", "no_repeat_ngram_size", "batch_size")

Command = TypeVar("Command", bound=Callable[..., Any])


class Finite(click.ParamType):
    """A finite number, perhaps not below another."""

    name = "number"

    def __init__(self, least: float = -math.inf):
        self.least = least

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Parse and check the number."""
        number: float = click.FLOAT.convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        if number < self.least:
            self.fail(f"{value} is less than {self.least:g}", param, ctx)
        return number


bpe_option = click.option(
    "--bpe",
    type=click.Choice(["auto", "none", "subword_nmt", "gpt2", "hugging_face", "sentencepiece"]),
    default="auto",
    show_default=True,
    help="How subwords are joined; auto: by the files in DATA or beside the checkpoint.",
)
tokenizer_option = click.option(
    "--tokenizer",
    type=click.Choice(["auto", "none", "moses"]),
    default="auto",
    show_default=True,
    help="Detokeniser of the output; auto: read from MANIFEST.json in DATA; without that file, "
    "moses for subword-nmt.",
)
output_option = click.option("--output", type=FILE, help="Write the figures as JSON.")


def search_options(
    beam: int, max_len_b: int, written: str, plural: str, read: str
) -> Callable[[Command], Command]:
    """Return what adds the flags of ``DECODING`` to a command.

    Args:
        beam: the default.
        max_len_b: the default.
        written: what the model writes, with its article.
        plural: several of these.
        read: what it reads; several.
    """
    options = [
        click.option(
            "--beam", type=POSITIVE, default=beam, show_default=True, help="Hypotheses kept."
        ),
        click.option(
            "--max-len-b",
            type=POSITIVE,
            default=max_len_b,
            show_default=True,
            help=f"Most tokens of {written}.",
        ),
        click.option(
            "--lenpen",
            type=Finite(),
            default=1.0,
            show_default=True,
            help=f"Above 1 favours long {plural}, below 1 short ones.",
        ),
        click.option(
            "--no-repeat-ngram-size",
            type=click.IntRange(min=0),
            default=0,
            help="Never repeat an n-gram of this length; 0: no such rule.",
        ),
        click.option(
            "--batch-size", type=POSITIVE, default=8, show_default=True, help=f"{read} a batch"
        ),
    ]

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add
