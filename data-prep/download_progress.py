"""Pass on what a download complains of, and tell in between how far its file has come."""

from __future__ import annotations

import os
import select
import sys
from pathlib import Path

from one_line_errors import report_errors
from progress import SECONDS_PER_PROGRESS


def watch(part: Path, log: Path) -> None:
    """Copy standard input to the log until it ends, and print the size of the file meanwhile."""
    with log.open("wb") as complaints:
        while True:
            ready, _, _ = select.select([sys.stdin.fileno()], [], [], SECONDS_PER_PROGRESS)
            if not ready:
                size = part.stat().st_size if part.exists() else 0
                print(f"    {part.stem}: {size / 1e6:.0f} MB fetched", flush=True)
                continue
            block = os.read(sys.stdin.fileno(), 1 << 16)
            if not block:
                return
            complaints.write(block)


if __name__ == "__main__":
    with report_errors():
        watch(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.exit(0)
