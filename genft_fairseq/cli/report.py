"""``genft report``: runs and comparisons on one page."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genft_fairseq.cli.exit_status import require_extra
from genft_fairseq.cli.measuring import json_option, require_outputs
from genft_fairseq.cli.progress_bar import working_bar
from genft_fairseq.errors import UserError

if TYPE_CHECKING:
    from genft_fairseq.report.gather import Report, Step

DEFAULT = "report.html"
NEEDED = {"jinja2": "Jinja2", "matplotlib": "matplotlib"}


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(path_type=Path),
    help="FILE.html, FILE.md (plots in FILE-plots/), FILE.png (the plots alone) or FILE.json; as "
    f"often as wanted. Default: {DEFAULT}.",
)
@click.option("--baseline", metavar="NAME", help="System that p-values are against.")
@click.option("--different-data", is_flag=True, help="Report runs on different data, apart.")
@click.option(
    "--samples",
    type=click.IntRange(min=0),
    default=12,
    show_default=True,
    help="Texts of each test set to show.",
)
@click.option("--watch", is_flag=True, help="Write again and again, as long as a run is going.")
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="Seconds between two writings, and after which the page reads itself again.",
)
@json_option
def report(
    runs: tuple[str, ...],
    outputs: tuple[Path, ...],
    baseline: str | None,
    different_data: bool,
    samples: int,
    watch: bool,
    every: int,
    as_json: bool,
) -> None:
    """Write a page about runs of training: scores, curves, cost, samples, commands.

    \b
    genft report checkpoints/standard-finetuned checkpoints/scalegrad
    genft report runs/my_comparison --output report.html --output report.md

    RUN is a folder of genft train, finetune or compare, or of fairseq-train with its log; a folder
    that holds several (seed-1/NAME, seed-2/NAME are one system under two seeds); a log; or a JSON
    file of genft compare or genft evaluate-*. NAME=RUN calls it NAME. What fairseq-generate and
    genft evaluate-* wrote into a run's folder is part of the report.

    The page needs no network and no other file. A run that crashed is shown with the end of its
    log; one that is going is shown as far as it is, and --watch keeps the page up to date.
    """
    require_extra("genft report", NEEDED, "report")
    files = list(outputs) or ([] if as_json else [Path(DEFAULT)])
    _require_files(files, runs)
    for library in ("sacrebleu", "matplotlib"):  # they tell every step
        logging.getLogger(library).setLevel(logging.WARNING)
    from genft_fairseq.report.page import json_text, write_report

    while True:
        found = _gather(runs, baseline, different_data, as_json)
        for path in files:
            write_report(found, path, samples=samples, refresh=every)
        if not (watch and found.is_running):
            break
        time.sleep(every)
    if as_json:
        click.echo(json_text(found), nl=False)
        return
    _tell(found, files)


def _require_files(files: Sequence[Path], runs: Sequence[str]) -> None:
    from genft_fairseq.report.page import SUFFIXES, require_free
    from genft_fairseq.report.run_folders import split_name

    named = {split_name(run)[0].resolve() for run in runs}

    for path in files:
        if path.suffix not in SUFFIXES:
            raise UserError(f"--output {path} must end in one of {', '.join(SUFFIXES)}")
        if path.resolve() in named:
            raise UserError(f"--output {path} would overwrite {path}, which is to be reported")
    if len({path.resolve() for path in files}) < len(files):
        raise UserError("--output names the same file twice")
    for path in files:
        require_free(path)
        require_outputs({"--output": str(path)})


def _gather(
    runs: Sequence[str], baseline: str | None, different_data: bool, as_json: bool
) -> "Report":
    from genft_fairseq.report.gather import gather

    with working_bar(as_json, "runs", 1) as bar:

        def begin(name: str, total: int) -> "Step":
            task = bar.add_task(name, total=total)
            return lambda done: bar.advance(task, done)

        return gather(runs, baseline=baseline, different_data=different_data, begin=begin)


def _tell(found: "Report", files: Sequence[Path]) -> None:
    """Say what there was to report, and what a reader should know at once."""
    states = [training.state for training in found.trainings]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    if states:
        click.echo(f"runs: {counts}")
    for path in files:
        click.echo(f"written: {path}")
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    if found.is_running:
        click.echo("a run is still going: --watch keeps the report up to date", err=True)
