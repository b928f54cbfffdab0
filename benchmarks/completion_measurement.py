"""The comparison of ``evaluate-lm`` with transformers' ``generate``, as the JSON holds it.

Both complete the same prefixes with the same weights, in one process, one right after the other,
and change places from round to round.  Theirs is ``GPT2LMHeadModel.generate`` alone, on prefixes
that lie in memory.  Ours is all that ``evaluate-lm`` does once the model is loaded: reading the
text, continuing it, making text of tokens, counting n-grams, marking the repeated ones, and writing
all texts to disk.  That favours theirs.

The clock is the processor time of the process where one thread computes, which others on the
machine change little; with several threads it is the wall.

command     the command line
versions    python, torch, fairseq, transformers, genft_fairseq
hardware    processor, cores
threads     of torch
clock       "processor" or "wall"
protocol    batch_size, prefix_length, length (tokens generated)
settings    a list, in the order given:
  model       layers, width, heads, vocabulary
  parameters  how many
  searches    for each by name (``completion_tables.SEARCHES`` says what each is):
    repeats     rounds
    prefixes    completed in each
    agreeing    how many texts have the same tokens; null where they are drawn at random
    processor, wall
                by either clock:
      ours, theirs  median_s, min_s, per_second (completions, by the median)
      ratio_median, ratio_min, ratio_quartiles
                    of (time of theirs / time of ours) of the same round: above 1, ours is faster
memory      of the first setting's model:
  model       as above
  runs        completions, peak_mib: see ``completion_memory.py``
  growth_mib  from the first run to the last
"""

import logging
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fairseq
import torch
from completion_memory import peak_memory
from completion_models import Twins, build_twins
from completion_searches import WAYS, Shape, Way, complete_by_ours, complete_by_theirs
from completion_tables import SLOW
from loss_measurement import summarise
from rich.console import Console
from rich.progress import Progress

import genft_fairseq
from genft_fairseq.convert.gpt2 import SYMBOLS, require_transformers
from genft_fairseq.provenance import hardware

CLOCKS: dict[str, Callable[[], float]] = {
    "processor": time.process_time,
    "wall": time.perf_counter,
}
SIDES = {"ours": complete_by_ours, "theirs": complete_by_theirs}
WARM_UP = (2, 4)  # prefixes completed, and tokens generated, before anything is timed
Seconds = dict[str, dict[str, list[float]]]  # by clock and side, one number a round


@dataclass(frozen=True)
class Work:
    """What every setting has to do.

    Attributes:
        names: of ``WAYS``.
        shape: prefixes at a time, tokens read, tokens generated.
        prefixes: completed in a round; slow searches complete one batch of them.
        repeats: rounds.
        slow_repeats: rounds in which slow searches take part.
    """

    names: Sequence[str]
    shape: Shape
    prefixes: int
    repeats: int
    slow_repeats: int

    def rounds(self, name: str) -> int:
        """Return in how many rounds a search takes part."""
        return min(self.repeats, self.slow_repeats) if name in SLOW else self.repeats

    def number(self, name: str) -> int:
        """Return how many prefixes a search completes in a round."""
        return min(self.prefixes, self.shape[0]) if name in SLOW else self.prefixes


