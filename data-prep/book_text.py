"""Turn plain-text books into lines for a language model, and hold out the ends of the books."""

from __future__ import annotations

import argparse
import itertools
import sys
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import NamedTuple, TextIO

from gutenberg import find_body, read_lines
from one_line_errors import PrepareError, report_errors
from raw_text import copy_text

# Python and Unicode break lines at more than line feeds; what comes after us must not.
LINE_BREAKS = str.maketrans(dict.fromkeys("\r\v\f\x1c\x1d\x1e\x85\u2028\u2029", " "))
# Far more than any paragraph: the file must be of another kind.
LONGEST_PARAGRAPH = 100_000


class Style(NamedTuple):
    """How the lines of a book become lines of text: see --lines of prepare-book.sh."""

    lines: str
    keep_spaces: bool


class Book(NamedTuple):
    """A verified copy of a book, by what the user calls it, and the line ranges of its text."""

    label: str
    copy: Path
    body: list[range] | None


def clean_line(line: str, keep_spaces: bool) -> str:
    """Return a line without line breaks inside; unless spaces are kept, with single ones only."""
    return line.translate(LINE_BREAKS).rstrip() if keep_spaces else " ".join(line.split())


def open_book(source: Path, copy: Path) -> Book:
    """Copy a book, which verifies it, and say what of it is text."""
    found = copy_text(source, copy)
    body, marked = find_body(copy)
    book = Book(str(source), copy, body)
    print(f"    {source.name}: {found.lines} lines, SHA-256 {found.sha256}")
    if body is not None:
        print(
            f"    {source.name}: what is outside the Project Gutenberg markers is dropped, "
            f"{sum(map(len, body))} lines are kept"
        )
    elif marked:
        print(
            f"    {source.name}: only one of the two Project Gutenberg markers is there: "
            "nothing is dropped"
        )
    return book


def body_lines(book: Book) -> Iterator[str]:
    """Yield the lines of a book, with a blank one where something was left out."""
    if book.body is None:
        yield from read_lines(book.copy)
        return
    lines = enumerate(read_lines(book.copy))
    for part in book.body:
        for number, line in lines:
            if number in part:
                yield line
            elif number >= part.stop:
                break
        yield ""


def paragraphs(book: Book, style: Style) -> Iterator[list[str]]:
    """Yield the lines of each paragraph: one where they are joined, or each is a paragraph."""
    for blank, group in itertools.groupby(body_lines(book), lambda line: not line.strip()):
        if blank:
            continue
        cleaned = (clean_line(line, style.keep_spaces) for line in group)
        if style.lines == "each":
            yield from ([line] for line in cleaned)
            continue
        lines: list[str] = []
        size = 0
        for line in cleaned:
            lines.append(line)
            size += len(line)
            if size > LONGEST_PARAGRAPH:
                raise PrepareError(
                    f"{book.label} has more than {LONGEST_PARAGRAPH} characters without a blank "
                    "line: if each of its lines is a paragraph, give --lines each"
                )
        yield lines if style.lines == "keep" else [" ".join(lines)]


def find_cuts(lengths: list[int], valid: int, test: int) -> tuple[int, int] | None:
    """Return where validation and test text begin; None if there are not enough paragraphs.

    A part begins with the first paragraph that begins after the share of the text before it, but
    every part has a paragraph.
    """
    begins = [0, *itertools.accumulate(lengths)]
    total = begins.pop()
    last = len(lengths) - (2 if test else 1)  # where validation text may begin at the latest
    if last < 1:
        return None
    valid_begin = min(max(bisect_left(begins, total * (100 - valid - test) / 100), 1), last)
    if not test:
        return valid_begin, len(lengths)
    test_begin = bisect_left(begins, total * (100 - test) / 100)
    return valid_begin, min(max(test_begin, valid_begin + 1), last + 1)


