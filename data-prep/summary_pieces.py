"""Split documents and summaries into pieces, and cut those that are too long, if asked to.

Where nothing was asked, a text for which the model has not enough positions is an error.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from moses_tokenise import read_lines
from one_line_errors import PrepareError, report_errors
from progress import told
from summary_texts import SIDES, joined_sentences
from summary_tokenisers import (
    Encoder,
    add_arguments,
    leave_package_unrun,
    lengths,
    make_encoder,
    model_files,
    positions,
)

TEXTS_PER_TASK = 100
FAIRSEQ_SYMBOLS = {"<s>", "<pad>", "</s>", "<unk>"}  # which no file of a dictionary has

encoder: Encoder  # of one process


class Task(NamedTuple):
    """Texts of one side that are encoded together, and what they are cut to."""

    side: str
    texts: list[str]
    most: int | None


class Encoded(NamedTuple):
    """The pieces of a text, and how many it had before it was cut, `</s>` included."""

    line: str
    length: int


def begin_process(args: argparse.Namespace) -> None:
    """Load the tokeniser once for each process."""
    # An interrupt is for the parent to see; the workers would each print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    leave_package_unrun()
    global encoder
    encoder = make_encoder(args)


def encode(task: Task) -> list[Encoded]:
    """Encode texts, and cut those that are too long."""
    found = []
    for text, symbols in zip(task.texts, encoder.encode(task.side, task.texts, None), strict=True):
        length = len(symbols) + 1
        if task.most is not None and length > task.most:
            (symbols,) = encoder.encode(task.side, [text], task.most)
        found.append(Encoded(" ".join(symbols), length))
    return found


def make_tasks(texts: Iterator[str], side: str, most: int | None) -> Iterator[Task]:
    """Yield the texts of a file, some at a time."""
    while batch := list(islice(texts, TEXTS_PER_TASK)):
        yield Task(side, batch, most)


def read_texts(args: argparse.Namespace, split: str, side: str) -> Iterator[str]:
    """Yield what is encoded of each line."""
    for line in read_lines(args.text / f"{split}.{side}"):
        yield args.prefix + line if side == "source" else joined_sentences(line)


class Sink:
    """Writes the pieces of one side, and complains of what the model cannot take."""

    def __init__(self, args: argparse.Namespace, side: str) -> None:
        """Look up what the model can take."""
        self.args = args
        self.side = side
        self.most = lengths(args)[side]
        self.limit: int | None = None
        self.known: set[str] | None = None  # GPT-2's dictionary has every piece
        if args.model:
            self.limit = positions(args.model)[side] if self.most is None else None
            names = ("dict.txt", f"dict.{side}.txt")
            (path,) = (file for file in model_files(args.model) if file.name in names)
            symbols = (line.rpartition(" ")[0] for line in read_lines(path))
            self.known = {*symbols, *FAIRSEQ_SYMBOLS}

    def complain(self, split: str, number: int, complaint: str) -> None:
        """Raise an error about a text, by the name that the user has for it."""
        label = next(islice(read_lines(self.args.labels / split), number, None))
        raise PrepareError(f"{label}: the {self.side} {complaint}")

    def check(self, encoded: Encoded, split: str, number: int) -> None:
        """Raise if the model cannot take a text."""
        if self.limit is not None and encoded.length > self.limit:
            complaint = (
                f"has {encoded.length} tokens, </s> included, but the model has positions for "
                f"{self.limit}; give --max-{self.side}-tokens {self.limit} to cut what is longer"
            )
            self.complain(split, number, complaint)
        strange = self.known is not None and set(encoded.line.split()) - self.known
        if strange:
            complaint = f"has the token {min(strange)}, which the model's dictionary lacks"
            self.complain(split, number, complaint)

    def write(self, results: Iterable[list[Encoded]], split: str) -> tuple[int, int]:
        """Write the pieces of a split; return how many texts there were, and how many were cut."""
        name = f"{split}.{self.side}"
        count = cut = 0
        with (self.args.pieces / name).open("w", encoding="utf-8", newline="\n") as lines:
            for encoded in told((each for found in results for each in found), name, "texts"):
                self.check(encoded, split, count)
                lines.write(encoded.line + "\n")
                cut += self.most is not None and encoded.length > self.most
                count += 1
        what = f", {cut} of them cut to {self.most} tokens" if self.most is not None else ""
        print(f"    {name}: {count} texts{what}", flush=True)
        return count, cut


def main() -> None:
    """Read the command line, encode both sides of every split, and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path, help="folder of SPLIT.source and SPLIT.target")
    parser.add_argument("labels", type=Path, help="folder of what each pair is called")
    parser.add_argument("pieces", type=Path, help="folder for SPLIT.source and SPLIT.target")
    parser.add_argument("--splits", nargs="+", required=True)
    parser.add_argument("--dropped", type=Path, required=True, help="numbers of dropped pairs")
    parser.add_argument("--counts", type=Path, required=True, help="file for those of all stages")
    parser.add_argument("--workers", type=int, default=1)
    add_arguments(parser)
    args = parser.parse_args()
    counts: dict[str, int] = {}
    cuts: dict[str, int] = {}
    with multiprocessing.Pool(args.workers, begin_process, (args,)) as pool:
        for side in SIDES:
            sink = Sink(args, side)
            for split in args.splits:
                tasks = make_tasks(read_texts(args, split, side), side, sink.most)
                count, cut = sink.write(pool.imap(encode, tasks), split)
                counts[f"{split}.{side}"] = count
                if sink.most is not None:
                    cuts[f"{split}.{side}"] = cut
    stages = {"dropped": json.loads(args.dropped.read_text(encoding="utf-8")), "text": counts}
    if cuts:
        stages["cut"] = cuts
    args.counts.write_text(json.dumps({**stages, "pieces": counts}), encoding="utf-8")


if __name__ == "__main__":
    # Each process is one of --workers, and must not have threads of the library beside it.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with report_errors():
        leave_package_unrun()
        main()
    sys.exit(0)
