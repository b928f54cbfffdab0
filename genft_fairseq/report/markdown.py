"""A report as Markdown, with its plots as pictures beside it."""

import re
from collections.abc import Iterator, Sequence

from genft_fairseq.report.catalogue import measure
from genft_fairseq.report.cells import cell, explanation, reference_cells
from genft_fairseq.report.gather import Report
from genft_fairseq.report.page import comparison_facts, made_with, title_of
from genft_fairseq.report.plot import Plot
from genft_fairseq.report.run_state import CRASHED, STOPPED
from genft_fairseq.report.samples import SAMPLES, Part, SampleGroup, sample_groups
from genft_fairseq.report.tables import Table
from genft_fairseq.report.training import Training

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&$])")
# Of logs and texts; a terminal would obey them.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


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