class Writer:
    """Writes paragraphs to a file for each split, the training ones up to a limit."""

    def __init__(self, files: dict[str, TextIO], style: Style, limit: int | None) -> None:
        """Begin with nothing written."""
        self.files = files
        self.separated = style.lines == "keep"
        self.limit = limit
        self.counts = dict.fromkeys(files, 0)
        self.characters = dict.fromkeys(files, 0)

    def write(self, split: str, paragraph: list[str]) -> None:
        """Write one paragraph; kept lines show by a blank line where paragraphs part."""
        if split == "train" and self.limit is not None and self.counts[split] >= self.limit:
            return
        if self.separated and self.counts[split]:
            paragraph = ["", *paragraph]
        self.counts[split] += 1
        self.characters[split] += sum(map(len, paragraph))
        self.files[split].writelines(line + "\n" for line in paragraph)


def need_text(book: Book, count: int) -> None:
    """Raise if a book has no paragraph."""
    if count == 0:
        raise PrepareError(f"{book.label} holds no text")


def split_book(book: Book, style: Style, valid: int, test: int, writer: Writer) -> None:
    """Write a book with its last paragraphs held out."""
    lengths = [sum(map(len, paragraph)) for paragraph in paragraphs(book, style)]
    need_text(book, len(lengths))
    cuts = find_cuts(lengths, valid, test)
    if cuts is None:
        parts = "training, validation and test text" if test else "training and validation text"
        raise PrepareError(
            f"{book.label} is too small to be split: {len(lengths)} paragraphs, which blank lines "
            f"part, do not make {parts}"
            if style.lines != "each"
            else f"{book.label} is too small to be split: {len(lengths)} lines do not make {parts}"
        )
    for number, paragraph in enumerate(paragraphs(book, style)):
        split = "train" if number < cuts[0] else "valid" if number < cuts[1] else "test"
        writer.write(split, paragraph)


def copy_book(book: Book, style: Style, split: str, writer: Writer) -> None:
    """Write a book as one split, or as a part of it."""
    count = 0
    for paragraph in paragraphs(book, style):
        writer.write(split, paragraph)
        count += 1
    need_text(book, count)


def write_splits(args: argparse.Namespace) -> None:
    """Copy the books to the input folder and write SPLIT.txt to the output folder."""
    style = Style(args.lines, args.keep_spaces and args.lines != "join")
    sources = {split: getattr(args, split) for split in ("text", "train", "valid", "test")}
    # Each file given as test text is a test set of its own, named as fairseq-preprocess names them.
    tests = ["test", *(f"test{n}" for n in range(1, len(args.test)))]
    names = ["train", "valid", *(tests if args.test or (args.text and args.test_percent) else [])]
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(
                (args.output / f"{name}.txt").open("w", encoding="utf-8", newline="\n")
            )
            for name in names
        }
        writer = Writer(files, style, args.limit)
        for split, paths in sources.items():
            for number, path in enumerate(paths, start=1):
                book = open_book(path, args.input / f"{split}.{number}")
                if split == "text":
                    split_book(book, style, args.valid_percent, args.test_percent, writer)
                else:
                    name = tests[number - 1] if split == "test" else split
                    copy_book(book, style, name, writer)
    for name in names:
        print(f"    {name}: {writer.counts[name]} paragraphs, {writer.characters[name]} characters")


def main() -> None:
    """Read the command line: `digest` verifies files, `split` makes lines of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    digest = commands.add_parser("digest", help="print a checksum of the uncompressed text")
    digest.add_argument("text", type=Path, nargs="+")
    split = commands.add_parser("split")
    split.add_argument("input", type=Path, help="folder for verified copies")
    split.add_argument("output", type=Path, help="folder for the lines")
    for name in ("text", "train", "valid", "test"):
        split.add_argument(f"--{name}", type=Path, action="append", default=[])
    split.add_argument("--lines", choices=["join", "keep", "each"], required=True)
    split.add_argument("--keep-spaces", action="store_true", help="where lines are not joined")
    split.add_argument("--valid-percent", type=int, default=0)
    split.add_argument("--test-percent", type=int, default=0)
    split.add_argument("--limit", type=int)
    args = parser.parse_args()
    if args.command == "digest":
        with redirect_stdout(sys.stderr):  # of progress: the shell script reads the checksums
            checksums = [copy_text(path, Path("/dev/null")).sha256 for path in args.text]
        print("\n".join(checksums))
    else:
        write_splits(args)


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
