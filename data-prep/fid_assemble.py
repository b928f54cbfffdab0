"""Put examples of Fusion-in-Decoder together again, of the pieces of their texts.

A line a question: `<question> Q <title> T <context> P <title> T <context> P ...`, or in the frame
of text `question: Q </s> title: T context: P </s> title: T context: P ...`; and a line an answer.
What is longer than the limits, which do not count the frame, is cut at its end; a question only
where that was asked for.
"""

from __future__ import annotations

import argparse
import json
import mmap
import sys
from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from fid_texts import CONTEXT, FRAMES, KINDS, QUESTION, TITLE
from one_line_errors import PrepareError, report_errors
from progress import told

END = b"</s>"  # between passages in the frame of text, where no text can hold it


class Pieces:
    """The pieces of texts of one kind, by number; they stay on the disk."""

    def __init__(self, path: Path, limit: int) -> None:
        """Find where the lines begin; `limit` is the most pieces of a text, 0 for any number."""
        self.limit = limit
        self.cut = 0  # how often a text was
        self.begins = array("Q", [0])
        with path.open("rb") as lines:
            for line in lines:
                self.begins.append(self.begins[-1] + len(line))
            self.data = mmap.mmap(lines.fileno(), 0, access=mmap.ACCESS_READ)

    def __getitem__(self, number: int) -> bytes:
        """Return a text's pieces, no more than the limit."""
        line = self.whole(number)
        if not self.limit:
            return line
        pieces = line.split(b" ", self.limit)
        if len(pieces) <= self.limit:
            return line
        self.cut += 1
        return b" ".join(pieces[: self.limit])

    def whole(self, number: int) -> bytes:
        """Return a text's pieces, however many they are."""
        return self.data[self.begins[number] : self.begins[number + 1] - 1]

    def length(self, number: int) -> int:
        """Return the number of pieces that a text has before it is cut."""
        return len(self.whole(number).split())


def numbers(examples: Path) -> Iterator[list[int]]:
    """Yield the numbers of each example: question, answer, then title and text of passages."""
    with examples.open("rb") as lines:
        for line in lines:
            yield list(map(int, line.split()))


def name(args: argparse.Namespace, split: str, number: int) -> str:
    """Return how an error calls an example: by the user's file, its number there, its id."""
    with (args.examples / f"{split}.fid.jsonl").open(encoding="utf-8") as lines:
        identity = json.loads(next(islice(lines, number, None)))["id"]
    path = dict(zip(args.splits, args.files, strict=True))[split]
    return f"{path}: example {number} (id {identity!r})"


def check_questions(args: argparse.Namespace) -> None:
    """Raise at a question that is too long, or of which nothing is left."""
    questions = Pieces(args.pieces / "question", 0)
    for split in args.splits:
        for number, example in enumerate(numbers(args.examples / f"{split}.examples")):
            length = questions.length(example[0])
            if not length:
                raise PrepareError(
                    f"{name(args, split, number)}: its question holds no sign that is printed"
                )
            if length > args.max_question and not args.truncate_questions:
                raise PrepareError(
                    f"{name(args, split, number)}: its question is {length} pieces long, but "
                    f"--max-question is {args.max_question}; give a larger one, or "
                    "--truncate-questions"
                )


def openings(frame: str, pieces: dict[str, Pieces]) -> tuple[bytes, bytes, bytes]:
    """Return what stands before a question, before a title, and before the text of a passage."""
    if frame == "text":
        # The words of the frame, as fid_examples.py has numbered them.
        question, title, text = (pieces[kind].whole(0) for kind in ("question", "title", "text"))
        return question, END + b" " + title, text
    return QUESTION.encode(), TITLE.encode(), CONTEXT.encode()


def write_split(args: argparse.Namespace, split: str, pieces: dict[str, Pieces]) -> int:
    """Write the two files of a split, and return the number of its passages."""
    passages = 0
    before_question, before_title, before_text = openings(args.frame, pieces)
    examples = told(numbers(args.examples / f"{split}.examples"), split, "examples")
    with (
        (args.destination / f"{split}.question").open("wb") as sources,
        (args.destination / f"{split}.answer").open("wb") as targets,
    ):
        for number, (question, answer, *found) in enumerate(examples):
            target = pieces["answer"][answer]
            if not target:
                raise PrepareError(
                    f"{name(args, split, number)}: its answer holds no sign that is printed"
                )
            line = [before_question, pieces["question"][question]]
            for title, text in zip(found[::2], found[1::2], strict=True):
                line += before_title, pieces["title"][title], before_text, pieces["text"][text]
            # A title, or a text, may be empty.
            sources.write(b" ".join(part for part in line if part) + b"\n")
            targets.write(target + b"\n")
            passages += len(found) // 2
    return passages


def main() -> None:
    """Read the command line: `check` questions, or `write` lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["check", "write"])
    parser.add_argument("examples", type=Path, help="folder of the numbers")
    parser.add_argument("pieces", type=Path, help="folder of the texts")
    parser.add_argument("destination", type=Path, nargs="?")
    parser.add_argument("--splits", nargs="+", required=True)
    parser.add_argument("--files", nargs="+", required=True, help="what the user calls them")
    parser.add_argument("--frame", choices=FRAMES, default="symbols")
    parser.add_argument("--truncate-questions", action="store_true")
    for kind in KINDS:
        parser.add_argument(f"--max-{kind.replace('text', 'passage')}", type=int, required=True)
    args = parser.parse_args()
    if args.action == "check":
        check_questions(args)
        return
    limits = (args.max_question, args.max_answer, args.max_title, args.max_passage)
    pieces = {
        kind: Pieces(args.pieces / kind, limit) for kind, limit in zip(KINDS, limits, strict=True)
    }
    for split in args.splits:
        before = Counter({kind: pieces[kind].cut for kind in KINDS})
        passages = write_split(args, split, pieces)
        cut = ", ".join(f"{pieces[kind].cut - before[kind]} {kind}s" for kind in KINDS)
        print(f"    {split}: {passages} passages; cut: {cut}", flush=True)


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
