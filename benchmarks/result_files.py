"""What the benchmarks' command lines share: results become JSON, and JSON becomes a page."""

import json
import logging
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

README = Path(__file__).parent / "README.md"
REDIRECTED_WIDTH = 120  # characters, so that a log holds whole rows
FILE = click.Path(dir_okay=False, path_type=Path)
EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
Results = dict[str, Any]

# genft_fairseq keeps fairseq from advising to install tensorboardX, where it is imported first.
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)


class OneLineError(click.ClickException):
    """A mistake on the command line, shown as one line."""

    exit_code = 2


class NamesType(click.ParamType):
    """Names separated by commas, in the order in which they are known."""

    name = "NAME,..."

    def __init__(self, known: Iterable[str], always: str | None = None):
        self.known, self.always = list(known), always

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """Return the names that are among those known."""
        if not isinstance(value, str):
            return value
        names = value.split(",")
        for name in names:
            if name not in self.known:
                raise OneLineError(
                    f"{param.opts[0]} must be among {','.join(self.known)}, but has {name!r}"
                )
        return tuple(name for name in self.known if name in {self.always, *names})


def result_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say what becomes of the results."""
    for option in reversed(
        [
            click.option("--output", type=FILE, help="Write JSON here."),
            click.option("--json", "as_json", is_flag=True, help="Print JSON alone."),
            click.option(
                "--table",
                "tables",
                type=EXISTING,
                multiple=True,
                help="Measure nothing: render these JSON files into --readme.",
            ),
            click.option(
                "--readme",
                type=EXISTING,
                default=README,
                help="Where --table writes.  [default: benchmarks/README.md]",
            ),
        ]
    ):
        function = option(function)
    return function


def typed_command(script: str) -> str:
    """Return the command line of this run, as one types it."""
    return shlex.join(["python", f"benchmarks/{script}", *sys.argv[1:]])


def require_output_folder(output: Path | None) -> None:
    """Refuse, before anything is measured, an output in a folder that does not exist."""
    if output is not None and not output.parent.is_dir():
        raise OneLineError(f"--output must lie in a folder that exists, but is {output}")


def show(
    results: Results,
    output: Path | None,
    as_json: bool,
    print_tables: Callable[[Results, Console], None],
) -> None:
    """Write the results, and print them as tables, or as JSON alone."""
    text = json.dumps(results, indent=2) + "\n"
    if output is not None:
        output.write_text(text, encoding="utf-8")
    if as_json:
        click.echo(text, nl=False)
        return
    console = Console()
    if not console.is_terminal:
        console.width = REDIRECTED_WIDTH
    print_tables(results, console)


def write_table(
    tables: tuple[Path, ...], readme: Path, name: str, markdown: Callable[[list[Results]], str]
) -> None:
    """Render results into the part of a page that lies between the markers of this name."""
    try:
        table = markdown([json.loads(path.read_text(encoding="utf-8")) for path in tables])
    except (ValueError, KeyError, TypeError) as error:
        names = ", ".join(map(str, tables))
        raise OneLineError(f"--table {names} is not a JSON file of this script") from error
    # Imported here so that a mistake on the command line is reported at once, without torch.
    from genft_fairseq.provenance import replace_between_markers

    try:
        text = replace_between_markers(readme.read_text(encoding="utf-8"), name, table)
    except ValueError as error:
        raise OneLineError(f"{readme}: {error}") from error
    readme.write_text(text, encoding="utf-8")
