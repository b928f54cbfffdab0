"""One run of ``fairseq-train``, in one process or several, and what each measures of itself.

Importing torch and fairseq takes longer than a short run.  So the processes are forked from a
server that has imported them and computed nothing; what they then call is the command's own entry
point, with its own arguments.  Where a forked process could not use the GPU, each starts from
nothing.

What is measured begins with the first update after those that warm up, and ends with the last one:
reading the batches, the updates, and logging them.
"""

import contextlib
import gc
import importlib
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

# The optimizers import torch._dynamo, which takes longer than all else that a run does.
IMPORTED = ["genft_fairseq", "fairseq_cli.train", "fairseq_cli.preprocess", "torch._dynamo"]
LOOK_SECONDS = 0.01


class FailedRun(Exception):
    """A command ended with an error; the message is the last line that it printed."""


@dataclass
class Measured:
    """What a process measured of its run.

    Attributes:
        wall: seconds.
        processor: seconds, of all threads of the process.
        words: target tokens without padding.
        updates: in which these were read.
        peak_bytes: the most memory it held, resident or on the GPU, in the whole run.
    """

    wall: float = 0.0
    processor: float = 0.0
    words: int = 0
    updates: int = 0
    peak_bytes: int = 0


def train(
    commands: Sequence[list[str]],
    updates: int,
    warm_up: int,
    device: str,
    threads: int,
    folder: Path,
) -> list[Measured]:
    """Run ``fairseq-train`` in one process or several.

    Args:
        commands: the arguments of each process.
        updates: of the whole run.
        warm_up: how many of them are not measured.
        device: "cpu" or "cuda".
        threads: of torch on the CPU.
        folder: for what the processes print.

    Raises:
        FailedRun: one of them ended with an error.
    """
    given = [(["fairseq-train", *arguments], updates, warm_up, device) for arguments in commands]
    return _run(_train, given, threads, folder, device)


def preprocess(arguments: list[str], folder: Path) -> None:
    """Run ``fairseq-preprocess``.

    Raises:
        FailedRun: it ended with an error.
    """
    _run(_preprocess, [(["fairseq-preprocess", *arguments],)], 1, folder, "cpu")


def _run(
    target: Callable[..., Any], given: Sequence[tuple], threads: int, folder: Path, device: str
) -> list[Any]:
    context = _context(device)
    processes, receivers = [], []
    logs = [folder / f"{number}.log" for number in range(len(given))]
    try:
        for arguments, log in zip(given, logs, strict=True):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_begin, args=(sender, log, threads, target, arguments))
            process.start()
            sender.close()
            processes.append(process)
            receivers.append(receiver)
        # Where one fails, the others would wait for it.
        while any(p.exitcode is None for p in processes) and not any(p.exitcode for p in processes):
            time.sleep(LOOK_SECONDS)
        for process, log in zip(processes, logs, strict=True):
            if process.exitcode:
                raise FailedRun(_last_line(log) or f"ended with {process.exitcode}")
        return [receiver.recv() for receiver in receivers]
    finally:
        for process in processes:
            process.kill()
            process.join()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


@cache
def _context(device: str) -> Any:
    """Where processes come from: a server that has imported everything, if they are of use then."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    if device == "cuda":
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_send_bad_fork, args=(sender,))
        process.start()
        sender.close()
        bad = receiver.recv()
        process.join()
        if bad:  # an import has asked the driver something
            return multiprocessing.get_context("spawn")
    return context


def _send_bad_fork(sender: Connection) -> None:
    sender.send(torch.cuda._is_in_bad_fork())


def _begin(
    sender: Connection, log: Path, threads: int, target: Callable[..., Any], arguments: tuple
) -> None:
    """In the process: print into a file, and send what the target returns."""
    with log.open("w") as stream:
        for number in (1, 2):
            os.dup2(stream.fileno(), number)
    torch.set_num_threads(threads)
    try:
        sender.send(target(*arguments))
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()


def _preprocess(argv: list[str]) -> None:
    _call("fairseq_cli.preprocess", argv)


def _call(module: str, argv: list[str]) -> None:
    sys.argv = argv
    importlib.import_module(module).cli_main()


def _train(argv: list[str], updates: int, warm_up: int, device: str) -> Measured:
    meter = _Meter(updates, warm_up, on_gpu=device == "cuda")
    meter.install()
    gc.collect()
    _call("fairseq_cli.train", argv)
    measured = meter.measured
    if device == "cuda":
        measured.peak_bytes = torch.cuda.max_memory_allocated()
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        measured.peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return measured


class _Meter:
    """Reads the clocks before and after the updates that count."""

    def __init__(self, updates: int, warm_up: int, on_gpu: bool):
        self.updates, self.warm_up, self.on_gpu = updates, warm_up, on_gpu
        self.measured = Measured()
        self._done = self._depth = 0
        self._begun = (0.0, 0.0)

    def install(self) -> None:
        """Measure the trainer from now on."""
        from fairseq.trainer import Trainer

        train_step = Trainer.train_step

        @wraps(train_step)
        def measured(trainer: Any, samples: Any, *args: Any, **kwargs: Any) -> Any:
            if self._depth:  # --amp begins an update anew whose gradient overflowed
                return train_step(trainer, samples, *args, **kwargs)
            if self._done == self.warm_up:
                self._begun = self._clocks()
            self._depth += 1
            try:
                result = train_step(trainer, samples, *args, **kwargs)
            finally:
                self._depth -= 1
            self._done += 1
            if self._done > self.warm_up:
                self.measured.updates += 1
                self.measured.words += sum(s["ntokens"] for s in samples if s)
                if trainer.get_num_updates() >= self.updates:
                    self._end()
            return result

        Trainer.train_step = measured
        # The trainer does so in every update, and only the last one's peak would be left.
        torch.cuda.reset_peak_memory_stats = lambda *_: None

    def _end(self) -> None:
        wall, processor = self._clocks()
        self.measured.wall = wall - self._begun[0]
        self.measured.processor = processor - self._begun[1]

    def _clocks(self) -> tuple[float, float]:
        if self.on_gpu:
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()
