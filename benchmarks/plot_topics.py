"""What the plots of ``plots.py`` show: one for each JSON file of results."""

from collections.abc import Callable, Mapping
from typing import Any

import fusion_tables
import growth_tables
import loss_tables
import projection_tables
import strategy_tables
import training_commands
from plot_charts import Bars, Figure, Lines, Plot

Results = dict[str, Any]
CLOCKS = {"processor": "processor time", "wall": "time"}
TO_THE_LEFT = "left of 1 is better"


def _losses(results: Results) -> Plot:
    shapes = results["shapes"]
    series = ["B = {}, T = {:,}, V = {:,}".format(*shape["shape"]) for shape in shapes]
    title = "Loss, from the logits and back, against fairseq's cross_entropy"
    return _of_shapes(results, title, series, loss_tables.LOSSES)


def _projection(results: Results) -> Plot:
    shapes = results["shapes"]
    series = ["B = {}, T = {:,}, D = {:,}, V = {:,}".format(*s["shape"]) for s in shapes]
    title = "Output projection and loss, from the features and back, against cross_entropy"
    if len(series) == 1:
        title += f"\n{series[0]}"
    return _of_shapes(results, title, series, projection_tables.PROJECTIONS)


def _of_shapes(results: Results, title: str, series: list[str], labels: Mapping[str, str]) -> Plot:
    clock = CLOCKS[results.get("clock", "wall")]  # before there was a choice it was the wall
    columns = [shape["losses"] for shape in results["shapes"]]
    names = _rows(labels, loss_tables.BASELINE, columns)
    return Plot(
        title=title,
        series=series,
        rows=[_plain(labels[name]) for name in names],
        panels=[
            [
                Bars(f"{clock}, ratio; {TO_THE_LEFT}", _values(columns, names, _ratio)),
                Bars(f"peak memory, ratio; {TO_THE_LEFT}", _values(columns, names, _peak_ratio)),
            ]
        ],
        caption=loss_tables.conditions_line(results),
    )


def _strategies(results: Results) -> Plot:
    settings = results["settings"]
    columns = [setting["strategies"] for setting in settings]
    labels, base = strategy_tables.STRATEGIES, strategy_tables.BASELINE
    names = _rows(labels, base, columns)
    title = f"{CLOCKS[results['clock']]}, ratio; {TO_THE_LEFT}"
    return Plot(
        title="An update on the model's own output, against a teacher-forced one",
        series=[_setting(setting, *map(str, setting["shape"])) for setting in settings],
        rows=[_plain(labels[name]) for name in names],
        panels=[[Bars(title, _values(columns, names, _ratio))]],
        caption=loss_tables.conditions_line({"dtype": "float32", **results}),
    )


def _training(results: Results) -> Plot:
    settings = results["settings"]
    columns = [setting["rows"] for setting in settings]
    labels, base = training_commands.ROWS, training_commands.BASELINE
    names = _rows(labels, base, columns)
    clock = {"processor": " of processor time", "wall": ""}[results["clock"]]
    speed = f"words a second{clock}, ratio; right of 1 is better"
    series = []
    for setting in settings:
        processes = setting["processes"]
        several = f"{processes} processes" if processes > 1 else "1 process"
        parts = (setting["precision"], several, setting["backend"])
        series.append(", ".join([_setting(setting), *(part for part in parts if part)]))
    return Plot(
        title="fairseq-train, against label_smoothed_cross_entropy",
        series=series,
        rows=[_plain(labels[name]) for name in names],
        panels=[
            [
                Bars(speed, _values(columns, names, _ratio)),
                Bars(f"peak memory, ratio; {TO_THE_LEFT}", _values(columns, names, _peak_ratio)),
            ]
        ],
        caption=loss_tables.conditions_line(results),
    )