def compare(
    command: str,
    settings: Sequence[tuple[int, int, int]],
    vocabulary: int,
    memory: tuple[int, ...],
    threads: int,
    **work: Any,
) -> dict[str, Any]:
    """Measure the time in every setting, and the memory of the first.

    Args:
        command: as it was typed.
        settings: layers, width and attention heads.
        vocabulary: tokens of the models.
        memory: numbers of completions, in increasing order.
        threads: of torch.
        work: the attributes of ``Work``.

    Raises:
        UserError: transformers is not installed.
        NoResultError: ``genft evaluate-lm`` failed.
    """
    for library in ("fairseq", "hydra"):  # they tell of every file that they open
        logging.getLogger(library).setLevel(logging.WARNING)
    versions = _versions()
    asked = Work(**work)
    B, P, T = asked.shape
    torch.set_num_threads(threads)
    measured: list[dict[str, Any]] = []
    found: dict[str, Any] = {}
    for sizes in settings:
        with tempfile.TemporaryDirectory() as name:
            text = (max(asked.prefixes, *memory), P + T)
            twins = build_twins(sizes, vocabulary, text, Path(name))
            measured.append(_compare_in(twins, sizes, asked))
            if not found:
                found = peak_memory(Path(name), memory, asked.shape, threads)
    return {
        "command": command,
        "versions": versions,
        "hardware": hardware(),
        "threads": threads,
        "clock": "processor" if threads == 1 else "wall",
        "protocol": {"batch_size": B, "prefix_length": P, "length": T},
        "settings": measured,
        "memory": {"model": measured[0]["model"], **found},
    }


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "fairseq": fairseq.__version__,
        "transformers": require_transformers().__version__,
        "genft_fairseq": genft_fairseq.__version__,
    }


def _compare_in(twins: Twins, sizes: tuple[int, int, int], work: Work) -> dict[str, Any]:
    B, P, T = work.shape
    few, short = min(WARM_UP[0], work.prefixes), min(WARM_UP[1], T)
    seconds: dict[str, Seconds] = {}
    agreeing: dict[str, int | None] = {}
    for name in work.names:
        seconds[name] = {clock: {side: [] for side in SIDES} for clock in CLOCKS}
        _complete_by_both(twins, WAYS[name], few, (B, P, short), 0)
    with Progress(console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        bar = progress.add_task(",".join(map(str, sizes)), total=sum(map(work.rounds, work.names)))
        for index in range(max(map(work.rounds, work.names))):
            for name in [name for name in work.names if index < work.rounds(name)]:
                given = (twins, WAYS[name], work.number(name), work.shape, index)
                elapsed, agreeing[name] = _complete_by_both(*given)
                for clock, side in ((clock, side) for clock in CLOCKS for side in SIDES):
                    seconds[name][clock][side].append(elapsed[side][clock])
                progress.update(bar, advance=1, refresh=True)
    layers, width, heads = sizes
    vocabulary = len(twins.ours.dictionary) - SYMBOLS
    return {
        "model": {"layers": layers, "width": width, "heads": heads, "vocabulary": vocabulary},
        "parameters": sum(parameter.numel() for parameter in twins.theirs.parameters()),
        "searches": {
            name: {
                "repeats": work.rounds(name),
                "prefixes": work.number(name),
                "agreeing": agreeing[name],
                **{clock: _figures(seconds[name][clock], work.number(name)) for clock in CLOCKS},
            }
            for name in work.names
        },
    }


def _complete_by_both(
    twins: Twins, way: Way, number: int, shape: Shape, index: int
) -> tuple[dict[str, dict[str, float]], int | None]:
    """Return the time of either side by every clock, and how many texts agree."""
    elapsed, written = {}, {}
    for side in reversed(SIDES) if index % 2 else SIDES:
        start = {clock: read() for clock, read in CLOCKS.items()}
        written[side] = SIDES[side](twins, way, number, shape)
        elapsed[side] = {clock: read() - start[clock] for clock, read in CLOCKS.items()}
    same = written["ours"] == written["theirs"]  # of one shape, or this raises
    return elapsed, None if way.drawn else int(same.all(dim=1).sum())


def _figures(seconds: dict[str, list[float]], number: int) -> dict[str, Any]:
    metrics: dict[str, Any] = {}
    for side in SIDES:
        known = summarise(seconds[side], seconds[side])
        metrics[side] = {name: known[name] for name in ("median_s", "min_s")}
        metrics[side]["per_second"] = round(number / known["median_s"], 3)
    ratios = summarise(seconds["theirs"], seconds["ours"])
    return {**metrics, **{name: value for name, value in ratios.items() if "ratio" in name}}
