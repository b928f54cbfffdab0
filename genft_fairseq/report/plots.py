"""The plots of a report: learning curves, cost, repetition.

``plots`` returns all of them; each is drawn by matplotlib, as part of a page (SVG) or as a picture
(PNG), and ``sheet`` puts them on one picture.
"""

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genft_fairseq.experiments.training_log import token_loss
from genft_fairseq.report.gather import Report, by_name
from genft_fairseq.report.tables import Row, Table, measure
from genft_fairseq.report.training import Training

# Stand-ins in a drawing for what the page around it decides.
INK, GRID = "#101112", "#909192"

# Distinct for the colour-blind as well, and readable on white and on black.
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b08a00", "#56a4d9"),
    *("#8a63d2", "#7f7f7f", "#a65628", "#4daf4a"),
)

# For a second and a third round of the colours.
_LINES = ("-", "--", ":")
_SIZE = (6.4, 3.6)
_MADE_BY = {"Software": "genft report"}

# Letters of a name in a legend, and of a line of it.
_LONGEST, _LEGEND = 40, 88

# A system may be called by any letters; $ and _ are not formulas.
_LETTERS: Any = {"text.parse_math": False}

# A plot has so many pixels; what is logged more often is averaged.
_MOST_POINTS = 400
Values = dict[int, float]
Style = dict[str, str]
Value = Callable[[dict[str, float]], float | None]


