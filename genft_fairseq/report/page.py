"""The files of a report: an HTML page, Markdown, a sheet of plots, JSON.

``write_report`` writes the form that a file's suffix says.  The HTML page needs no other file and
no network; Markdown has its plots as pictures beside it.
"""

import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from genft_fairseq.errors import UserError
from genft_fairseq.files import write_atomic
from genft_fairseq.provenance import versions
from genft_fairseq.report.gather import Report
from genft_fairseq.report.plots import Plot, plots, sheet, styles_of
from genft_fairseq.report.run_folders import CRASHED, STOPPED
from genft_fairseq.report.samples import SAMPLES, Part, SampleGroup, sample_groups
from genft_fairseq.report.tables import Row, Table, cell, explanation, measure, reference_cells
from genft_fairseq.report.training import Training

MADE_BY = "genft report"

# The forms of a report, and what an earlier one is known by.
SUFFIXES = {
    ".html": '<meta name="generator" content="genft report">',
    ".md": "Made by `genft report` at",
    ".png": MADE_BY,
    ".json": f'"made_by": "{MADE_BY}"',
}
REFRESH_SECONDS = 30
_MOST_NAMES = 4

# Nothing is fetched, even if a run's name or text had found a way to ask for it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&$])")

# Of logs and texts; a terminal would obey them.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def write_report(
    report: Report, path: Path, *, samples: int = SAMPLES, refresh: int = REFRESH_SECONDS
) -> None:
    """Write a report in the form that the path's suffix says, atomically.

    Args:
        report: what to show.
        path: of ``SUFFIXES``; the pictures of ``NAME.md`` go into ``NAME-plots``.
        samples: how many texts of each test set.
        refresh: see ``html_page``.
    """
    if path.suffix == ".html":
        write_atomic(path, html_page(report, samples=samples, refresh=refresh))
    elif path.suffix == ".json":
        write_atomic(path, json_text(report))
    elif path.suffix == ".png":
        write_atomic(path, sheet(_by_updates(report)))
    else:
        folder = _pictures(path)
        pictures = [(f"{folder.name}/{plot.name}.png", plot) for plot in _by_updates(report)]
        for link, plot in pictures:
            write_atomic(path.parent / link, plot.png())
        write_atomic(path, markdown_page(report, pictures, samples))


def require_free(path: Path) -> None:
    """Refuse to write where something else lies than an earlier report.

    Raises:
        UserError: what lies there is not a report, or the folder of pictures is not a folder.
    """
    if path.is_file() and SUFFIXES[path.suffix].encode() not in path.read_bytes():
        raise UserError(f"--output {path} exists and is not a report: choose another name")
    folder = _pictures(path)
    if path.suffix == ".md" and folder.exists() and not folder.is_dir():
        raise UserError(f"--output {path} needs {folder} for its pictures, which is not a folder")


def _pictures(path: Path) -> Path:
    return path.with_name(f"{path.stem}-plots")


def _by_updates(report: Report) -> list[Plot]:
    """All plots, each curve once."""
    return [plot for plot in plots(report) if plot.by != "seconds"]


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
    """Return the versions of what computed the metrics of a report."""
    return ", ".join(f"{name} {version}" for name, version in versions().items())


def _curves(drawn: Sequence[Plot]) -> dict[str, list[Plot]]:
    """Learning curves by title: against updates, and against time."""
    found: dict[str, list[Plot]] = {}
    for plot in drawn:
        if plot.by:
            found.setdefault(plot.title, []).append(plot)
    return found


