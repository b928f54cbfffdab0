"""How the time and the peak memory of a loss, forward and backward, are measured.

**Time.** All losses run in this process, one after the other in every round, in an order that
changes from round to round.  A round's times are divided by that round's ``cross_entropy``, so that
a slow stretch of a shared machine falls on both sides of a ratio.  The clock is the processor time
of the process where one CPU thread computes: what a loss would take on an idle core, whoever else
has a turn.  With several threads, and on a GPU, it is the wall.

**Memory on a CPU.** Every loss gets a fresh process of its own, which makes the inputs, notes the
largest resident set so far (``getrusage``'s ``ru_maxrss``, the kernel's own count), runs the loss
once and notes it again: the difference is what the loss needs above the inputs.  The kernel sees
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
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
from loss_tables import BASELINE
from torch import Tensor

Shape = tuple[int, ...]  # B and T come first, V last
Inputs = tuple[Tensor, ...]
Loss = Callable[..., Tensor]  # of the inputs, to a sum in nats

CLOCKS: dict[str, Callable[[], float]] = {
    "processor": time.process_time,
    "wall": time.perf_counter,
}
# float32 numbers that the dense masks hold at their peak for each logit (masks, distributions and
# their gradients), as measured: of all sequences, and besides of the one being worked on.
DENSE_NUMBERS_KEPT, DENSE_NUMBERS_AT_WORK = 8, 4


def forward_backward(loss: Loss, inputs: Inputs) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Compute the loss (nats) and its gradients with respect to the inputs that require one."""
    value = loss(*inputs)
    gradients = torch.autograd.grad(value, [given for given in inputs if given.requires_grad])
    return value.detach(), gradients


@dataclass(frozen=True)
class Workload:
    """The losses of one benchmark, and what they are computed from.

    Its functions are functions of modules, so that a fresh process can be sent their names.

    Attributes:
        build: makes a loss of its name.
        make_inputs: makes tensors of a shape, a dtype and a device.
        warm_up_shape: large enough to run the threaded code of every kernel, small enough not to
            leave memory behind that a loss could use unseen.
        run: what it is whose peak memory is measured.
        preload: modules that every fresh process would spend seconds on importing.
    """

    build: Callable[[str], Loss]
    make_inputs: Callable[[Shape, torch.dtype, str], Inputs]
    warm_up_shape: Shape
    run: Callable[[Loss, Inputs], Any] = forward_backward
    preload: tuple[str, ...] = ()


def dense_bytes(shape: Shape) -> int:
    """Estimate the peak memory of the dense masks above the logits, in bytes."""
    B, T, V = shape[0], shape[1], shape[-1]
    numbers = (DENSE_NUMBERS_KEPT * B + DENSE_NUMBERS_AT_WORK) * T * V
    return numbers * torch.float32.itemsize


def peak_bytes(
    workload: Workload, name: str, shape: Shape, dtype: torch.dtype, device: str
) -> int | None:
    """Measure the peak memory of one forward and backward pass above the inputs.

    Returns:
        bytes; None where there is not enough memory.
    """
    if device == "cuda":
        try:
            return _peak_on_gpu(workload, name, shape, dtype)
        except torch.OutOfMemoryError:
            return None
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "genft_fairseq", *workload.preload])
    receiver, sender = context.Pipe(duplex=False)
    arguments = (sender, workload, name, shape, dtype, torch.get_num_threads())
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
    sender: Connection,
    workload: Workload,
    name: str,
    shape: Shape,
    dtype: torch.dtype,
    threads: int,
) -> None:
    torch.set_num_threads(threads)
    loss = workload.build(name)
    workload.run(loss, workload.make_inputs(workload.warm_up_shape, dtype, "cpu"))
    inputs = workload.make_inputs(shape, dtype, "cpu")
    before = _largest_resident_bytes()
    workload.run(loss, inputs)
    sender.send(_largest_resident_bytes() - before)


def _largest_resident_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _peak_on_gpu(workload: Workload, name: str, shape: Shape, dtype: torch.dtype) -> int:
    loss = workload.build(name)
    workload.run(loss, workload.make_inputs(workload.warm_up_shape, dtype, "cuda"))
    inputs = workload.make_inputs(shape, dtype, "cuda")
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    workload.run(loss, inputs)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def time_losses(
    workload: Workload,
    repeats: dict[str, int],
    shape: Shape,
    dtype: torch.dtype,
    device: str,
    clock: str,
    on_round: Callable[[], None],
) -> dict[str, dict[str, Any]]:
    """Time losses side by side.

    Args:
        workload: the losses, and their inputs.
        repeats: for each loss, in how many of the rounds it takes part; the baseline in all.
        shape: of the inputs.
        dtype: of the inputs.
        device: "cpu" or "cuda".
        clock: of ``CLOCKS``.
        on_round: called after every round.

    Returns:
        for each loss its value (nats), times (seconds) and ratios, as the JSON holds them.
    """
    losses = {name: workload.build(name) for name in repeats}
    inputs = workload.make_inputs(shape, dtype, device)
    # On a GPU the allocator keeps what it was given once.  On a CPU large tensors come from the
    # kernel anew each time, and a small warm-up is all that can be had.
    small = workload.make_inputs(workload.warm_up_shape, dtype, device)
    for name, loss in losses.items():
        slow = device == "cpu" or name == "dense_masks"
        forward_backward(loss, small if slow else inputs)

    values: dict[str, float] = {}
    seconds: dict[str, dict[str, list[float]]] = {
        name: {kind: [] for kind in CLOCKS} for name in losses
    }
    order = random.Random(0)
    for index in range(max(repeats.values())):
        names = [name for name in losses if index < repeats[name]]
        for name in order.sample(names, len(names)):
            elapsed, values[name] = _time_once(losses[name], inputs)
            for kind, spent in elapsed.items():
                seconds[name][kind].append(spent)
        on_round()
    base = seconds[BASELINE]
    return {
        name: {
            "loss_nats": values[name],
            **summarise(spent[clock], base[clock]),
            "wall": summarise(spent["wall"], base["wall"]),
        }
        for name, spent in seconds.items()
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


def _time_once(loss: Loss, inputs: Inputs) -> tuple[dict[str, float], float]:
    _synchronize(inputs)
    start = {kind: read() for kind, read in CLOCKS.items()}
    value, gradients = forward_backward(loss, inputs)
    _synchronize(inputs)
    elapsed = {kind: read() - start[kind] for kind, read in CLOCKS.items()}
    del gradients  # a training step keeps them, so giving them back is not the loss's time
    return elapsed, float(value)


def _synchronize(inputs: Inputs) -> None:
    if inputs[0].is_cuda:
        torch.cuda.synchronize()