def _fusion(results: Results) -> Plot:
    points = [(s["model"], point) for s in results["settings"] for point in s["beams"]]
    columns = [point["rows"] for _, point in points]
    labels = fusion_tables.ROWS
    names = _rows(labels, fusion_tables.BASELINE, columns)
    clock = {"processor": " of processor time", "wall": ""}[results["clock"]]
    better = "right of 1 is better"
    return Plot(
        title="Decoding from {n_context} passages, against plain Fusion-in-Decoder".format(
            **results["protocol"]
        ),
        series=[
            f"{fusion_tables.model_name(model)}, beam {point['beam']}" for model, point in points
        ],
        rows=[_plain(labels[name]) for name in names],
        panels=[
            [
                Bars(f"tokens a second{clock}, ratio; {better}", _values(columns, names, _ratio)),
                Bars(f"times less cache; {better}", _values(columns, names, _less)),
            ]
        ],
        caption=loss_tables.conditions_line(results),
    )


def _growth(results: Results) -> Plot:
    clock = CLOCKS[results["clock"]]
    curves = results["curves"]
    names = list(next(iter(curves.values()))["points"][0]["losses"])
    panels = [
        [_line_panel(curves, curve, names, what, figure) for curve in curves]
        for what, figure in (
            (f"{clock} a position, µs", _micro),
            ("its ratio to cross_entropy", _ratio),
            ("peak memory, MiB", _peak),
        )
    ]
    return Plot(
        title="How the cost of output projection and loss grows",
        series=[_plain(growth_tables.LOSSES[name]) for name in names],
        rows=[],
        panels=panels,
        caption=loss_tables.conditions_line(results),
    )


def _line_panel(
    curves: Mapping[str, Any],
    curve: str,
    names: list[str],
    what: str,
    figure: Callable[[Mapping[str, Any]], Figure | None],
) -> Lines:
    """One of a grid: a column is a curve, a row what was measured."""
    points = curves[curve]["points"]
    by_point = _values([point["losses"] for point in points], names, figure)
    return Lines(
        title=growth_tables.fixed_sizes(curve, points) if figure is _micro else "",
        x_label=f"{growth_tables.CURVES[curve]} {growth_tables.LETTERS[curve]}"
        if figure is _peak
        else "",
        y_label=what if curve == next(iter(curves)) else "",
        sizes=[point["size"] for point in points],
        values=[list(line) for line in zip(*by_point, strict=True)],
    )


# By the name of the JSON file without its suffix.
TOPICS: dict[str, Callable[[Results], Plot]] = {
    "losses-cpu": _losses,
    "projection-cpu": _projection,
    "growth-cpu": _growth,
    "strategies-cpu": _strategies,
    "training-cpu": _training,
    "fusion_in_decoder-cpu": _fusion,
}


def _rows(labels: Mapping[str, str], baseline: str, columns: list[dict[str, Any]]) -> list[str]:
    """Return what was measured anywhere, without the baseline, whose ratio is 1."""
    return [
        name
        for name in labels
        if name != baseline and any("skipped" not in c.get(name, {"skipped": ""}) for c in columns)
    ]


def _values(
    columns: list[dict[str, Any]],
    names: list[str],
    figure: Callable[[Mapping[str, Any]], Figure | None],
) -> list[list[Figure | None]]:
    return [
        [
            figure(column[name]) if "skipped" not in column.get(name, {"skipped": ""}) else None
            for name in names
        ]
        for column in columns
    ]


def _ratio(metrics: Mapping[str, Any]) -> Figure:
    return Figure(metrics["ratio_median"], *metrics["ratio_quartiles"])


def _peak_ratio(metrics: Mapping[str, Any]) -> Figure | None:
    return _alone(metrics["peak_ratio"])


def _less(metrics: Mapping[str, Any]) -> Figure | None:
    return _alone(metrics["cross_attention_times_smaller"])


def _peak(metrics: Mapping[str, Any]) -> Figure | None:
    return _alone(metrics["peak_bytes"] / 2**20)


def _micro(metrics: Mapping[str, Any]) -> Figure | None:
    return _alone(metrics["us_per_position"])


def _alone(value: float | None) -> Figure | None:
    """A figure without spread; a logarithmic axis has no place for 0."""
    return Figure(value, value, value) if value else None


def _setting(setting: Mapping[str, Any], *shape: str) -> str:
    words = [strategy_tables.KINDS[setting["kind"]], setting["size"]]
    return " ".join([*words, *([" x ".join(shape)] if shape else [])])


def _plain(label: str) -> str:
    return label.replace("`", "")
