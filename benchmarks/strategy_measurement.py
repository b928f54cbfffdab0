"""The comparison of all updates in all settings, as the JSON of ``strategies.py`` holds it.

All updates run in one process, on one model and one optimizer, one after the other in every round,
in an order that changes from round to round.  A round's times are divided by that round's
teacher-forced one.

The clock is the processor time of the process where one CPU thread computes: what an update would
take on an idle core, whoever else has a turn.  With several threads, and on a GPU, it is the wall.

command     the command line
versions    python, torch, fairseq, genft_fairseq
hardware    processor, cores, gpus
device      type ("cpu" or "cuda"), name
threads     of torch on the CPU
clock       "processor" or "wall"
settings    a list, in the order given:
  kind        "translation" or "language"
  size        name of the model's size
  model       its width, ffn, layers (a side), heads, vocabulary
  parameters  how many
  shape       [B, T] of the target; the source is alike
  strategies  for each by name (``strategy_tables.STRATEGIES`` says what each is) either
    skipped         the reason, alone; or
    generated       tokens that the model writes one by one in an update
    repeats, median_s, min_s, ratio_median, ratio_min, ratio_quartiles
                    by the clock, as in ``loss_comparison.py``
    ratio_max       the largest of the same ratios
    ratio_per_token (its median ratio / generated) * (B * T), null where nothing is generated
    wall            median_s, min_s, ratio_median, ... once more, by the wall clock
"""

import platform
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import fairseq
import torch
from loss_comparison import NoResultError
from loss_measurement import summarise
from rich.console import Console
from rich.progress import Progress
from strategy_models import (
    SIZES,
    build_model,
    build_optimizer,
    build_sample,
    build_task,
    dictionary_of,
    first_sentence,
    unrolled_bytes,
)
from strategy_tables import BASELINE, UNROLLED
from strategy_updates import Update, build_update

import genft_fairseq
from genft_fairseq.provenance import hardware, processor

Setting = tuple[str, str, int, int]  # kind, size, B, T


def compare(
    command: str,
    settings: Sequence[Setting],
    device: str,
    threads: int,
    **limits: Any,
) -> dict[str, Any]:
    """Measure the strategies in every setting.

    Raises:
        NoResultError: no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise NoResultError("--device cuda needs a GPU that torch can use, and there is none")
    torch.set_num_threads(threads)
    clock = "processor" if device == "cpu" and threads == 1 else "wall"
    return {
        "command": command,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "fairseq": fairseq.__version__,
            "genft_fairseq": genft_fairseq.__version__,
        },
        "hardware": hardware(),
        "device": {
            "type": device,
            "name": torch.cuda.get_device_name() if device == "cuda" else processor(),
        },
        "threads": threads,
        "clock": clock,
        "settings": [_compare_in(setting, device, clock, **limits) for setting in settings],
    }


def _compare_in(
    setting: Setting,
    device: str,
    clock: str,
    names: Sequence[str],
    repeats: int,
    unrolled_repeats: int,
    unrolled_limit_gib: float,
) -> dict[str, Any]:
    kind, size_name, B, T = setting
    size = SIZES[size_name]
    task = build_task(kind, dictionary_of(size), T)
    skipped: dict[str, str] = {}
    updates: dict[str, Update] = {}
    for name in names:
        update = build_update(name, kind, task, T)
        if update is None:
            continue
        needed = unrolled_bytes(size, name, B, T) / 2**30 if name in UNROLLED else 0.0
        if needed > unrolled_limit_gib:
            skipped[name] = (
                f"needs about {needed:.1f} GiB, more than --unrolled-limit-gib "
                f"{unrolled_limit_gib:g}"
            )
        else:
            updates[name] = update
    rounds = {
        name: min(repeats, unrolled_repeats) if name in UNROLLED else repeats for name in updates
    }
    model = build_model(kind, task, size, T).to(device)
    sample = build_sample(kind, task, B, T, device)
    title = ",".join(map(str, setting))
    with Progress(console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        bar = progress.add_task(title, total=len(updates) + sum(rounds.values()))
        metrics = time_updates(
            *(updates, rounds, model, sample, clock),
            on_update=lambda: progress.update(bar, advance=1, refresh=True),
        )
    return {
        "kind": kind,
        "size": size_name,
        "model": size.facts(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "shape": [B, T],
        "strategies": {
            name: {"skipped": skipped[name]} if name in skipped else metrics[name]
            for name in names
            if name in skipped or name in metrics
        },
    }


def time_updates(
    updates: dict[str, Update],
    rounds: dict[str, int],
    model: Any,
    sample: dict[str, Any],
    clock: str,
    on_update: Callable[[], None],
) -> dict[str, dict[str, Any]]:
    """Time updates side by side.

    Args:
        updates: by name; the baseline among them.
        rounds: for each update, in how many of the rounds it takes part; the baseline in all.
        model: in training mode.
        sample: the batch that all updates train on.
        clock: "processor" or "wall".
        on_update: called after every update.

    Returns:
        for each update its figures, as the JSON holds them.
    """
    optimizer = build_optimizer(model)
    generated: dict[str, int] = {}
    warm_up = first_sentence(sample)
    for update in updates.values():
        update.run(warm_up, model, optimizer, 0)
        on_update()
    seconds: dict[str, dict[str, list[float]]] = {
        name: {"processor": [], "wall": []} for name in updates
    }
    order = random.Random(0)
    for index in range(max(rounds.values())):
        names = [name for name in updates if index < rounds[name]]
        for name in order.sample(names, len(names)):
            elapsed, logged = _time_once(updates[name], sample, model, optimizer, index)
            generated[name] = updates[name].generated(sample, logged)
            for kind in seconds[name]:
                seconds[name][kind].append(elapsed[kind])
            on_update()

    metrics = {}
    for name, found in seconds.items():
        base = seconds[BASELINE]
        ratios = [a / b for a, b in zip(found[clock], base[clock], strict=False)]
        summary = summarise(found[clock], base[clock])
        per_token = summary["ratio_median"] * sample["ntokens"] / max(1, generated[name])
        metrics[name] = {
            "generated": generated[name],
            **summary,
            "ratio_max": round(max(ratios), 4),
            "ratio_per_token": round(per_token, 4) if generated[name] else None,
            "wall": summarise(found["wall"], base["wall"]),
        }
    return metrics


def _time_once(
    update: Update, sample: dict[str, Any], model: Any, optimizer: Any, number: int
) -> tuple[dict[str, float], dict[str, Any]]:
    _synchronize(sample)
    processor_start, wall_start = time.process_time(), time.perf_counter()
    logged = update.run(sample, model, optimizer, number)
    _synchronize(sample)
    elapsed = {
        "processor": time.process_time() - processor_start,
        "wall": time.perf_counter() - wall_start,
    }
    return elapsed, logged


def _synchronize(sample: dict[str, Any]) -> None:
    if sample["target"].is_cuda:
        torch.cuda.synchronize()
