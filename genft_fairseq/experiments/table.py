"""The results of a comparison for people to read: Markdown tables and learning curves.

The curves are loss against updates and against seconds, a line a strategy: mean and standard
deviation over seeds.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genft_fairseq.experiments.training_log import read_training_log, token_loss
from genft_fairseq.experiments.training_run import read_finished
from genft_fairseq.files import atomic_file
from genft_fairseq.provenance import provenance_line

Figures = dict[str, Any]
HEAD = (
    "| system | BLEU | p | chrF | length ratio | rep-1 | rep-2 | rep-4 | epoch s | time "
    "| memory MiB | peak MiB |"
)
EQUAL_TIME_HEAD = "| system | updates | training s | BLEU | p | chrF | rep-4 |"
REPETITIONS = ("rep_1", "rep_2", "rep_4")


def comparison_table(results: Figures) -> str:
    """Write the tables: equal updates, equal wall clock, what failed, where it was measured."""
    systems = results["systems"]
    lines = [f"Equal updates: {results['updates']} from the baseline.", "", HEAD, _rule(HEAD)]
    lines += [_row(name, system) for name, system in systems.items()]
    references = [_cell(results["references"][name], 4) for name in REPETITIONS]
    lines.append(f"| the references | | | | | {' | '.join(references)} | | | | |")
    lines += ["", "Equal wall clock: what each reached in the training time of standard.", ""]
    lines += [EQUAL_TIME_HEAD, _rule(EQUAL_TIME_HEAD)]
    lines += [_equal_time_row(name, s) for name, s in systems.items() if s["kind"] == "training"]
    failures = [_failure(failure) for system in systems.values() for failure in system["failures"]]
    return "\n".join([*lines, "", *failures, *([""] if failures else []), *_notes(results)])


def _rule(head: str) -> str:
    return "|" + "---|" * (head.count("|") - 1)


def _row(name: str, system: Figures) -> str:
    metrics = system["equal_updates"]
    cells = [
        *_scores(metrics, system),
        _mean(metrics, "length_ratio", 3),
        *(_mean(metrics, repetition, 4) for repetition in REPETITIONS),
        _mean(metrics, "epoch_seconds", 1),
        _mean(metrics, "time_ratio", 2, "× "),
        *(_mean(metrics, memory, 0) for memory in ("average_memory_mib", "peak_memory_mib")),
    ]
    return f"| {_escaped(name)} | {' | '.join(cells)} |"


def _equal_time_row(name: str, system: Figures) -> str:
    metrics = system.get("equal_time", {})
    reached = metrics.get("updates", {"seeds": {}})["seeds"].values()
    cells = [
        ", ".join(str(updates) for updates in reached),
        _mean(metrics, "train_seconds", 1),
        *_scores(metrics, system),
        _mean(metrics, "rep_4", 4),
    ]
    return f"| {_escaped(name)} | {' | '.join(cells)} |"


def _scores(metrics: Figures, system: Figures) -> list[str]:
    if "bleu" not in metrics:
        return ["failed" if system["failures"] else "", "", ""]
    p_values = metrics.get("p_value", {"seeds": {}})["seeds"].values()
    return [
        _interval(metrics["bleu"]),
        ", ".join(f"{p:.3f}" for p in p_values),
        _interval(metrics["chrf"]),
    ]


def _interval(figure: Figures) -> str:
    if figure["half_width"] is None:
        mean, ends = _cell(figure["mean"], 2), figure.get("interval")
        return f"{mean} [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else mean
    return f"{figure['mean']:.2f} ± {figure['half_width']:.2f}"


def _mean(metrics: Figures, name: str, digits: int, before: str = "") -> str:
    value = metrics[name]["mean"] if name in metrics else None
    return before + _cell(value, digits) if value is not None else ""


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _failure(failure: Figures) -> str:
    return f"- {_escaped(failure['job'])} failed: {_escaped(failure['error'])} ({failure['log']})"


def _notes(results: Figures) -> list[str]:
    seeds = ", ".join(map(str, results["seeds"]))
    memory = {s["memory"] for s in results["systems"].values() if s.get("memory")}
    beside = results["side_by_side"]["processes"]
    several = len(results["seeds"]) > 1
    interval = "±: 95 % Student-t interval of the mean; "
    if not several:
        interval = "[ ]: 95 % bootstrap interval over the test sentences; "
    side = "one command at a time" if beside == 1 else f"{beside} commands side by side"
    lines = [
        f"Seeds {seeds}; {interval}p: paired bootstrap of BLEU against standard, a seed each. "
        "Training time is that of updates, without start, validation and saving: by the wall clock "
        "on a GPU, by that of the processor on the CPU, which others may use as well; time is that "
        "of an update against standard's; "
        f"memory is {' and '.join(sorted(memory)) or 'not known'}, average and peak; "
        f"{side}."
    ]
    if "bleu_signature" in results:
        lines.append(f"BLEU `{results['bleu_signature']}`, chrF `{results['chrf_signature']}`.")
    return [*lines, provenance_line(results)]


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
        # The same figures make the same file, so that a page's history shows real changes.
        metadata = {"Date": None} if path.suffix == ".svg" else None
        with atomic_file(path) as partial, matplotlib.rc_context({"svg.hashsalt": "genft"}):
            figure.savefig(partial, format=path.suffix[1:], dpi=150, metadata=metadata)


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
    found = {update: token_loss(metrics) for update, metrics in logged.items()}
    return {update: loss for update, loss in found.items() if loss is not None}


def seconds_at(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return the seconds of training at any update, a straight line between checkpoints."""
    checkpoints = read_finished(folder)["checkpoints"]
    updates = [0, *(checkpoint["updates"] for checkpoint in checkpoints)]
    seconds = [0.0, *(checkpoint["train_seconds"] for checkpoint in checkpoints)]
    return lambda wanted: np.interp(wanted, updates, seconds)
