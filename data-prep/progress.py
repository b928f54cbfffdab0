"""Tell from time to time how far a long loop has come, so that hours of work are seen to move."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

SECONDS_PER_PROGRESS = 10.0

Item = TypeVar("Item")


def told(items: Iterable[Item], label: str, unit: str = "lines") -> Iterator[Item]:
    """Yield the items, and print their number every ten seconds."""
    last = time.monotonic()
    for count, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last >= SECONDS_PER_PROGRESS:
            last = time.monotonic()
            print(f"    {label}: {count} {unit}", flush=True)
