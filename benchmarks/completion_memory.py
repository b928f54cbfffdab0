"""The peak memory of ``genft evaluate-lm``, by how many prefixes it completes.

Every figure is the kernel's own count of the largest resident set of one fresh process, from its
start to its end.  A bare Python starts that process and asks for the count: a process that is
started takes over the mark of whoever starts it, and this one, with models in it, has a high one.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from completion_models import SPLIT
from loss_comparison import NoResultError

_START = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""
_GENFT = "from genft_fairseq.cli import main; main()"  # what the command genft is
MIB = 2**20


def peak_memory(
    folder: Path, numbers: tuple[int, ...], shape: tuple[int, int, int], threads: int
) -> dict[str, Any]:
    """Complete so many prefixes, and so many, each in a process of its own.

    Args:
        folder: data and model.
        numbers: of completions, in increasing order.
        shape: (B, P, T): prefixes at a time, tokens read and generated.
        threads: of torch.

    Returns:
        the runs and how much more the last one needs than the first, as the JSON holds them.

    Raises:
        NoResultError: the command failed.
    """
    runs = [
        {"completions": number, "peak_mib": round(_peak_mib(folder, number, shape, threads), 1)}
        for number in numbers
    ]
    return {"runs": runs, "growth_mib": round(runs[-1]["peak_mib"] - runs[0]["peak_mib"], 1)}


def _peak_mib(folder: Path, number: int, shape: tuple[int, int, int], threads: int) -> float:
    B, P, T = shape
    flags = {
        "--path": folder / "model.pt",
        "--split": SPLIT,
        "--mode": "completions",
        "--bpe": "none",
        "--batch-size": B,
        "--prefix-length": P,
        "--length": T,
        "--limit": number,
        # All texts are written, and the first are printed.
        "--output": folder / "figures.json",
        "--completions": folder / "texts.txt",
    }
    words = [str(word) for flag in flags.items() for word in flag]
    genft = [sys.executable, "-c", _GENFT, "evaluate-lm", str(folder), *words, "--cpu"]
    done = subprocess.run(
        [sys.executable, "-c", _START, *genft],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word of why"])[-1]
        raise NoResultError(f"genft evaluate-lm failed: {last}")
    unit = 1 if sys.platform == "darwin" else 1024
    return int(done.stdout) * unit / MIB
