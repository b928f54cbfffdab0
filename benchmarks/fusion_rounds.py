"""Calls that are timed side by side, in rounds, and the summary of their times."""

import random
from collections.abc import Callable
from typing import Any

import torch
from loss_measurement import CLOCKS, summarise

Seconds = dict[str, list[float]]  # by clock, one number a round


def time_rounds(
    calls: dict[str, Callable[[], Any]], repeats: int, device: str, on_call: Callable[[], None]
) -> dict[str, Seconds]:
    """Time every call once in every round, in an order that changes from round to round.

    Args:
        calls: by name.
        repeats: rounds.
        device: "cpu" or "cuda", which is waited for.
        on_call: called after every one.

    Returns:
        seconds of each by both clocks.
    """
    seconds: dict[str, Seconds] = {name: {clock: [] for clock in CLOCKS} for name in calls}
    order = random.Random(0)
    for _ in range(repeats):
        for name in order.sample(list(calls), len(calls)):
            _wait(device)
            start = {clock: read() for clock, read in CLOCKS.items()}
            kept = calls[name]()
            _wait(device)
            for clock, read in CLOCKS.items():
                seconds[name][clock].append(read() - start[clock])
            del kept  # to give it back is not the call's time
            on_call()
    return seconds


def summary(
    seconds: Seconds, baseline: Seconds, clock: str, faster: bool = False
) -> dict[str, Any]:
    """Summarise a call's times as ``loss_measurement.summarise`` does, by one clock and the wall.

    Args:
        seconds: of the call.
        baseline: of what it is compared with, in the same rounds.
        clock: of ``CLOCKS``.
        faster: let ratios say how many times faster it is, not how much of the time it takes.
    """

    def by(name: str) -> dict[str, Any]:
        mine, other = seconds[name], baseline[name]
        found = summarise(mine, other)
        if faster:
            ratios = summarise(other, mine)
            found.update({key: value for key, value in ratios.items() if "ratio" in key})
        return found

    return {**by(clock), "wall": by("wall")}


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
