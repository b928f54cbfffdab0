"""The comparison of all losses at all shapes, as the JSON of ``losses.py`` holds it.

``projection.py`` writes the same, with shapes [B, T, D, V].

command     the command line
versions    python, torch, fairseq, genft_fairseq
hardware    processor, cores, gpus
device      type ("cpu" or "cuda"), name
threads     of torch on the CPU
dtype       of the logits
clock       "processor" or "wall"
shapes      a list, in the order given:
  shape         [B, T, V]
  logits_bytes
  losses        for each loss by name (``loss_tables.LOSSES`` says what each is) either
    skipped         the reason, alone; or
    loss_nats       the loss, a sum over the B * T positions
    repeats         rounds it took part in
    median_s        seconds by the clock
    min_s           seconds
    ratio_median    median over its rounds of (its time / the time of cross_entropy)
    ratio_min       the smallest of the same ratios
    ratio_quartiles [first, third] quartile of the same ratios
    wall            repeats to ratio_quartiles once more, by the wall clock
    peak_bytes      peak memory above the inputs, their gradients included
    peak_ratio      peak_bytes / that of cross_entropy; null where the latter is 0
"""

import platform
from collections.abc import Mapping, Sequence
from typing import Any

import fairseq
import torch
from loss_measurement import Shape, Workload, dense_bytes, peak_bytes, time_losses
from loss_tables import BASELINE
from rich.console import Console
from rich.progress import Progress

import genft_fairseq
from genft_fairseq.provenance import hardware, processor


class NoResultError(Exception):
    """The comparison cannot be made; the message says why."""


def compare(
    command: str,
    workload: Workload,
    shapes: Sequence[Shape],
    names: Sequence[str],
    dtype: str,
    device: str,
    threads: int | None,
    **limits: Any,
) -> dict[str, Any]:
    """Measure the losses of these names at every shape.

    Raises:
        NoResultError: no such device, or not even the baseline fits into memory.
    """
    found = conditions(command, dtype, device, threads)
    return {
        **found,
        "shapes": [compare_at(workload, shape, names, found, **limits) for shape in shapes],
    }


def conditions(command: str, dtype: str, device: str, threads: int | None) -> dict[str, Any]:
    """Set the number of threads, and return what the JSON says of how was measured.

    Raises:
        NoResultError: no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise NoResultError("--device cuda needs a GPU that torch can use, and there is none")
    if threads is not None:
        torch.set_num_threads(threads)
    alone = device == "cpu" and torch.get_num_threads() == 1
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
        "threads": torch.get_num_threads(),
        "dtype": dtype,
        "clock": "processor" if alone else "wall",
    }


def compare_at(
    workload: Workload,
    shape: Shape,
    names: Sequence[str],
    found: Mapping[str, Any],
    repeats: int,
    dense_repeats: int = 0,
    dense_limit_gib: float = 0.0,
) -> dict[str, Any]:
    """Measure the losses at one shape.

    Args:
        workload: the losses, and their inputs.
        shape: of the inputs.
        names: of the losses, the baseline among them.
        found: what ``conditions`` returned.
        repeats: rounds.
        dense_repeats: rounds in which the dense masks take part.
        dense_limit_gib: they are skipped where they would need more.

    Raises:
        NoResultError: not even the baseline fits into memory.
    """
    dtype, device = getattr(torch, found["dtype"]), found["device"]["type"]
    B, T, V = shape[0], shape[1], shape[-1]
    title = ",".join(map(str, shape))
    skipped: dict[str, str] = {}
    if "dense_masks" in names and dense_bytes(shape) > dense_limit_gib * 2**30:
        skipped["dense_masks"] = (
            f"needs about {dense_bytes(shape) / 2**30:.1f} GiB, "
            f"more than --dense-limit-gib {dense_limit_gib:g}"
        )
    peaks: dict[str, int] = {}
    with Progress(console=Console(stderr=True), transient=True, auto_refresh=False) as progress:
        task = progress.add_task(title, total=len(names) + repeats)

        def advance() -> None:
            progress.update(task, advance=1, refresh=True)

        # Memory first: each figure comes from a process that has not computed anything before.
        for name in names:
            if name not in skipped:
                peak = peak_bytes(workload, name, shape, dtype, device)
                if peak is None:
                    skipped[name] = "does not fit into memory"
                else:
                    peaks[name] = peak
            advance()
        if BASELINE not in peaks:
            raise NoResultError(f"{BASELINE} at {title} does not fit into memory")
        rounds = dict.fromkeys(peaks, repeats)
        if "dense_masks" in rounds:
            rounds["dense_masks"] = min(repeats, dense_repeats)
        given = (workload, rounds, shape, dtype, device, found["clock"])
        times = time_losses(*given, on_round=advance)

    losses: dict[str, Any] = {}
    for name in names:
        if name in skipped:
            losses[name] = {"skipped": skipped[name]}
            continue
        ratio = round(peaks[name] / peaks[BASELINE], 4) if peaks[BASELINE] else None
        losses[name] = {**times[name], "peak_bytes": peaks[name], "peak_ratio": ratio}
    return {"shape": list(shape), "logits_bytes": B * T * V * dtype.itemsize, "losses": losses}
