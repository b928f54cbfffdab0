"""Loss against updates and against seconds, a line a strategy: mean and spread over seeds."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genft_fairseq.errors import UserError
from genft_fairseq.study.training_log import read_training_log, token_loss
from genft_fairseq.study.training_run import read_finished

PARTS = ("validation", "training")
Curve = tuple[np.ndarray, np.ndarray, np.ndarray]


def write_curves(runs: Mapping[str, Sequence[Path]], *paths: Path) -> None:
    """Draw the curves of finished runs, and write them as each path's suffix says.

    Args:
        runs: of each row, the folders of its seeds.
        paths: ``.svg`` and ``.png`` files.

    Raises:
        UserError: one cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), layout="constrained")
    axes = figure.subplots(2, 2, sharey="row")
    for row, part in enumerate(PARTS):
        for column, by_seconds in enumerate((False, True)):
            axis = axes[row][column]
            for name, folders in runs.items():
                _draw(axis, name, curve(folders, part, by_seconds))
            axis.set_xlabel("training time in seconds" if by_seconds else "updates")
            axis.grid(alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
        axes[row][0].set_ylabel(f"{part} loss, bits per token")
    if runs:
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    for path in paths:
        partial = path.with_name(f"{path.stem}.tmp{path.suffix}")
        # The same figures make the same file, so that a page's history shows real changes.
        metadata = {"Date": None} if path.suffix == ".svg" else None
        try:
            with matplotlib.rc_context({"svg.hashsalt": "genft"}):
                figure.savefig(partial, dpi=150, metadata=metadata)
            os.replace(partial, path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


def _draw(axis: Any, name: str, drawn: Curve) -> None:
    positions, mean, deviation = drawn
    (line,) = axis.plot(positions, mean, label=name, linewidth=1.4)
    axis.fill_between(
        *(positions, mean - deviation, mean + deviation),
        color=line.get_color(),
        alpha=0.15,
        linewidth=0,
    )


def curve(folders: Sequence[Path], part: str, by_seconds: bool) -> Curve:
    """Return positions, mean and standard deviation of the loss over seeds.

    Args:
        folders: the finished runs of one strategy.
        part: ``validation`` or ``training``.
        by_seconds: positions are mean seconds of training instead of updates.

    Returns:
        three arrays as long as there are updates at which every seed logged; the loss is the
        plain negative log-likelihood in bits per token.
    """
    losses = [_losses(folder, part) for folder in folders]
    common = sorted(set.intersection(*map(set, losses))) if losses else []
    values = np.array([[loss[update] for update in common] for loss in losses])
    if not common:
        return np.array([]), np.array([]), np.array([])
    positions = np.array(common, dtype=float)
    if by_seconds:
        positions = np.mean([seconds_at(folder)(positions) for folder in folders], axis=0)
    deviation = values.std(axis=0, ddof=1) if len(folders) > 1 else np.zeros(len(common))
    return positions, values.mean(axis=0), deviation


def _losses(folder: Path, part: str) -> dict[int, float]:
    logged = getattr(read_training_log(folder / "train.log"), part)
    found = {update: token_loss(figures) for update, figures in logged.items()}
    return {update: loss for update, loss in found.items() if loss is not None}


def seconds_at(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return the seconds of training at any update, a straight line between checkpoints."""
    checkpoints = read_finished(folder)["checkpoints"]
    updates = [0, *(checkpoint["updates"] for checkpoint in checkpoints)]
    seconds = [0.0, *(checkpoint["train_seconds"] for checkpoint in checkpoints)]
    return lambda wanted: np.interp(wanted, updates, seconds)
