"""Take documents and summaries out of pairs of plain-text files, one a line in both."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from itertools import zip_longest
from pathlib import Path

from one_line_errors import PrepareError, report_errors
from raw_text import need_equal_counts, text_lines
from summary_texts import Pair, Writer, lacking

BYTE_ORDER_MARK = "\ufeff"


def clean(line: bytes, number: int) -> str:
    """Return a line without its end, and without what some editors put before a whole text."""
    text = line.decode("utf-8").rstrip("\r\n")
    return text.removeprefix(BYTE_ORDER_MARK) if number == 1 else text


def read_pairs(source: Path, target: Path) -> Iterator[Pair]:
    """Yield the pairs of two files that were checked."""
    lines = zip(text_lines(source), text_lines(target), strict=True)
    for number, (document, summary) in enumerate(lines, start=1):
        yield Pair(f"line {number} of {source}", clean(document, number), clean(summary, number))


def check(source: Path, target: Path, drop_empty: bool) -> list[str]:
    """Raise unless two files are parallel and nothing is empty; return their checksums.

    The checksums are those of the uncompressed text.
    """
    digests = [hashlib.sha256(), hashlib.sha256()]
    counts = [0, 0]
    complaint = ""
    for number, lines in enumerate(zip_longest(text_lines(source), text_lines(target)), start=1):
        for side, line in enumerate(lines):
            if line is not None:
                counts[side] += 1
                digests[side].update(line)
        if None not in lines and not complaint:
            lack = lacking(Pair("", *(clean(line or b"", number) for line in lines)))
            path = source if lack == "source" else target
            complaint = f"{path} has nothing in line {number}" if lack else ""
    need_equal_counts(dict(zip((source, target), counts, strict=True)))
    if complaint and not drop_empty:
        raise PrepareError(f"{complaint}; give --drop-empty to leave such pairs out")
    return [digest.hexdigest() for digest in digests]


def main() -> None:
    """Read the command line: `check` verifies files, `take` makes texts of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    checking = commands.add_parser("check", help="print a checksum of each file")
    taking = commands.add_parser("take", help="write SPLIT.source, SPLIT.target and labels")
    for command in (checking, taking):
        command.add_argument("--files", type=Path, nargs="+", required=True, help="pair after pair")
        command.add_argument("--drop-empty", action="store_true")
    taking.add_argument("text", type=Path)
    taking.add_argument("labels", type=Path)
    taking.add_argument("--splits", nargs="+", required=True, help="one for each pair")
    taking.add_argument("--limit", type=int, help="of training pairs")
    taking.add_argument("--dropped", type=Path, required=True, help="file for their numbers")
    args = parser.parse_args()
    pairs = list(zip(args.files[::2], args.files[1::2], strict=True))
    if args.command == "check":
        with redirect_stdout(sys.stderr):  # of progress: the shell script reads the checksums
            checksums = [
                digest for pair in pairs for digest in check(*pair, drop_empty=args.drop_empty)
            ]
        print("\n".join(checksums))
        return
    writer = Writer(args.text, args.labels)
    for split, pair in zip(args.splits, pairs, strict=True):
        writer.write(split, read_pairs(*pair), limit=args.limit if split == "train" else None)
    writer.finish(args.dropped)


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
