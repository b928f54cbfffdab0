"""Read examples of Fusion-in-Decoder in their public JSON, check them, and take them apart.

Of every split stay: SPLIT.examples, a line an example, with the numbers of its question and its
answer, and of title and text of each passage; SPLIT.align, which passages hold an answer;
SPLIT.fid.jsonl, what is needed to score; and raw/SPLIT.question and raw/SPLIT.answer.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import multiprocessing
import signal
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from itertools import islice
from multiprocessing.pool import Pool
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, TypeVar

from fid_texts import FRAMES, KINDS, PARTS, WORDS, DistinctTexts, one_line, spaced
from one_line_errors import PrepareError, report_errors
from progress import told
from raw_text import open_text

if TYPE_CHECKING:
    from genft_fairseq.data.fid_json import Example, PassageOrder

BLOCK = 1 << 20
EXAMPLES_AHEAD = 4  # for each worker: what is in memory

Item = TypeVar("Item")
Result = TypeVar("Result")


class Choices(NamedTuple):
    """What of an example is taken."""

    max_passages: int
    target: str | None = (
        None  # key of what to train on instead of the answer, with dots for nesting
    )


def digest(path: Path) -> str:
    """Return the SHA-256 of the uncompressed content of a file."""
    sha256 = hashlib.sha256()
    empty = sha256.digest()
    try:
        with open_text(path) as content:
            blocks = iter(lambda: content.read(BLOCK), b"")
            for block in told(blocks, f"{path.name}, checksum", "MB"):
                sha256.update(block)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise PrepareError(f"{path} is a truncated or damaged gzip file ({error})") from None
    if sha256.digest() == empty:
        raise PrepareError(f"{path} is empty")
    return sha256.hexdigest()


def in_order(
    pool: Pool, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with its result; unlike `imap`, read only so many items ahead."""
    waiting: deque[tuple[Item, Any]] = deque()
    for item in items:
        waiting.append((item, pool.apply_async(function, (item,))))
        if len(waiting) > ahead:
            first, result = waiting.popleft()
            yield first, result.get()
    for item, result in waiting:
        yield item, result.get()


def holds_answer(example: Example) -> list[bool]:
    """Tell of each passage whether its text, title left out as in DPR, holds a right answer."""
    from genft_fairseq.data.answer_match import contains_answer

    return [contains_answer(passage.text, example.answers) for passage in example.passages]


def answer_to_train_on(example: Example, key: str | None, where: str) -> str:
    """Return the target or first right answer, or what stands under another key."""
    if key is None:
        return example.answer
    found: Any = example.extra
    for name in key.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, str) or not found.strip():
        raise PrepareError(f"{where} has no text under the key {key} of --target")
    return found


def read_split(
    path: Path, choices: Choices, limit: int | None, order: PassageOrder
) -> Iterator[Example]:
    """Yield the examples of a file with no more passages than wanted, the best of them."""
    from genft_fairseq.data.fid_json import read_examples

    for number, example in enumerate(islice(read_examples(path, order=order), limit)):
        where = f"{path}: example {number} (id {example.id!r})"
        yield replace(
            example,
            passages=example.passages[: choices.max_passages],
            target=answer_to_train_on(example, choices.target, where)
            if choices.target
            else example.target,
        )


def scoring_line(example: Example, evidence: list[bool]) -> str:
    """Return the line of SPLIT.fid.jsonl: the example without the text of its passages."""
    given = replace(example, extra={}).as_json()
    for passage, holds in zip(given["ctxs"], evidence, strict=True):
        del passage["text"]
        passage["has_answer"] = holds
    return json.dumps(given, ensure_ascii=False) + "\n"


