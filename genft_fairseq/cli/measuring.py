"""What commands share that measure: flags, refusals, progress, and what they print and write.

``genft evaluate-lm``, ``evaluate-qa`` and ``evaluate-summaries`` say what they measure. Other
commands use ``json_option``, ``tell`` and ``require_outputs``, too.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from genft_fairseq.cli.progress_bar import working_bar
from genft_fairseq.files import require_writable, write_atomic

Command = TypeVar("Command", bound=Callable[..., Any])

POSITIVE = click.IntRange(min=1)

FILE = click.Path(dir_okay=False)

READ = click.Path(exists=True, dir_okay=False)

# What Decoding holds.
DECODING = ("beam", "max_len_b", "lenpen", "no_repeat_ngram_size", "batch_size")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON alone.")

split_option = click.option(
    "--split", default="test", show_default=True, help="Part of the data to use."
)

cpu_option = click.option("--cpu", is_flag=True, help="Do not use a GPU.")

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

output_option = click.option("--output", type=FILE, help="Write the metrics as JSON.")


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


def require_predictions(context: click.Context) -> None:
    """Refuse a command line that does not say which predictions are scored against what.

    Raises:
        click.UsageError: neither or both of a checkpoint and a file of predictions; no references.
    """
    given = context.params
    if bool(given["path"]) == bool(given["predictions_from"]):
        raise click.UsageError(
            "give either --path, a checkpoint, or --predictions-from, a file of what one wrote"
        )
    if given["path"] and not given["data"]:
        raise click.UsageError("--path needs DATA, the binarized folder to read from")
    if not given["data"] and not given["references"]:
        raise click.UsageError("--predictions-from needs DATA or --references, to compare with")


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


def percent(share: float | None) -> str:
    """Return a share as a cell of a table shows it."""
    return "-" if share is None else f"{100 * share:.1f}"


@contextmanager
def evaluation_progress(
    quiet: bool, unit: str = "tokens", digits: int = 0
) -> Iterator[Callable[[str, int, int], None]]:
    """Show the progress of an evaluation; yields what it calls, ``evaluation.loading.Progress``.

    Args:
        quiet: show none.
        unit: what the work is counted in.
        digits: of units a second.
    """
    with working_bar(quiet, unit, digits) as bar:
        tasks: dict[str, Any] = {}

        def progress(name: str, total: int, done: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.advance(tasks[name], done)

        yield progress


def write_outputs(files: Mapping[str | None, Iterable[str]]) -> None:
    """Write the parts of each text to its file; None: the file is not asked for."""
    for path, parts in files.items():
        if path:
            write_atomic(Path(path), parts)


def tell_outputs(*files: str | None) -> None:
    """Print the files that were asked for and have been written."""
    for path in filter(None, files):
        click.echo(f"written: {path}")
