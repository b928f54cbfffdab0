"""Charts of results: what they show, as plain data, and how that is drawn.

The data is kept apart from its drawing so that a file can be asked whether it shows some results,
whatever version of matplotlib drew it.
"""

import hashlib
import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

# Okabe and Ito's colours, which differ for colour-blind readers as well.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999")
DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)), (0, (8, 3)))
BAR_HEIGHT = 0.8  # of a row, shared by its bars
INCHES_A_BAR, INCHES_AROUND = 0.17, 1.7
LEAST_RANGE = (0.8, 1.25)  # of ratios, or a hundredth more would look like much
LEAST_FACTOR = 2  # from the middle of a vertical axis to its ends, for the same reason
LONG = 36  # characters of a label, of which three do not fit side by side


@dataclass(frozen=True)
class Figure:
    """A figure with its spread."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bars:
    """Ratios, drawn from 1 to either side, a row for each name and in it a bar for each series.

    Attributes:
        title: what is measured, and which side is better.
        values: for each series, for each row; None where there is none.
    """

    title: str
    values: Sequence[Sequence[Figure | None]]


@dataclass(frozen=True)
class Lines:
    """Figures by size, both on logarithmic axes, a line for each series.

    Attributes:
        sizes: what the horizontal axis has.
        values: for each series, for each size; None where there is none.
    """

    title: str
    x_label: str
    y_label: str
    sizes: Sequence[int]
    values: Sequence[Sequence[Figure | None]]


@dataclass(frozen=True)
class Plot:
    """Panels with common series.

    Attributes:
        title: what they show.
        series: labels.
        rows: labels of the rows of bars; none for lines.
        panels: rows of panels.
        caption: where the figures come from.
    """

    title: str
    series: Sequence[str]
    rows: Sequence[str]
    panels: Sequence[Sequence[Bars | Lines]]
    caption: str

    def fingerprint(self) -> str:
        """Return a name of what is shown, the same for the same labels and numbers."""
        shown = json.dumps(asdict(self), sort_keys=True)
        return f"sha256:{hashlib.sha256(shown.encode()).hexdigest()}"


def draw_svg(plot: Plot) -> str:
    """Draw a plot: the same results, by the same matplotlib, give the same file."""
    import matplotlib

    settings = {
        "svg.hashsalt": "genft",
        "svg.fonttype": "none",  # text, not outlines: a third of the size, and it can be searched
        "font.sans-serif": ["DejaVu Sans", "sans-serif"],  # what is written out with every word
        "font.size": 9,
        "axes.titlesize": 9,
    }
    written = io.StringIO()
    with matplotlib.rc_context(settings):
        metadata = {"Date": None, "Creator": None, "Identifier": plot.fingerprint()}
        draw(plot).savefig(written, format="svg", metadata=metadata)
    # A hundredth of a point is fine enough, and a file of half the size.
    shorter = re.sub(r"(\d\.\d\d)\d{2,}", r"\1", written.getvalue())
    return "\n".join(line.strip() for line in shorter.splitlines()) + "\n"


def draw(plot: Plot) -> Any:
    """Draw a plot as a figure of matplotlib."""
    from matplotlib.figure import Figure as Canvas

    # A ground of its own, or black letters would vanish on a dark page.
    canvas = Canvas(figsize=_size(plot), layout="constrained", facecolor="white")
    shape = len(plot.panels), len(plot.panels[0])
    panels = canvas.subplots(*shape, squeeze=False, sharex="none" if plot.rows else "col")
    for axes, drawn in zip(panels, plot.panels, strict=True):
        for axis, panel in zip(axes, drawn, strict=True):
            if isinstance(panel, Bars):
                _draw_bars(axis, panel, plot, named=axis is axes[0])
            else:
                _draw_lines(axis, panel, plot)
            axis.spines[["top", "right"]].set_visible(False)
            axis.tick_params(left=False, bottom=False)  # there are grid lines
    canvas.suptitle(plot.title, fontsize=10)
    handles, _ = panels[0][0].get_legend_handles_labels()
    # One series needs no name; the caption is the legend's, for which the layout makes room.
    canvas.legend(
        handles=handles if len(plot.series) > 1 else [],
        title=plot.caption,
        title_fontsize=7,
        loc="outside lower center",
        ncols=3 if max(map(len, plot.series)) < LONG else 2,
        frameon=False,
    )
    return canvas


def shows(svg: str, plot: Plot) -> bool:
    """Tell whether a file was drawn from what this plot shows."""
    return f">{plot.fingerprint()}<" in svg


def _size(plot: Plot) -> tuple[float, float]:
    if plot.rows:
        bars = len(plot.rows) * max(2, len(plot.series))
        return 9.5, INCHES_AROUND + INCHES_A_BAR * bars
    return 10, 1.2 + 2.3 * len(plot.panels)


def _draw_bars(axis: Any, panel: Bars, plot: Plot, named: bool) -> None:
    height = BAR_HEIGHT / len(plot.series)
    ends = list(LEAST_RANGE)
    for number, (label, metrics) in enumerate(zip(plot.series, panel.values, strict=True)):
        offset = (number + 0.5) * height - BAR_HEIGHT / 2
        first = next((figure for figure in metrics if figure is not None), None)
        for row, figure in enumerate(metrics):
            if figure is None:
                continue
            where = row + offset
            axis.barh(
                *(where, figure.value - 1, height * 0.9, 1.0),
                color=COLOURS[number % len(COLOURS)],
                label=label if figure is first else None,
            )
            spread = [[figure.value - figure.low], [figure.high - figure.value]]
            axis.errorbar(figure.value, where, xerr=spread, color="#222222", elinewidth=0.8)
            right = figure.value >= 1
            axis.annotate(
                f"{figure.value:.2f}",
                (figure.high if right else figure.low, where),
                xytext=(3 if right else -3, 0),
                textcoords="offset points",
                va="center",
                ha="left" if right else "right",
                fontsize=7,
            )
            ends += [figure.low, figure.high]
    axis.set_xscale("log")
    # The numbers stand outside of the bars.
    margin = (max(ends) / min(ends)) ** 0.16
    axis.set_xlim(min(ends) / margin, max(ends) * margin)
    factor = max(ends) / min(ends)
    between = _BETWEEN_NEAR if factor < 5 else _BETWEEN_FAR if factor < 200 else (1,)
    _name_ticks(axis.xaxis, axis.get_xlim(), between)
    axis.axvline(1, color="#222222", linewidth=0.8)
    axis.set_ylim(len(plot.rows) - 0.5, -0.5)
    axis.set_yticks(range(len(plot.rows)), plot.rows if named else [""] * len(plot.rows))
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    axis.set_title(panel.title)


# Where ticks stand between a power of ten and the next one.
_BETWEEN_FAR = (1, 2, 3, 5, 7)
_BETWEEN_NEAR = (1, 1.2, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
_BETWEEN_FARTHER = (1, 2, 5)


def _name_ticks(axis: Any, limits: tuple[float, float], between: Sequence[float]) -> None:
    """Put numbers at an axis that may not reach from one power of ten to the next."""
    low, high = limits
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [part * 10.0**power for power in powers for part in between]
    ticks = [tick for tick in ticks if low <= tick <= high]
    axis.set_ticks(ticks, [f"{tick:,.5g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def _draw_lines(axis: Any, panel: Lines, plot: Plot) -> None:
    for number, (label, metrics) in enumerate(zip(plot.series, panel.values, strict=True)):
        points = [(x, f) for x, f in zip(panel.sizes, metrics, strict=True) if f is not None]
        colour = COLOURS[number % len(COLOURS)]
        x, y = [size for size, _ in points], [figure.value for _, figure in points]
        dashes = DASHES[number % len(DASHES)]
        axis.plot(x, y, color=colour, label=label, linestyle=dashes, linewidth=1.6)
        if any(figure.low < figure.high for _, figure in points):
            low, high = ([getattr(f, end) for _, f in points] for end in ("low", "high"))
            axis.vlines(x, low, high, color=colour, linewidth=2.5, alpha=0.5)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    middle = math.sqrt(low * high)
    axis.set_ylim(min(low, middle / LEAST_FACTOR), max(high, middle * LEAST_FACTOR))
    near = high / low < 5
    _name_ticks(axis.yaxis, axis.get_ylim(), _BETWEEN_FAR if near else _BETWEEN_FARTHER)
    axis.set_xticks(panel.sizes, [_short(size) for size in panel.sizes])
    axis.set_xticks([], minor=True)
    axis.set_xlabel(panel.x_label)
    axis.set_ylabel(panel.y_label)
    axis.set_title(panel.title)
    axis.grid(alpha=0.3)


def _short(size: int) -> str:
    return f"{size // 1024}k" if size >= 4096 and size % 1024 == 0 else str(size)
