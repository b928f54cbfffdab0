"""Drop training pairs that are too short, too long, or too unlike in length to be translations."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from one_line_errors import PrepareError, report_errors


def complaint(lengths: tuple[int, int], minimum: int, maximum: int, ratio: float) -> str | None:
    """Say why a pair of these token counts is dropped; None if it is kept."""
    shorter, longer = sorted(lengths)
    if shorter < minimum:
        return "too short"
    if longer > maximum:
        return "too long"
    if longer > ratio * shorter:
        return "too unlike in length"
    return None


def clean(sources: list[Path], destinations: list[Path], args: argparse.Namespace) -> Counter[str]:
    """Write the pairs that are kept and count the rest by reason."""
    reasons: Counter[str] = Counter()
    with (
        sources[0].open("rb") as first,
        sources[1].open("rb") as second,
        destinations[0].open("wb") as first_out,
        destinations[1].open("wb") as second_out,
    ):
        for one, other in zip(first, second, strict=True):
            lengths = (len(one.split()), len(other.split()))
            reason = complaint(lengths, args.min_length, args.max_length, args.length_ratio)
            reasons[reason or "kept"] += 1
            if reason is None:
                first_out.write(one)
                second_out.write(other)
    return reasons


def main() -> None:
    """Read the command line, clean one pair of files and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=Path, nargs=2, required=True)
    parser.add_argument("--destinations", type=Path, nargs=2, required=True)
    parser.add_argument("--min-length", type=int, required=True)
    parser.add_argument("--max-length", type=int, required=True)
    parser.add_argument("--length-ratio", type=float, required=True)
    args = parser.parse_args()
    reasons = clean(args.sources, args.destinations, args)
    kept = reasons.pop("kept", 0)
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    print(f"    training pairs: {kept} kept, {dropped or '0'} dropped")
    if kept == 0:
        raise PrepareError(
            "cleaning leaves no training pair: give a smaller --min-length, or a larger "
            "--max-length or --length-ratio"
        )


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