@dataclass(frozen=True)
class Plot:
    """A plot: what it shows, in words, and how to draw it.

    Attributes:
        key: a name for files and anchors.
        title: above it.
        by: what its horizontal axis is: ``updates`` or ``seconds``; nothing for other axes.
        description: what a reader who cannot see it is told.
        draw: draws onto matplotlib's axes.
    """

    key: str
    title: str
    by: str
    description: str
    draw: Callable[[Any], None]

    @property
    def name(self) -> str:
        """What no other plot of the report is called."""
        return f"{self.key}-{self.by}" if self.by else self.key

    def figure(self) -> Any:
        """Return it as a figure of matplotlib."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=_SIZE, layout="constrained")
        axis = figure.subplots()
        self.draw(axis)
        _finish(figure, axis)
        return figure

    def svg(self) -> str:
        """Return it as an ``<svg>`` element in the colours and letters of the page around it."""
        import matplotlib

        stream = io.StringIO()
        # Text stays text, which can be found and copied; names of parts are the plot's own.
        settings: Any = {**_LETTERS, "svg.fonttype": "none", "svg.hashsalt": self.name}
        with matplotlib.rc_context(settings):
            self.figure().savefig(stream, format="svg", transparent=True, metadata={"Date": None})
        return _inline(stream.getvalue(), self.name, self.description)

    def png(self, dpi: int = 150) -> bytes:
        """Return it as a picture on white."""
        import matplotlib

        stream = io.BytesIO()
        with matplotlib.rc_context(_LETTERS):
            self.figure().savefig(stream, format="png", dpi=dpi, metadata=_MADE_BY)
        return stream.getvalue()


def sheet(drawn: Sequence[Plot], dpi: int = 150) -> bytes:
    """Return several plots on one picture, two beside each other."""
    import matplotlib
    from matplotlib.figure import Figure

    rows = max(1, (len(drawn) + 1) // 2)
    stream = io.BytesIO()
    with matplotlib.rc_context(_LETTERS):
        figure = Figure(figsize=(2 * _SIZE[0], rows * 1.15 * _SIZE[1]), layout="constrained")
        axes = figure.subplots(rows, 2, squeeze=False).flatten()
        for axis, plot in zip(axes, drawn, strict=False):
            plot.draw(axis)
            axis.set_title(plot.title, fontsize="medium")
            _frame(axis)
            if axis.get_legend_handles_labels()[0]:
                axis.legend(frameon=False, fontsize="x-small", labelcolor=INK)
        for axis in axes[len(drawn) :]:
            axis.set_visible(False)
        figure.savefig(stream, format="png", dpi=dpi, metadata=_MADE_BY)
    return stream.getvalue()


def _finish(figure: Any, axis: Any) -> None:
    """Give every plot the same frame, and a legend below."""
    _frame(axis)
    handles, labels = axis.get_legend_handles_labels()
    if not handles:
        return
    shown = [label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…" for label in labels]
    columns = max(1, min(4, _LEGEND // (max(map(len, shown)) + 8)))
    # The plot keeps its size, however many systems there are.
    figure.set_figheight(_SIZE[1] + 0.17 * max(0, math.ceil(len(shown) / columns) - 2))
    figure.legend(
        *(handles, shown), loc="outside lower center", frameon=False, labelcolor=INK,
        ncols=columns, fontsize="small",
    )  # fmt: skip


def _frame(axis: Any) -> None:
    axis.grid(alpha=0.35, color=GRID, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(GRID)
    axis.tick_params(colors=INK, which="both")
    for text in (axis.xaxis.label, axis.yaxis.label, axis.title):
        text.set_color(INK)


def _inline(svg: str, prefix: str, description: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{prefix}-", svg)
    svg = svg.replace(INK, "currentColor").replace(GRID, "var(--grid)")
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    # The drawing keeps its shape in whatever width the page gives it.
    svg = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", svg, count=1)
    svg = re.sub(r'(<svg [^>]*?)width="[^"]*"', r"\1", svg, count=1)
    label = description.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def plots(report: Report) -> list[Plot]:
    """Return the plots that the runs of a report have something to show in."""
    styles = styles_of(report)
    return [*_curves(report, styles), *_costs(report, styles), *_repetitions(report, styles)]


def styles_of(report: Report) -> dict[str, Style]:
    """Return ``color`` and ``linestyle`` of each system, the same in every plot."""
    names = [*report.rows, *(row.name for table in report.tables for row in table.rows)]
    found = {}
    for number, name in enumerate(dict.fromkeys(names)):
        again, colour = divmod(number, len(COLOURS))
        found[name] = {"color": COLOURS[colour], "linestyle": _LINES[again % len(_LINES)]}
    return found


def _curves(report: Report, styles: dict[str, Style]) -> Iterator[Plot]:
    for data, trainings in report.data.items():
        on = f", {data}" if len(report.data) > 1 else ""
        for title, part, unit, value in _wanted(trainings):
            runs = by_name(trainings)
            lines = {name: _series(of_name, part, value) for name, of_name in runs.items()}
            if any(len(points) > 1 for series in lines.values() for points, _ in series):
                for by in ("updates", "seconds"):
                    yield _curve_plot(title + on, unit, by, lines, styles)


def _wanted(trainings: Sequence[Training]) -> Iterator[tuple[str, str, str, Value]]:
    """Title, part of the log, unit and figure of each curve."""
    yield "validation loss", "validation", "bits per token", token_loss
    yield "training loss", "training", "bits per token", token_loss
    yield "validation perplexity", "validation", "perplexity", _perplexity
    yield "validation BLEU", "validation", "BLEU", _named("bleu")
    for name in sorted({name for training in trainings for name in training.method_metrics()}):
        in_training = any(
            name in line for t in trainings for line in t.metrics("training").values()
        )
        part, title = "training" if in_training else "validation", measure(name).title
        yield f"{part}: {title}", part, title, _named(name)


def _named(name: str) -> Value:
    return lambda line: line.get(name)


def _perplexity(line: dict[str, float]) -> float | None:
    loss = token_loss(line)
    return None if loss is None or not loss < 100 else 2**loss


def _series(runs: Sequence[Training], part: str, value: Value) -> list[tuple[Values, Training]]:
    """Of each seed the figure by update; where nothing is logged, nothing."""
    found = []
    for run in runs:
        points = {update: value(line) for update, line in run.metrics(part).items()}
        known = {u: v for u, v in points.items() if v is not None and np.isfinite(v)}
        if known:
            found.append((known, run))
    return found


def _curve_plot(
    title: str,
    unit: str,
    by: str,
    lines: dict[str, list[tuple[Values, Training]]],
    styles: dict[str, Style],
) -> Plot:
    def draw(axis: Any) -> None:
        for name, series in lines.items():
            if series:
                _draw_line(axis, name, series, by, styles[name])
        axis.set_xlabel("updates" if by == "updates" else "seconds of training")
        axis.set_ylabel(unit)

    shown = ", ".join(name for name, series in lines.items() if series)
    description = f"{title} against {by}, a line for each of {shown}"
    return Plot(re.sub(r"[^a-z0-9]+", "-", title.lower()), title, by, description, draw)


def _draw_line(
    axis: Any, name: str, series: list[tuple[Values, Training]], by: str, style: Style
) -> None:
    positions, mean, deviation = (_thinned(array) for array in _over_seeds(series, by))
    axis.plot(
        *(positions, mean), label=_label(name), linewidth=1.5, **style,
        marker="o" if len(mean) < 20 else None, markersize=3,
    )  # fmt: skip
    if len(series) > 1:
        band = (mean - deviation, mean + deviation)
        axis.fill_between(positions, *band, color=style["color"], alpha=0.15, linewidth=0)


def _over_seeds(
    series: list[tuple[Values, Training]], by: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, mean and standard deviation over the seeds that have come as far as each update.

    What a method logs now and then, each seed at other updates, is taken along straight lines.
    """
    updates = np.array(sorted(set().union(*(points for points, _ in series))), dtype=float)
    values = np.full((len(series), len(updates)), np.nan)
    seconds = np.full_like(values, np.nan)
    for row, (points, run) in enumerate(series):
        known = sorted(points)
        within = (updates >= known[0]) & (updates <= known[-1])
        values[row, within] = np.interp(updates[within], known, [points[u] for u in known])
        if by == "seconds":
            seconds[row, within] = run.seconds_at()(updates[within])
    if by == "seconds":  # seeds of other speeds have come elsewhere: only as far as all have come
        together = ~np.isnan(values).any(axis=0)
        updates, values, seconds = updates[together], values[:, together], seconds[:, together]
    count = (~np.isnan(values)).sum(axis=0)
    mean = np.nanmean(values, axis=0)
    squares = np.nansum((values - mean) ** 2, axis=0)
    deviation = np.sqrt(squares / np.maximum(count - 1, 1))
    return np.nanmean(seconds, axis=0) if by == "seconds" else updates, mean, deviation


