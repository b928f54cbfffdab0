"""Split the words of distinct texts into pieces: the texts of both parts, a file a kind."""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import sys
from pathlib import Path

from fid_texts import KINDS, PARTS
from moses_tokenise import LINES_PER_TASK, read_lines, write_lines
from one_line_errors import report_errors
from segment_words import load, segment


def main() -> None:
    """Read the command line and write DESTINATION/KIND."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="folder of the distinct texts in words")
    parser.add_argument("destination", type=Path)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, required=True)
    parser.add_argument("--codes", type=Path, required=True)
    parser.add_argument("--vocabulary", type=Path, required=True, help="pieces and their counts")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    # A piece that the dictionary does not have would be unknown: split it further.
    with multiprocessing.Pool(args.workers, load, (args.codes, args.vocabulary, 1)) as pool:
        for kind in args.kinds:
            parts = (read_lines(args.source / f"{part}.{kind}") for part in PARTS)
            lines = itertools.chain.from_iterable(parts)
            pieces = pool.imap(segment, lines, LINES_PER_TASK)
            write_lines(args.destination / kind, pieces, f"{kind}s in pieces")


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
