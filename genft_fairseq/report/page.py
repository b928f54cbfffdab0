"""A report as one HTML page, which needs nothing but itself."""

import os
from collections.abc import Sequence
from typing import Any

from genft_fairseq.evaluation.records import versions
from genft_fairseq.report.catalogue import measure
from genft_fairseq.report.cells import cell, explanation, reference_cells
from genft_fairseq.report.gather import Report
from genft_fairseq.report.plot import Plot
from genft_fairseq.report.plots import plots, styles_of
from genft_fairseq.report.samples import SAMPLES, sample_groups

REFRESH_SECONDS = 30
_MOST_NAMES = 4
# Nothing is fetched, even if a run's name or text had found a way to ask for it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def html_page(report: Report, *, samples: int = SAMPLES, refresh: int = REFRESH_SECONDS) -> str:
    """Return a report as HTML.

    Args:
        report: what to show.
        samples: how many texts of each test set.
        refresh: seconds after which a browser reads the page again while a run is going.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("genft_fairseq.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals |= {
        "cell": cell,
        "explanation": explanation,
        "measure": measure,
        "reference_cells": reference_cells,
    }
    drawn = plots(report)
    return environment.get_template("report.html").render(
        report=report,
        title=title_of(report),
        curves=_curves(drawn),
        bars=[plot for plot in drawn if not plot.by and "repetition" not in plot.key],
        repetitions=[plot for plot in drawn if "repetition" in plot.key],
        groups=sample_groups(report.decoded, samples),
        colours={name: style["color"] for name, style in styles_of(report).items()},
        facts={name: comparison_facts(found) for name, found in report.comparisons.items()},
        refresh=refresh if report.is_running else None,
        policy=POLICY,
        versions=made_with(),
    )


def title_of(report: Report) -> str:
    """Return what the report is of: its arguments, or where all of them lie."""
    if len(report.names) <= _MOST_NAMES:
        return ", ".join(report.names)
    try:
        place = os.path.commonpath(report.names)
    except ValueError:  # some from the root, some from here
        place = ""
    return f"{place} ({len(report.names)} runs)".strip()


def comparison_facts(results: dict[str, Any]) -> dict[str, str]:
    """Return where a comparison was measured, and its commands, as far as its file says it."""
    facts = {}
    for name in ("hardware", "versions"):
        found = results.get(name)
        if isinstance(found, dict):
            facts[name] = ", ".join(f"{key} {value}" for key, value in found.items())
    commands = results.get("commands")
    if isinstance(commands, dict):
        facts |= {str(title): str(command) for title, command in commands.items()}
    return facts


def made_with() -> str:
    """Return the versions of what computed the figures of a report."""
    return ", ".join(f"{name} {version}" for name, version in versions().items())


def _curves(drawn: Sequence[Plot]) -> dict[str, list[Plot]]:
    """Learning curves by title: against updates, and against time."""
    found: dict[str, list[Plot]] = {}
    for plot in drawn:
        if plot.by:
            found.setdefault(plot.title, []).append(plot)
    return found