def markdown_page(
    report: Report, pictures: Sequence[tuple[str, Plot]], samples: int = SAMPLES
) -> str:
    """Return a report as Markdown.

    Args:
        report: what to show.
        pictures: plots, each with the path of its picture as the page is to link it.
        samples: how many texts of each test set.
    """
    lines = [f"# {escaped(title_of(report))}", ""]
    lines += [f"Made by `genft report` at {report.made:%Y-%m-%d %H:%M:%S %Z}.", ""]
    for note in report.notes:
        lines += [escaped(note), ""]
    for training in report.trainings:
        if training.state in (CRASHED, STOPPED):
            lines += _trouble(training)
    for table in report.tables:
        lines += _table(table)
    if pictures:
        lines += ["## Plots", ""]
        for path, plot in pictures:
            lines += [
                f"![{escaped(plot.description)}](<{path}>)",
                "",
                f"*{escaped(plot.title)}*",
                "",
            ]
    for group in sample_groups(report.decoded, samples):
        lines += _samples(group)
    lines += ["## Runs", ""]
    for training in report.trainings:
        lines += _run(training)
    for source, results in report.comparisons.items():
        lines += [f"### {escaped(source)}", ""]
        for name, text in comparison_facts(results).items():
            lines += [f"{escaped(name)}:", "", *_fenced(text), ""]
    lines += [f"Figures computed with {made_with()}."]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return text of one line that Markdown takes as it is."""
    return _SPECIAL.sub(r"\\\1", _CONTROL.sub("\ufffd", " ".join(text.split())))


def _fenced(text: str, language: str = "text") -> list[str]:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", _CONTROL.sub("\ufffd", text), fence]


def _called(training: Training) -> str:
    seed = "" if training.found.seed is None else f", seed {training.found.seed}"
    return escaped(f"{training.found.name}{seed}")


def _trouble(training: Training) -> Iterator[str]:
    yield from (f"**{_called(training)}: {training.state}.** The end of its log:", "")
    yield from (*_fenced("\n".join(training.last_lines) or "(no log)"), "")


def _table(table: Table) -> Iterator[str]:
    columns = table.columns
    yield from (f"## {escaped(table.title)}", "")
    heads = ["system", *(measure(column).title for column in columns)]
    yield f"| {' | '.join(map(escaped, heads))} |"
    yield f"| --- |{' ---: |' * len(columns)}"
    for row in table.rows:
        cells = [cell(table, row, column) for column in columns]
        texts = [f"**{c.plain}**" if c.is_best else c.plain for c in cells]
        note = f" ({escaped('; '.join(row.notes))})" if row.notes else ""
        yield f"| {' | '.join([escaped(row.name) + note, *texts])} |"
    references = reference_cells(table)
    if references:
        yield f"| *references* | {' | '.join(references)} |"
    yield ""
    for line in (*explanation(table), *table.notes):
        yield from (escaped(line), "")


def _samples(group: SampleGroup) -> Iterator[str]:
    yield from (f"## Samples, {escaped(group.title)}", "")
    errors = "; **words that the reference does not have there**" if group.marks_errors else ""
    yield from (f"⟦Words of a {group.ngram}-gram that occurred before⟧{errors}.", "")
    for sample in group.samples:
        yield from (f"{sample.number}.", "")
        if sample.source:
            yield f"- source: {escaped(sample.source)}"
        yield f"- reference: {_marked(sample.reference)}"
        yield from (f"- {escaped(name)}: {_marked(p)}" for name, p in sample.written.items())
        yield ""


def _marked(parts: Sequence[Part]) -> str:
    return "".join(_marked_part(part) for part in parts)


def _marked_part(part: Part) -> str:
    inner = part.text.strip()
    before, after = part.text.partition(inner)[::2] if inner else (part.text, "")
    text = escaped(inner)
    text = f"**{text}**" if part.error and text else text
    text = f"⟦{text}⟧" if part.repeated and text else text
    return f"{' ' if before else ''}{text}{' ' if after else ''}"


def _run(training: Training) -> Iterator[str]:
    yield from (f"### {_called(training)}: {training.state}", "")
    yield f"- place: {escaped(str(training.found.place))}"
    if training.data:
        known = f"SHA-256 {training.data.sha256}" if training.data.sha256 else "no longer there"
        yield f"- data: {escaped(training.data.path)}, {known}"
    if training.versions:
        yield f"- versions: {escaped(training.versions)}"
    yield ""
    if training.command:
        yield from (*_fenced(training.command), "")


def json_text(report: Report) -> str:
    """Return the metrics of a report as JSON."""
    metrics = _finite(report_metrics(report))
    return json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False, default=str) + "\n"


def _finite(found: Any) -> Any:
    """JSON has no nan and no infinity: they become null."""
    if isinstance(found, float):
        return found if math.isfinite(found) else None
    if isinstance(found, dict):
        return {key: _finite(value) for key, value in found.items()}
    return [_finite(value) for value in found] if isinstance(found, list) else found


def report_metrics(report: Report) -> dict[str, Any]:
    """Return the metrics of a report: runs with their curves, tables, and how they were made."""
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
                "rows": [_table_row(row) for row in table.rows],
                "references": table.references,
                "notes": table.notes,
            }
            for table in report.tables
        ],
        "runs": list(_runs(report)),
    }


def _table_row(row: Row) -> dict[str, Any]:
    """Return a row under the keys that its readers know."""
    found = asdict(row)
    return {"name": found.pop("name"), "figures": found.pop("metrics"), **found}


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
