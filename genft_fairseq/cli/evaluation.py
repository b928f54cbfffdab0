"""How every measuring command runs: refuses, works, writes, prints.

``genft evaluate-lm``, ``evaluate-qa`` and ``evaluate-summaries`` say what they measure; this is
what they do alike.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
from click.core import ParameterSource

from genft_fairseq.cli.output_files import require_outputs
from genft_fairseq.cli.progress_bar import working_bar
from genft_fairseq.evaluation.records import write_whole

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
        write_whole(Path(path), texts[flag]())
    if as_json:
        for part in found.json():
            click.echo(part, nl=False)
        return
    found.show()
    for path in given.values():
        click.echo(f"written: {path}")
