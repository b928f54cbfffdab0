"""Split distinct texts into words as fairseq's `--tokenizer moses --moses-no-escape` does.

That is Moses tokens, hyphens inside words split off as `@-@`, and nothing normalised: a typed
question then becomes the same words, and an answer that is joined again keeps its own signs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
from pathlib import Path

from fid_texts import KINDS, PARTS
from moses_tokenise import LINES_PER_TASK, read_lines, write_lines
from one_line_errors import report_errors
from sacremoses import MosesTokenizer

# The language that fairseq's commands give to Moses with `-s question`. No language has that name,
# which takes from Moses what is particular to English: the apostrophe is always a word.
LANGUAGE = "question"

tokeniser: MosesTokenizer = None  # of this process


def load() -> None:
    """Build the tokeniser of this process."""
    # An interrupt is for the parent to see; the workers would each print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    global tokeniser
    tokeniser = MosesTokenizer(LANGUAGE)


def words(line: str) -> str:
    """Return the words of one line, separated by single spaces."""
    return " ".join(tokeniser.tokenize(line, aggressive_dash_splits=True, escape=False))


def main() -> None:
    """Read the command line and tokenise the texts of every part and kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="folder of the distinct texts")
    parser.add_argument("destination", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    with multiprocessing.Pool(args.workers, load) as pool:
        for name in (f"{part}.{kind}" for part in PARTS for kind in KINDS):
            lines = pool.imap(words, read_lines(args.source / name), LINES_PER_TASK)
            write_lines(args.destination / name, lines, f"{name} tokenised")


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
