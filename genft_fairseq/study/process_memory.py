"""The memory that a command and its children hold."""

import subprocess
from dataclasses import asdict, dataclass
from typing import Any

import psutil

MIB = 2**20
_SMI = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]


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
