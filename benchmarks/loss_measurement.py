"""How the time and the peak memory of a loss, forward and backward, are measured.

**Time.** All losses run in this process, one after the other in every round, in an order that
changes from round to round.  A round's times are divided by that round's ``cross_entropy``, so that
a slow stretch of a shared machine falls on both sides of a ratio.

**Memory on a CPU.** Every loss gets a fresh process of its own, which makes the logits, notes the
largest resident set so far (``getrusage``'s ``ru_maxrss``, the kernel's own count), runs the loss
once and notes it again: the difference is what the loss needs above the logits.  The kernel sees
every page that is touched, whoever allocates it: temporaries inside kernels, buffers inside an
autograd function, scratch space of a library.  A counter of tensors sees only tensors.  A fresh
process is needed because a high-water mark never falls, and because memory that an earlier loss
gave back to the allocator, but not to the kernel, could be used again unseen.  Processes are forked
from a server that has imported torch but computed nothing: a fork starts with a high-water mark
of its own and without half-copied thread pools.  A tiny run of the same loss before the first note
loads code and starts threads.  What remains uncertain is about 1 MiB, and up to a few MiB on
processors with many cores, whose kernels count pages per core.

**Memory on a GPU.** ``torch.cuda.max_memory_allocated`` in this process.
"""

import multiprocessing
import random
import resource
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

import torch
from loss_columns import Loss, build_loss, forward_backward, make_inputs
from loss_tables import BASELINE

Shape = tuple[int, int, int]

# Large enough to run the threaded code of every kernel, small enough (0.5 MiB in float32) not to
# leave memory behind that a loss could use unseen.
WARM_UP_SHAPE = (2, 16, 4096)
# float32 numbers that the dense masks hold at their peak for each logit (masks, distributions and
# their gradients), as measured: of all sequences, and besides of the one being worked on.
DENSE_NUMBERS_KEPT, DENSE_NUMBERS_AT_WORK = 8, 4


def dense_bytes(shape: Shape) -> int:
    """Estimate the peak memory of the dense masks above the logits, in bytes."""
    B, T, V = shape
    numbers = (DENSE_NUMBERS_KEPT * B + DENSE_NUMBERS_AT_WORK) * T * V
    return numbers * torch.float32.itemsize


def peak_bytes(name: str, shape: Shape, dtype: torch.dtype, device: str) -> int | None:
    """Measure the peak memory of one forward and backward pass above the logits and target.

    Returns:
        bytes; None where there is not enough memory.
    """
    if device == "cuda":
        try:
            return _peak_on_gpu(name, shape, dtype)
        except torch.OutOfMemoryError:
            return None
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "fairseq.criterions", "genft_fairseq"])
    receiver, sender = context.Pipe(duplex=False)
    arguments = (sender, name, shape, dtype, torch.get_num_threads())
    process = context.Process(target=_send_peak, args=arguments)
    process.start()
    sender.close()  # so that the end of the process ends the wait
    try:
        return receiver.recv()
    except EOFError:
        process.join()
        if process.exitcode == -signal.SIGKILL:  # what the kernel does for want of memory
            return None
        raise RuntimeError(f"measuring the memory of {name} failed") from None
    finally:
        process.join()


def _send_peak(
    sender: Connection, name: str, shape: Shape, dtype: torch.dtype, threads: int
) -> None:
    torch.set_num_threads(threads)
    loss = build_loss(name)
    forward_backward(loss, *make_inputs(WARM_UP_SHAPE, dtype, "cpu"))
    inputs = make_inputs(shape, dtype, "cpu")
    before = _largest_resident_bytes()
    forward_backward(loss, *inputs)
    sender.send(_largest_resident_bytes() - before)


def _largest_resident_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _peak_on_gpu(name: str, shape: Shape, dtype: torch.dtype) -> int:
    loss = build_loss(name)
    forward_backward(loss, *make_inputs(WARM_UP_SHAPE, dtype, "cuda"))
    inputs = make_inputs(shape, dtype, "cuda")
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    forward_backward(loss, *inputs)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def time_losses(
    repeats: dict[str, int],
    shape: Shape,
    dtype: torch.dtype,
    device: str,
    on_round: Callable[[], None],
) -> dict[str, dict[str, Any]]:
    """Time losses side by side.

    Args:
        repeats: for each loss, in how many of the rounds it takes part; the baseline in all.
        shape: B, T, V.
        dtype: of the logits.
        device: "cpu" or "cuda".
        on_round: called after every round.

    Returns:
        for each loss its value (nats), times (seconds) and ratios, as the JSON holds them.
    """
    losses = {name: build_loss(name) for name in repeats}
    logits, target = make_inputs(shape, dtype, device)
    for name, loss in losses.items():
        if name != "dense_masks":  # slow, and what it computes with is warm by then
            forward_backward(loss, logits, target)

    values: dict[str, float] = {}
    seconds: dict[str, list[float]] = {name: [] for name in losses}
    order = random.Random(0)
    for index in range(max(repeats.values())):
        names = [name for name in losses if index < repeats[name]]
        for name in order.sample(names, len(names)):
            elapsed, values[name] = _time_once(losses[name], logits, target)
            seconds[name].append(elapsed)
        on_round()
    return {
        name: {"loss_nats": values[name], **summarise(seconds[name], seconds[BASELINE])}
        for name in losses
    }


def summarise(seconds: Sequence[float], baseline: Sequence[float]) -> dict[str, Any]:
    """Summarise a loss's times, and their ratios to the baseline's of the same rounds.

    Args:
        seconds: one number for each round the loss took part in, the first rounds of all.
        baseline: the baseline's times, at least as many.
    """
    ratios = [mine / base for mine, base in zip(seconds, baseline, strict=False)]
    quartiles = statistics.quantiles(ratios, n=4, method="inclusive") if ratios[1:] else ratios * 3
    return {
        "repeats": len(seconds),
        "median_s": round(statistics.median(seconds), 6),
        "min_s": round(min(seconds), 6),
        "ratio_median": round(quartiles[1], 4),
        "ratio_min": round(min(ratios), 4),
        "ratio_quartiles": [round(quartiles[0], 4), round(quartiles[2], 4)],
    }


def _time_once(loss: Loss, logits: torch.Tensor, target: torch.Tensor) -> tuple[float, float]:
    _synchronize(logits)
    start = time.perf_counter()
    value, gradient = forward_backward(loss, logits, target)
    _synchronize(logits)
    elapsed = time.perf_counter() - start
    del gradient  # a training step keeps it, so giving it back is not the loss's time
    return elapsed, float(value)


def _synchronize(logits: torch.Tensor) -> None:
    if logits.is_cuda:
        torch.cuda.synchronize()