def _label(name: str) -> str:
    """A name in the legend, where matplotlib leaves out what begins with an underscore."""
    return f"\u200b{name}" if name.startswith("_") else name


def _thinned(array: np.ndarray) -> np.ndarray:
    if len(array) <= _MOST_POINTS:
        return array
    return np.array([part.mean() for part in np.array_split(array, _MOST_POINTS)])


def _costs(report: Report, styles: dict[str, Style]) -> Iterator[Plot]:
    for number, table in enumerate(table for table in report.tables if table.is_cost):
        for name in ("seconds_per_update", "peak_memory_mib"):
            rows = [row for row in table.rows if row.mean(name) is not None]
            if rows:
                yield _bar_plot(name, number, rows, styles)


def _bar_plot(name: str, number: int, rows: Sequence[Row], styles: dict[str, Style]) -> Plot:
    title = {"seconds_per_update": "time of an update", "peak_memory_mib": "peak memory"}[name]
    unit = {"seconds_per_update": "seconds", "peak_memory_mib": "MiB"}[name]

    def draw(axis: Any) -> None:
        names = [row.name for row in rows][::-1]
        means = [row.mean(name) or 0.0 for row in rows][::-1]
        widths = [row.metrics[name].get("half_width") or 0.0 for row in rows][::-1]
        bars = axis.barh(
            *(names, means), xerr=widths if any(widths) else None, height=0.65,
            color=[styles[n]["color"] for n in names], ecolor=INK,
        )  # fmt: skip
        shown = [measure(name).shown(mean) for mean in means]
        axis.bar_label(bars, shown, padding=4, color=INK, fontsize="small")
        axis.margins(x=0.15)
        axis.set_xlabel(unit)

    described = ", ".join(f"{row.name} {measure(name).shown(row.mean(name))}" for row in rows)
    key = f"{name.replace('_', '-')}-{number + 1}"
    return Plot(key, title, "", f"{title} in {unit}: {described}", draw)


def _repetitions(report: Report, styles: dict[str, Style]) -> Iterator[Plot]:
    tables = [table for table in report.tables if len(table.repetitions) > 1]
    for number, table in enumerate(tables):
        yield _repetition_plot(number, table, styles)


def _repetition_plot(number: int, table: Table, styles: dict[str, Style]) -> Plot:
    def draw(axis: Any) -> None:
        for row in table.rows:
            known = [(n, row.mean(n)) for n in table.repetitions if row.mean(n) is not None]
            if known:
                ns, values = zip(*((int(n[-1]), 100 * (v or 0.0)) for n, v in known), strict=True)
                axis.plot(ns, values, label=_label(row.name), marker="o", **styles[row.name])
        known_n = [n for n in table.repetitions if n in table.references]
        if known_n:
            human = [100 * table.references[n] for n in known_n]
            axis.plot(
                *([int(n[-1]) for n in known_n], human), label="references", color=INK,
                linestyle="--", marker="o",
            )  # fmt: skip
        axis.set_xticks([int(n[-1]) for n in table.repetitions])
        axis.set_xlabel("n")
        axis.set_ylabel("repeated n-grams, %")

    title = f"repetition by n, {table.title}"
    described = "; ".join(
        f"{row.name} " + ", ".join(measure(n).shown(row.mean(n)) for n in table.repetitions)
        for row in table.rows
    )
    return Plot(f"repetition-{number + 1}", title, "", f"{title}: {described}", draw)
