"""Split the words of a text into pieces, as `subword-nmt apply-bpe` does, in several processes.

subword-nmt's own processes are not used: an error in one of them loses its lines without a word,
and its command does not offer them. Here text streams through, in order, and errors arrive.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
from pathlib import Path

from moses_tokenise import LINES_PER_TASK, read_lines, write_lines
from one_line_errors import report_errors
from subword_nmt.apply_bpe import BPE, read_vocabulary

segmenter: BPE = None  # of this process: its cache of words is worth keeping


def load(codes: Path, vocabulary: Path, threshold: int) -> None:
    """Build the segmenter of this process."""
    # An interrupt is for the parent to see; the workers would each print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    global segmenter
    with vocabulary.open(encoding="utf-8", newline="\n") as words:
        known = read_vocabulary(words, threshold)
    with codes.open(encoding="utf-8", newline="\n") as merges:
        segmenter = BPE(merges, vocab=known)


def segment(line: str) -> str:
    """Return the pieces of one line."""
    return segmenter.process_line(line)


def main() -> None:
    """Read the command line and segment one file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument("--codes", type=Path, required=True)
    parser.add_argument("--vocabulary", type=Path, required=True, help="pieces and their counts")
    parser.add_argument("--threshold", type=int, required=True, help="rarer pieces are split")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    initial = (args.codes, args.vocabulary, args.threshold)
    with multiprocessing.Pool(args.workers, load, initial) as pool:
        lines = pool.imap(segment, read_lines(args.source), LINES_PER_TASK)
        write_lines(args.destination, lines, f"{args.destination.name} in pieces")


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
