"""The results of ``projection.py`` as tables."""

from collections.abc import Sequence
from typing import Any

import loss_tables
from loss_tables import BASELINE, mebibytes
from rich.console import Console

PROJECTIONS = {
    "cross_entropy": "fairseq `cross_entropy`",
    "label_smoothed_cross_entropy": "fairseq `label_smoothed_cross_entropy`, 0.1",
    "scalegrad": "`scalegrad`",
    "scalegrad_chunked_256": "`scalegrad --loss-chunk-size 256`",
    "scalegrad_chunked_512": "`scalegrad --loss-chunk-size 512`",
    "scalegrad_chunked_1024": "`scalegrad --loss-chunk-size 1024`",
    "scalegrad_smoothed_chunked_512": "`scalegrad --loss-chunk-size 512`, label smoothing 0.1",
    "unlikelihood_chunked_512": "`unlikelihood --loss-chunk-size 512`",
    "likelihood_chunked_512": "`scalegrad --loss-chunk-size 512`, gamma 1: plain likelihood",
    "dense_masks": "ScaleGrad by dense masks",
}


def shape_title(shape: dict[str, Any]) -> str:
    """Say which shape (B, T, D, V) it is."""
    B, T, D, V = shape["shape"]
    logits = mebibytes(shape["logits_bytes"])
    return f"B = {B}, T = {T}, D = {D}, V = {V:,}; the logits take {logits} MiB"


def print_tables(results: dict[str, Any], console: Console) -> None:
    """Print a table for every shape; its losses go by the names that ``--losses`` takes."""
    loss_tables.print_tables(results, console, shape_title)


def markdown(results: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """Render the results of one or several runs.

    Args:
        results: as the JSON holds them.
        names: the losses to show, of ``PROJECTIONS``; the baseline always is.
    """
    shown = {BASELINE, *names}
    return loss_tables.markdown([_only(run, shown) for run in results], PROJECTIONS, shape_title)


def _only(run: dict[str, Any], names: set[str]) -> dict[str, Any]:
    shapes = []
    for shape in run["shapes"]:
        losses = {name: metrics for name, metrics in shape["losses"].items() if name in names}
        shapes.append({**shape, "losses": losses})
    return {**run, "shapes": shapes}
