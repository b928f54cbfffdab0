"""What measuring commands share: their flags, how they run, what they write.

``--json``: standard output is JSON alone, for machines to read.

While a command works, ``working_bar`` keeps what libraries print away from standard output.

The files that a measuring command writes, checked before the work that fills them.

The flags of commands in which an encoder-decoder reads a split and writes texts.

How every measuring command runs: refuses, works, writes, prints.

``genft evaluate-lm``, ``evaluate-qa`` and ``evaluate-summaries`` say what they measure; this is
what they do alike.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from genft_fairseq.cli.progress_bar import working_bar
from genft_fairseq.files import require_writable, write_atomic

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")


def dump(found: Any) -> str:
    """Write what was found as JSON, with a line feed at its end."""
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def tell(as_json: bool, done: Any, *lines: str) -> None:
    """Print what was done: as JSON, or as lines for people to read."""
    if as_json:
        click.echo(dump(done), nl=False)
        return
    for line in lines:
        click.echo(line)


def require_outputs(files: dict[str, str | None], inputs: Mapping[str, Any] | None = None) -> None:
    """Refuse files that cannot be written, or are the same.

    Args:
        files: by flag; None: not asked for.
        inputs: parameters of the command, of which those that name a file are read.

    Raises:
        UserError: one cannot be written.
        click.UsageError: two are one.
    """
    given = {flag: path for flag, path in files.items() if path}
    for (flag, path), (other, same) in combinations(given.items(), 2):
        if Path(path).resolve() == Path(same).resolve():
            raise click.UsageError(f"{flag} and {other} are both {path}: name two files")
    for name, read in (inputs or {}).items():
        flag = f"--{name.replace('_', '-')}"
        reads = isinstance(read, str) and flag not in files and Path(read).is_file()
        for output, path in given.items() if reads else ():
            if Path(path).resolve() == Path(read).resolve():
                raise click.UsageError(f"{output} would overwrite {path}, which {flag} reads")
    for flag, path in given.items():
        require_writable(flag, Path(path))


POSITIVE = click.IntRange(min=1)

FILE = click.Path(dir_okay=False)

READ = click.Path(exists=True, dir_okay=False)

# metrics/question_answering.py says what they mean; it is not imported for --help.
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


# The parts of a text, made when they are written.
Parts = Callable[[], Iterable[str]]

# Called with what begins now and its number of units; returns what to tell how many are done.
Begin = Callable[[str, int], Callable[[int], None]]


split_option = click.option(
    "--split", default="test", show_default=True, help="Part of the data to use."
)

cpu_option = click.option("--cpu", is_flag=True, help="Do not use a GPU.")


@dataclass(frozen=True)
class Found:
    """What an evaluation has found, in the forms that it can be asked for.

    Attributes:
        json: the figures, which ``--output`` writes and ``--json`` prints.
        show: prints the figures for people to read.
        files: what each other flag that names a file writes.
    """

    json: Parts
    show: Callable[[], None]
    files: Mapping[str, Parts] = field(default_factory=dict)


def refuse_without_effect(
    context: click.Context, needs: Mapping[str, Sequence[str]], met: Mapping[str, object]
) -> None:
    """Refuse flags that change nothing, which would be a mistake that nobody sees.

    Args:
        context: of the command.
        needs: by condition, as a user reads it, the parameters that do nothing without it; the
            first condition comes first.
        met: whether each condition is.

    Raises:
        click.UsageError: a flag was given whose condition is not met.
    """
    for condition, names in needs.items():
        for name in names:
            given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
            if given and not met[condition]:
                flag, value = "--" + name.replace("_", "-"), context.params[name]
                shown = flag if value is True else f"{flag} {value}"
                raise click.UsageError(f"{shown} needs {condition}")


def run_evaluation(
    evaluate: Callable[[Begin], Found],
    files: Mapping[str, str | None],
    as_json: bool,
    unit: str = "tokens",
    digits: int = 0,
) -> None:
    """Evaluate, write files whole, and print JSON alone or what there is to see.

    Args:
        evaluate: does the work; told how to begin a part of it whose progress is shown.
        files: what each flag names, ``--output`` among them; None: not asked for.
        as_json: print JSON alone.
        unit: what the work is counted in.
        digits: of units a second.

    Raises:
        UserError: a file cannot be written, which is said before the work.
        click.UsageError: two files are one.
    """
    require_outputs(dict(files), click.get_current_context().params)
    with working_bar(as_json, unit, digits) as bar:

        def begin(name: str, total: int) -> Callable[[int], None]:
            task = bar.add_task(name, total=total)
            return lambda done: bar.advance(task, done)

        found = evaluate(begin)
    texts = {"--output": found.json, **found.files}
    given = {flag: path for flag, path in files.items() if path}
    for flag, path in given.items():
        write_atomic(Path(path), texts[flag]())
    if as_json:
        for part in found.json():
            click.echo(part, nl=False)
        return
    found.show()
    for path in given.values():
        click.echo(f"written: {path}")
