"""What the figures cost that our criterions log besides fairseq's, as JSON.

An update is forward, backward, ``reduce_metrics``, and the reading of what that logged, which the
trainer does in every update.  A criterion as it is runs beside itself without its figures, in one
process, one right after the other in an order that changes from round to round.

command     the command line
versions, hardware, device, threads, clock
            as in ``strategy_measurement.py``
settings    a list, in the order given: kind, size, model, parameters, shape as there, and
  criterions  for each by name
    rounds, median_s, min_s, ratio_median, ratio_min, ratio_quartiles
                by the clock; the ratio is (as it is / without figures) of a round
    figures_s   time of the processor inside the functions that make the figures, median
    share       figures_s / median_s
"""

import copy
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

import torch
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.logging import metrics
from loss_measurement import summarise
from strategy_models import SIZES, build_model, build_sample, build_task, dictionary_of
from strategy_updates import registered_criterion

CHUNK = 512
CRITERIONS: dict[str, dict[str, Any]] = {
    "scalegrad": {},
    "unlikelihood": {},
    "scalegrad_chunked": {"loss_chunk_size": CHUNK},
    "unlikelihood_chunked": {"loss_chunk_size": CHUNK},
}
BARE = LabelSmoothedCrossEntropyCriterion  # whose figures are all that is logged then


def compare_in(
    setting: tuple[str, str, int, int],
    names: Sequence[str],
    rounds: int,
    device: str,
    clock: str,
    on_round: Callable[[], None],
) -> dict[str, Any]:
    """Measure the criterions of these names in one setting.

    Args:
        setting: kind and size of the model, B and T of the target.
        names: of ``CRITERIONS``.
        rounds: each with every criterion twice, as it is and without its figures.
        device: "cpu" or "cuda".
        clock: "processor" or "wall".
        on_round: called after every round of a criterion.

    Returns:
        what the JSON holds of a setting.
    """
    kind, size_name, B, T = setting
    size = SIZES[size_name]
    task = build_task(kind, dictionary_of(size), T)
    model = build_model(kind, task, size, T).to(device)
    sample = build_sample(kind, task, B, T, device)
    updates = {name: _Update(name, task, model, sample, clock) for name in names}
    for update in updates.values():
        update.run(0)  # which loads code
        update.forget()
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(names), len(names)):
            updates[name].run(order.randrange(2))
            on_round()
    return {
        "kind": kind,
        "size": size_name,
        "model": size.facts(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "shape": [B, T],
        "criterions": {name: update.metrics() for name, update in updates.items()},
    }


class _Update:
    """Updates of one criterion, as it is and without its figures."""

    def __init__(self, name: str, task: Any, model: Any, sample: dict[str, Any], clock: str):
        criterion = registered_criterion(
            name.removesuffix("_chunked"), task, **CRITERIONS[name]
        ).train()
        self.model, self.sample = model, sample
        self.read = time.process_time if clock == "processor" else time.perf_counter
        self.as_it_is, self.bare = criterion, _without_figures(criterion)
        self.forget()
        self._time_figures()

    def forget(self) -> None:
        """Begin to measure."""
        self.seconds: tuple[list[float], list[float]] = ([], [])
        self.reducing: tuple[list[float], list[float]] = ([], [])
        self.making: list[float] = []

    def _time_figures(self) -> None:
        make = self.as_it_is.method_metrics

        @wraps(make)
        def timed(*args: Any) -> dict[str, Any]:
            begun = self.read()
            figures = make(*args)
            self.making.append(self.read() - begun)
            return figures

        self.as_it_is.method_metrics = timed

    def run(self, first: int) -> None:
        """Do both updates, as it is first or second."""
        for which in (first, 1 - first):
            self._once(which)

    def _once(self, which: int) -> None:
        criterion = (self.as_it_is, self.bare)[which]
        reduce_metrics = (type(criterion), BARE)[which].reduce_metrics
        self.model.zero_grad()
        torch.manual_seed(1)  # so that dropout takes as long for both
        self._synchronize()
        begun = self.read()
        loss, _, logging_output = criterion(self.model, self.sample)
        loss.backward()
        self._synchronize()
        reducing = self.read()
        with metrics.aggregate(new_root=True) as figures:
            reduce_metrics([logging_output])
            figures.get_smoothed_values()
        ended = self.read()
        self.seconds[which].append(ended - begun)
        self.reducing[which].append(ended - reducing)

    def _synchronize(self) -> None:
        if self.sample["target"].is_cuda:
            torch.cuda.synchronize()

    def metrics(self) -> dict[str, Any]:
        """Return what was measured, as the JSON holds it."""
        summary = summarise(*self.seconds)
        as_it_is, bare = map(statistics.median, self.reducing)
        figures = statistics.median(self.making) + as_it_is - bare
        return {
            "rounds": summary.pop("repeats"),
            **summary,
            "figures_s": round(figures, 7),
            "share": round(figures / statistics.median(self.seconds[0]), 6),
        }


def _without_figures(criterion: Any) -> Any:
    bare = copy.copy(criterion)
    bare.method_metrics = lambda *_: {}
    bare.token_loss = replace(bare.token_loss, with_seen_mass=False, with_unlikelihood=False)
    return bare
