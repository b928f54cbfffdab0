"""What becomes of a row's runs: words per second, ratios to fairseq's criterion, memory."""

import statistics
from collections.abc import Sequence
from typing import Any

from training_process import Measured


def words(run: Sequence[Measured]) -> int:
    """Count the target tokens that the processes of a run read."""
    return sum(process.words for process in run)


def metrics(
    runs: Sequence[Sequence[Measured]], base: Sequence[Sequence[Measured]], clock: str
) -> dict[str, Any]:
    """Summarise a row.

    Args:
        runs: what each process measured, in each round.
        base: the same of fairseq's criterion.
        clock: "processor" or "wall".
    """
    peaks = [
        statistics.median(max(process.peak_bytes for process in run) for run in of)
        for of in (runs, base)
    ]
    return {
        **_summary(runs, base, clock),
        "wall": _summary(runs, base, "wall"),
        "peak_bytes": int(peaks[0]),
        "peak_ratio": round(peaks[0] / peaks[1], 4),
    }


def _summary(
    runs: Sequence[Sequence[Measured]], base: Sequence[Sequence[Measured]], clock: str
) -> dict[str, Any]:
    speeds, baseline = ([_speed(run, clock) for run in of] for of in (runs, base))
    ratios = [mine / theirs for mine, theirs in zip(speeds, baseline, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4, method="inclusive") if ratios[1:] else ratios * 3
    return {
        "rounds": len(runs),
        "median_words_per_s": round(statistics.median(speeds), 1),
        "max_words_per_s": round(max(speeds), 1),
        "ratio_median": round(quartiles[1], 4),
        "ratio_min": round(min(ratios), 4),
        "ratio_quartiles": [round(quartiles[0], 4), round(quartiles[2], 4)],
    }


def _speed(run: Sequence[Measured], clock: str) -> float:
    if clock == "processor":
        return words(run) / statistics.mean(process.processor for process in run)
    return words(run) / max(process.wall for process in run)
