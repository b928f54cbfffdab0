"""``genft compare``: the strategies of a YAML file, from one baseline, over seeds."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genft_fairseq.cli.exit_status import require_extra
from genft_fairseq.cli.measuring import dump, json_option, tell
from genft_fairseq.errors import UserError
from genft_fairseq.files import require_writable, write_atomic
from genft_fairseq.provenance import record_results, replace_between_markers

if TYPE_CHECKING:
    from genft_fairseq.experiments.configuration import Comparison
    from genft_fairseq.experiments.job import Job

MARKERS = "comparison"


@click.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Print every command, and write nothing.")
@json_option
@click.option(
    "--page",
    type=click.Path(path_type=Path),
    help="Also write the tables between the markers of this Markdown page, and the results and "
    "curves beside it.",
)
def compare(config: Path, dry_run: bool, as_json: bool, page: Path | None) -> None:
    """Fine-tune every strategy that CONFIG lists, over its seeds, and compare them.

    Each run is a fairseq-train command with a folder of its own.  The same call continues where
    an earlier one stopped, and tries again what failed; a seed or a strategy that is added to
    CONFIG is added to the results.  Ends with status 1 when a run failed; the others are compared.

    \b
    The folder `output` of CONFIG then holds
      results.json  results.md  curves.svg  curves.png
      seed-1001/STRATEGY/{command,train.log,finished,checkpoint_*.pt,generate-test.txt}
    """
    # Imported here: they bring in fairseq, which --help does not need.
    from genft_fairseq.experiments import comparison as study
    from genft_fairseq.experiments.configuration import read_comparison
    from genft_fairseq.experiments.progress import LineView, LiveView, QuietView

    for library in ("sacrebleu", "matplotlib"):  # they tell every step
        logging.getLogger(library).setLevel(logging.WARNING)
    comparison = read_comparison(config)
    jobs = study.plan(comparison)
    if page is not None:
        _require_markers(page)
    study.check(comparison, jobs)
    if dry_run:
        _print_commands(jobs, as_json)
        return
    require_extra("genft compare", {"matplotlib": "matplotlib"}, "report")
    _require_writable(page)
    view = QuietView if as_json else LiveView if sys.stderr.isatty() else LineView
    try:
        with study.claimed(comparison):
            with view(jobs, comparison.processes, sys.stderr) as shown:
                study.run_jobs(jobs, comparison, shown)
            _record(comparison, jobs, page, as_json)
    except study.Interrupted as interrupted:
        click.echo(f"genft compare: {interrupted}; the same command continues", err=True)
        sys.exit(128 + interrupted.number)
    sys.exit(1 if any(job.state == "failed" for job in jobs) else 0)


def _require_markers(page: Path) -> None:
    try:
        replace_between_markers(page.read_text(encoding="utf-8"), MARKERS, "")
    except OSError as error:
        raise UserError(f"--page {page} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"--page {page}: {error}") from error


def _require_writable(page: Path | None) -> None:
    """Find out before the training, not after it, that the files of a page cannot be written."""
    if page is not None:
        for path in (page, page.with_name("results.json"), page.with_name("curves.svg")):
            require_writable("--page", path)


def _print_commands(jobs: list["Job"], as_json: bool) -> None:
    from genft_fairseq.experiments.job import printable

    planned = [{"title": job.title, "command": job.planned_words()} for job in jobs]
    lines = (f"# {job.title}\n{printable(job.planned_words())}" for job in jobs)
    tell(as_json, planned, *lines)


def _record(comparison: "Comparison", jobs: list["Job"], page: Path | None, as_json: bool) -> None:
    """Write the results and the curves, and print them."""
    from genft_fairseq.experiments.results import comparison_results
    from genft_fairseq.experiments.table import comparison_table, write_curves
    from genft_fairseq.experiments.training_run import TrainingRun

    results = comparison_results(comparison, jobs)
    table = comparison_table(results)
    text = dump(results)
    output = comparison.output
    write_atomic(output / "results.json", text)
    write_atomic(output / "results.md", table + "\n")
    runs: dict[str, list[Path]] = {}
    for job in jobs:
        if isinstance(job, TrainingRun) and job.state == "finished":
            runs.setdefault(job.row, []).append(job.folder)
    write_curves(runs, output / "curves.svg", output / "curves.png")
    if page is not None:
        record_results(results, page.parent / "results.json", page, MARKERS, table)
        write_curves(runs, page.parent / "curves.svg")
    click.echo(text if as_json else table, nl=not as_json)
