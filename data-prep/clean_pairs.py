"""Drop training pairs that are too short, too long, or too unlike in length to be translations.

Of the pairs that are kept, every so many-th can be held out for validation instead, together with
the untouched text that it was made of.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from one_line_errors import PrepareError, report_errors
from progress import told

Lines = tuple[bytes, ...]


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


def judged(rows: Iterator[Lines], args: argparse.Namespace) -> Iterator[tuple[str, Lines]]:
    """Yield each pair, and what else belongs to it, with what becomes of it."""
    kept = 0
    for row in rows:
        lengths = (len(row[0].split()), len(row[1].split()))
        reason = complaint(lengths, args.min_length, args.max_length, args.length_ratio)
        if reason is None:
            kept += 1
            held_out = args.hold_out_every is not None and kept % args.hold_out_every == 0
            reason = "held out" if held_out else "kept"
        yield reason, row


def clean(args: argparse.Namespace) -> Counter[str]:
    """Write the pairs that are kept or held out, and count all by what became of them."""
    reasons: Counter[str] = Counter()
    with ExitStack() as files:
        sources = [files.enter_context(path.open("rb")) for path in args.sources + args.untouched]
        outputs = {
            "kept": [files.enter_context(path.open("wb")) for path in args.destinations],
            "held out": [files.enter_context(path.open("wb")) for path in args.hold_out],
        }
        rows: Iterator[Lines] = zip(*sources, strict=True)
        for reason, row in judged(told(rows, "cleaning", "pairs"), args):
            reasons[reason] += 1
            # The untouched text follows those that are held out only: nobody reads the other.
            for out, line in zip(outputs.get(reason, []), row, strict=False):
                out.write(line)
    return reasons


def main() -> None:
    """Read the command line, clean one pair of files and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=Path, nargs=2, required=True)
    parser.add_argument("--destinations", type=Path, nargs=2, required=True)
    parser.add_argument("--min-length", type=int, required=True)
    parser.add_argument("--max-length", type=int, required=True)
    parser.add_argument("--length-ratio", type=float, required=True)
    parser.add_argument("--hold-out-every", type=int, metavar="N", help="of the pairs kept")
    parser.add_argument("--untouched", type=Path, nargs=2, default=[], help="raw sources")
    parser.add_argument(
        "--hold-out", type=Path, nargs=4, default=[], help="for a pair and its raw sources"
    )
    args = parser.parse_args()
    reasons = clean(args)
    kept = reasons.pop("kept", 0)
    held_out = reasons.pop("held out", 0)
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    if args.hold_out_every is not None:
        print(f"    validation pairs: {held_out}, one in {args.hold_out_every} of what is clean")
    print(f"    training pairs: {kept} kept, {dropped or '0'} dropped")
    if kept == 0:
        raise PrepareError(
            "cleaning leaves no training pair: give a smaller --min-length, or a larger "
            "--max-length or --length-ratio"
        )
    if args.hold_out_every is not None and held_out == 0:
        raise PrepareError(
            f"cleaning leaves {kept} training pairs, and validation takes one in "
            f"{args.hold_out_every}: give a larger --limit"
        )


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
