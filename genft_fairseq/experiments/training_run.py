"""One run of fairseq-train: its command and folder, its memory, and going on where it stopped."""

import json
import math
import shlex
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from genft_fairseq.errors import UserError, require_regular
from genft_fairseq.experiments.configuration import Comparison, Entry
from genft_fairseq.experiments.job import Job
from genft_fairseq.experiments.strategies import USER_DIR, strategy_flags
from genft_fairseq.experiments.training_log import (
    LAST,
    TRAINING_BEGINS,
    TrainingLog,
    read_checkpoint,
    read_checkpoints,
    read_training_log,
    token_loss,
)
from genft_fairseq.files import locked, write_atomic

MIB = 2**20
SAMPLE_SECONDS = 1.0
RECORD_SECONDS = 10.0
MEMORY = ("average_memory_mib", "peak_memory_mib")
_SMI = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]


def train_command(comparison: Comparison, entry: Entry, seed: int, device: list[str]) -> list[str]:
    """Return the command that trains a strategy from one seed."""
    updates = comparison.updates
    # Enough points for a curve, and for the equal-time checkpoint to be near.
    saved_every = max(1, updates // comparison.checkpoints)
    logged_every = max(1, updates // 50)
    return [
        *("fairseq-train", str(comparison.data), "--user-dir", USER_DIR),
        *strategy_flags(entry.strategy, comparison.task),
        *("--source-lang", comparison.source_lang, "--target-lang", comparison.target_lang),
        *comparison.train,
        *entry.flags,
        *device,
        *("--seed", str(seed), "--max-update", str(updates)),
        *("--finetune-from-model", str(comparison.baseline)),
        *("--save-dir", str(run_folder(comparison, entry, seed))),
        *("--save-interval-updates", str(saved_every), "--keep-interval-updates", "-1"),
        *("--no-epoch-checkpoints", "--log-format", "simple"),
        *("--log-interval", str(logged_every)),
    ]


def run_folder(comparison: Comparison, entry: Entry, seed: int) -> Path:
    """Return where a strategy's run from one seed lies."""
    return comparison.output / f"seed-{seed}" / entry.slug


def device_flags(words: Sequence[str]) -> list[str]:
    """Return ``--cpu`` where there is no GPU and the flags do not say so already."""
    import torch

    return [] if torch.cuda.is_available() or "--cpu" in words else ["--cpu"]


def command_environment(threads: int | None) -> dict[str, str]:
    """Return what a comparison sets in the environment of its commands."""
    return {"PYTHONUNBUFFERED": "1"} | ({"OMP_NUM_THREADS": str(threads)} if threads else {})


class TrainingRun(Job):
    """Training of one strategy from one seed, in a folder of its own."""

    def __init__(self, entry: Entry, seed: int, folder: Path, words: list[str], updates: int):
        super().__init__(entry.name, seed, "train", folder / "train.log")
        self.entry, self.folder, self.command, self.updates = entry, folder, words, updates
        self.earlier, self.usage = Usage(), Usage()
        self.logged = TrainingLog()
        self.read_to, self.pending, self.is_training = 0, b"", False
        self.sampled = self.recorded = 0.0
        self.memory = resident_mib if "--cpu" in words else gpu_mib

    def require_own_folder(self) -> None:
        """Refuse a folder that another command trained.

        Raises:
            UserError: which folder, and what to do.
        """
        command = self.folder / "command"
        if not any((self.folder / name).exists() for name in ("finished", LAST)):
            return  # it failed before it trained anything: its flags may have been wrong
        if command.exists() and shlex.split(command.read_text(encoding="utf-8")) != self.command:
            raise UserError(
                f"{self.folder} was trained by another command (see {command}): remove that folder "
                "or change output"
            )

    def words(self) -> list[str]:
        return self.command

    def is_done(self) -> bool:
        if (self.folder / "finished").exists():
            return True
        # Stopped after its last checkpoint: fairseq would make one update too many.
        last = self.folder / LAST
        if last.exists() and read_checkpoint(last).updates >= self.updates:
            self._read_usage()
            self.finish()
            return True
        return False

    def start(self, environment: dict[str, str], pass_fds: Sequence[int] = ()) -> None:
        # The command inherits the lock, and holds it even where this process is killed.
        with locked(self.folder, "another run is training") as lock:
            self._read_usage()
            write_atomic(self.folder / "command", shlex.join(self.command) + "\n")
            self.read_to = self.log.stat().st_size if self.log.exists() else 0
            if (self.folder / LAST).exists():
                self.resumed_at = read_checkpoint(self.folder / LAST).updates / self.updates
            super().start(environment, (*pass_fds, lock))

    def _read_usage(self) -> None:
        path = self.folder / "usage.json"
        # Without a checkpoint the run starts anew, and what came of it before is lost.
        if path.exists() and (self.folder / LAST).exists():
            try:
                self.earlier = Usage(**json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, TypeError, RecursionError) as error:
                raise UserError(f"{path} is not what a run wrote ({error!r:.200})") from error

    def watch(self) -> None:
        self._read_log()
        now = time.monotonic()
        if now - self.sampled >= SAMPLE_SECONDS and self.process is not None:
            self.sampled = now
            mib = self.memory(self.process.pid)
            if mib is not None:
                self.usage.add(mib)
        self.usage.seconds = self.elapsed
        if now - self.recorded >= RECORD_SECONDS:
            self.recorded = now
            self._write_usage()

    def _read_log(self) -> None:
        """Take in what the log has more than at the last look."""
        with self.log.open("rb") as file:
            file.seek(self.read_to)
            new = self.pending + file.read()
            self.read_to = file.tell()
        *lines, self.pending = new.split(b"\n")
        for line in lines:
            text = line.decode("utf-8", errors="replace")
            if TRAINING_BEGINS in text and not self.is_training:
                # What importing and reading the data took is not the method's.
                self.is_training, self.usage, self.sampled = True, Usage(), 0.0
            self.logged.read(text)

    def _write_usage(self) -> None:
        usage = self.earlier + self.usage
        write_atomic(self.folder / "usage.json", json.dumps(usage.as_dict()) + "\n")
        write_atomic(self.folder / "seconds", f"{usage.seconds:.0f}\n")

    def ended(self) -> None:
        self._read_log()
        self._write_usage()

    def finish(self) -> None:
        if not (self.folder / LAST).exists():
            raise UserError(f"ended without writing {LAST}")
        checkpoints = read_checkpoints(self.folder)
        if checkpoints[-1].updates != self.updates:
            raise UserError(f"ended after {checkpoints[-1].updates} of {self.updates} updates")
        usage, logged = self.earlier + self.usage, read_training_log(self.log)
        memory = "resident" if self.memory is resident_mib else "GPU"
        if memory == "GPU" and not usage.samples:
            # In a container the driver may know the processes by other numbers than we do.
            memory = "GPU (allocated by torch)"
            for mib in logged.gpu_mib():
                usage.add(mib)
        metrics = {
            "updates": self.updates,
            "updates_per_epoch": logged.updates_per_epoch,
            "train_seconds": checkpoints[-1].train_seconds,
            "seconds": usage.seconds,
            "memory": memory,
            "average_memory_mib": usage.average_mib,
            "peak_memory_mib": usage.peak_mib or None,
            "checkpoints": [checkpoint.as_dict() for checkpoint in checkpoints],
        }
        write_atomic(self.folder / "finished", json.dumps(metrics, indent=2) + "\n")

    @property
    def fraction(self) -> float:
        if self.state == "finished":
            return 1.0
        done = max(self.logged.training, default=0) / self.updates
        return max(done, self.resumed_at) if self.state == "running" else 0.0

    @property
    def known_seconds(self) -> float | None:
        return float(read_finished(self.folder)["seconds"]) if self.state == "finished" else None

    @property
    def note(self) -> str:
        if not self.logged.training:
            return "starting"
        update = max(self.logged.training)
        metrics = self.logged.training[update]
        loss = token_loss(metrics)
        shown = "" if loss is None else f", loss {loss:.2f}"
        return f"{update}/{self.updates} updates, {metrics.get('ups', 0):.2f}/s{shown}"


def read_finished(folder: Path) -> dict[str, Any]:
    """Return what a finished run left: updates, seconds, memory, checkpoints.

    Raises:
        UserError: it is not what ``TrainingRun`` wrote.
    """
    path = folder / "finished"
    require_regular(path)
    try:
        finished: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for holder in (finished, *finished["checkpoints"]):
            _require_numbers(holder, ("updates", "train_seconds"))
        _require_numbers(finished, ("seconds",))
        _require_numbers(finished, ("updates_per_epoch", *MEMORY), may_be_none=True)
        if not all(isinstance(checkpoint["file"], str) for checkpoint in finished["checkpoints"]):
            raise TypeError("the name of a checkpoint is not text")
        finished.setdefault("memory", None)
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
        raise UserError(
            f"{path} is not what a finished run wrote ({error!r:.200}): remove it, "
            "and the same command writes it again"
        ) from error
    return finished


def _require_numbers(
    metrics: dict[str, Any], names: Sequence[str], may_be_none: bool = False
) -> None:
    for name in names:
        value = metrics[name]
        if not (value is None and may_be_none) and not math.isfinite(value):
            raise ValueError(f"{name} is {value}")
        if name == "updates" and value < 1:
            raise ValueError(f"{name} is {value}")


@dataclass
class Usage:
    """What a run used, over all the times that it was started.

    Attributes:
        seconds: from start to end, everything included.
        samples: how often the memory was looked at.
        total_mib: the sum of what was found.
        peak_mib: the most that was found.
    """

    seconds: float = 0.0
    samples: int = 0
    total_mib: float = 0.0
    peak_mib: float = 0.0

    def add(self, mib: float) -> None:
        """Take in one sample."""
        self.samples += 1
        self.total_mib += mib
        self.peak_mib = max(self.peak_mib, mib)

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.seconds + other.seconds,
            self.samples + other.samples,
            self.total_mib + other.total_mib,
            max(self.peak_mib, other.peak_mib),
        )

    @property
    def average_mib(self) -> float | None:
        """The mean over the samples."""
        return self.total_mib / self.samples if self.samples else None

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


def resident_mib(pid: int) -> float | None:
    """Return the resident memory of a process and its children in MiB; None when it is gone.

    Of children only what is theirs alone is added: pages that a forked worker shares with its
    parent are counted once.
    """
    try:
        process = psutil.Process(pid)
        total = process.memory_info().rss
        for child in process.children(recursive=True):
            total += _own_memory(child)
    except psutil.Error:
        return None
    return total / MIB


def _own_memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().uss)
    except psutil.Error:  # it has ended
        return 0


def gpu_mib(pid: int) -> float | None:
    """Return the GPU memory of a process and its children in MiB; None where none is known."""
    try:
        tree = {pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))}
        done = subprocess.run(_SMI, capture_output=True, text=True, timeout=20, check=True)
    except (psutil.Error, OSError, subprocess.SubprocessError):
        return None
    used = [line.split(",") for line in done.stdout.splitlines() if line.count(",") == 1]
    found = [float(mib) for owner, mib in used if owner.strip().isdigit() and int(owner) in tree]
    return sum(found) if found else None
