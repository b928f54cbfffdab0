"""A report's files: the page, Markdown with its pictures, a sheet of plots, the figures as JSON."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.records import write_whole
from genft_fairseq.report.gather import Report
from genft_fairseq.report.markdown import markdown_page
from genft_fairseq.report.page import REFRESH_SECONDS, html_page, made_with
from genft_fairseq.report.plot import Plot, sheet
from genft_fairseq.report.plots import plots
from genft_fairseq.report.samples import SAMPLES

MADE_BY = "genft report"
# The forms of a report, and what an earlier one is known by.
SUFFIXES = {
    ".html": '<meta name="generator" content="genft report">',
    ".md": "Made by `genft report` at",
    ".png": MADE_BY,
    ".json": f'"made_by": "{MADE_BY}"',
}


def write_report(
    report: Report, path: Path, *, samples: int = SAMPLES, refresh: int = REFRESH_SECONDS
) -> None:
    """Write a report in the form that the path's suffix says; nobody finds it half-written.

    Args:
        report: what to show.
        path: of ``SUFFIXES``; the pictures of ``NAME.md`` go into ``NAME-plots``.
        samples: how many texts of each test set.
        refresh: see ``html_page``.
    """
    if path.suffix == ".html":
        write_whole(path, html_page(report, samples=samples, refresh=refresh))
    elif path.suffix == ".json":
        write_whole(path, json_text(report))
    elif path.suffix == ".png":
        write_whole(path, sheet(_by_updates(report)))
    else:
        folder = _pictures(path)
        pictures = [(f"{folder.name}/{plot.name}.png", plot) for plot in _by_updates(report)]
        for link, plot in pictures:
            write_whole(path.parent / link, plot.png())
        write_whole(path, markdown_page(report, pictures, samples))


def require_free(path: Path) -> None:
    """Refuse to write where something else lies than an earlier report.

    Raises:
        UserError: what lies there is no report; or the folder of pictures is none.
    """
    if path.is_file() and SUFFIXES[path.suffix].encode() not in path.read_bytes():
        raise UserError(f"--output {path} exists and is no report: choose another name")
    folder = _pictures(path)
    if path.suffix == ".md" and folder.exists() and not folder.is_dir():
        raise UserError(f"--output {path} needs {folder} for its pictures, which is no folder")


def _pictures(path: Path) -> Path:
    return path.with_name(f"{path.stem}-plots")


def _by_updates(report: Report) -> list[Plot]:
    """All plots, each curve once."""
    return [plot for plot in plots(report) if plot.by != "seconds"]


def json_text(report: Report) -> str:
    """Return the figures of a report as JSON."""
    figures = _finite(report_figures(report))
    return json.dumps(figures, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def _finite(found: Any) -> Any:
    """JSON has no nan and no infinity: they become null."""
    if isinstance(found, float):
        return found if math.isfinite(found) else None
    if isinstance(found, dict):
        return {key: _finite(value) for key, value in found.items()}
    return [_finite(value) for value in found] if isinstance(found, list) else found


def report_figures(report: Report) -> dict[str, Any]:
    """Return the figures of a report: runs with their curves, tables, and how they were made."""
    return {
        "made_by": MADE_BY,
        "made": report.made.isoformat(),
        "made_with": made_with(),
        "running": report.is_running,
        "notes": report.notes,
        "tables": [
            {
                "title": table.title,
                "compared_with": table.baseline or None,
                "rows": [asdict(row) for row in table.rows],
                "references": table.references,
                "notes": table.notes,
            }
            for table in report.tables
        ],
        "runs": list(_runs(report)),
    }


def _runs(report: Report) -> Iterable[dict[str, Any]]:
    for training in report.trainings:
        yield {
            "name": training.found.name,
            "seed": training.found.seed,
            "place": str(training.found.place),
            "state": training.state,
            "last_lines": training.last_lines,
            "command": training.command,
            "data": asdict(training.data) if training.data else None,
            "versions": training.versions,
            "cost": training.cost,
            "training": training.log.training,
            "validation": training.log.validation,
        }