class SplitFiles:
    """The files of one split, and how many examples and passages went into them."""

    def __init__(self, output: Path, split: str, files: ExitStack) -> None:
        """Open the files."""

        def open_file(name: str) -> TextIO:
            return files.enter_context((output / name).open("w", encoding="utf-8", newline="\n"))

        self.numbers = open_file(f"examples/{split}.examples")
        self.align = open_file(f"examples/{split}.align")
        self.scoring = open_file(f"examples/{split}.fid.jsonl")
        # Of training text nothing is scored.
        raw = "/dev/null" if split == "train" else None
        self.question = open_file(raw or f"raw/{split}.question")
        self.answer = open_file(raw or f"raw/{split}.answer")
        self.examples = self.passages = self.with_evidence = 0

    def write(
        self, example: Example, evidence: list[bool], texts: dict[str, DistinctTexts]
    ) -> None:
        """Write one example."""
        numbers = [
            texts["question"].number(example.question),
            texts["answer"].number(example.answer),
        ]
        for passage in example.passages:
            numbers += texts["title"].number(passage.title), texts["text"].number(passage.text)
        self.numbers.write(" ".join(map(str, numbers)) + "\n")
        holding = [f"0-{number}" for number, holds in enumerate(evidence) if holds]
        self.align.write(" ".join(holding) + "\n")
        self.scoring.write(scoring_line(example, evidence))
        self.question.write(" ".join(example.question.split()) + "\n")
        self.answer.write(" ".join(example.answer.split()) + "\n")
        self.examples += 1
        self.passages += len(example.passages)
        self.with_evidence += bool(holding)


def take(args: argparse.Namespace) -> None:
    """Write the files of all splits, the training split first, and the distinct texts."""
    from genft_fairseq.data.fid_json import PassageOrder
    from genft_fairseq.errors import UserError

    choices = Choices(args.max_passages, args.target)
    # An interrupt is for the parent to see; the workers would each print a traceback.
    ignore = (signal.SIGINT, signal.SIG_IGN)
    with ExitStack() as files, multiprocessing.Pool(args.workers, signal.signal, ignore) as pool:
        line_of = spaced if args.verbatim else one_line
        texts = {kind: DistinctTexts(args.output / "texts", kind, files, line_of) for kind in KINDS}
        # The words of the frame are the first text of their kind: fid_assemble.py takes them there.
        words = WORDS if args.frame == "text" else {}
        for kind, word in words.items():
            texts[kind].number(word)
        for split, path in zip(args.splits, args.files, strict=True):
            for kind in KINDS:
                texts[kind].part = PARTS[split != "train"]
            limit = args.limit if split == "train" else None
            written = SplitFiles(args.output, split, files)
            order = PassageOrder(args.keep_order)
            examples = read_split(path, choices, limit, order)
            pairs = in_order(pool, holds_answer, examples, EXAMPLES_AHEAD * args.workers)
            try:
                for example, evidence in told(pairs, split, "examples"):
                    written.write(example, evidence, texts)
            except UserError as error:
                raise PrepareError(str(error)) from None
            share = 100 * written.with_evidence / written.examples
            print(
                f"    {split}: {written.examples} examples, {written.passages} passages; an answer "
                f"stands in a passage of {written.with_evidence} ({share:.1f} %)",
                flush=True,
            )
            print(f"    {split}: {order}", flush=True)
        found = ", ".join(f"{len(texts[k].numbers) - (k in words)} {k}s" for k in KINDS)
        print(f"    distinct: {found}")


def main() -> None:
    """Read the command line: `digest` prints checksums, `take` takes examples apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    checksums = commands.add_parser("digest", help="print a checksum of the uncompressed content")
    checksums.add_argument("files", type=Path, nargs="+")
    taken = commands.add_parser("take")
    taken.add_argument("output", type=Path, help="folder that has examples/, texts/ and raw/")
    taken.add_argument("--splits", nargs="+", required=True, help="the training split first")
    taken.add_argument("--files", type=Path, nargs="+", required=True, help="one for each split")
    taken.add_argument("--max-passages", type=int, required=True)
    taken.add_argument("--target", help="key of the text to train on")
    taken.add_argument("--limit", type=int, help="training examples")
    taken.add_argument("--verbatim", action="store_true", help="also words that are our symbols")
    taken.add_argument("--frame", choices=FRAMES, default="symbols")
    taken.add_argument("--keep-order", action="store_true", help="passages not by score")
    taken.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    if args.command == "digest":
        with redirect_stdout(sys.stderr):  # of progress: the shell script reads the checksums
            found = [digest(path) for path in args.files]
        print("\n".join(found))
    else:
        take(args)


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
