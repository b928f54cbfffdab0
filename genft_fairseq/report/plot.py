"""A plot of a report: drawn by matplotlib, as part of a page or as a picture."""

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# Stand-ins in a drawing for what the page around it decides.
INK, GRID = "#101112", "#909192"
_SIZE = (6.4, 3.6)
_MADE_BY = {"Software": "genft report"}
# Letters of a name in a legend, and of a line of it.
_LONGEST, _LEGEND = 40, 88
# A system may be called by any letters; $ and _ are not formulas.
_LETTERS: Any = {"text.parse_math": False}


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
