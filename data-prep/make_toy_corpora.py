#!/usr/bin/env python3
"""Make two small corpora offline, with the standard library alone.

    python data-prep/make_toy_corpora.py OUT_DIR [--only language_modeling|translation] [--seed N]

- ``OUT_DIR/language_modeling/{train,valid,test}.txt``: the Python language reference, one paragraph
  a line (``language_reference.py``).
- ``OUT_DIR/translation/{train,valid,test}.{en,de}``: English and German sentences about numbers,
  dates, times and prices, one a line, words separated by spaces (``number_pairs.py``).

The same seed, on the same Python, gives the same bytes.
"""

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from language_reference import language_reference_splits
from number_pairs import number_pairs


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, so that a calling script's log stays short."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"make_toy_corpora.py: {message}\n")


def _seed(text: str) -> int:
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if seed < 0:
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, but is {text}")
    return seed


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write ``lines`` to ``path`` under a temporary name first: it is never there half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def make_language_modeling(out_dir: Path, seed: int) -> None:
    """Write the language-modelling corpus, then print its counts."""
    table = [f"{'language_modeling':<18}{'topics':>8}{'paragraphs':>12}{'words':>8}"]
    for split, topics in language_reference_splits(seed).items():
        paragraphs = [paragraph for topic in topics.values() for paragraph in topic]
        write_lines(out_dir / "language_modeling" / f"{split}.txt", paragraphs)
        words = sum(len(paragraph.split()) for paragraph in paragraphs)
        table.append(f"  {split:<16}{len(topics):>8}{len(paragraphs):>12}{words:>8}")
    print("\n".join(table))


def make_translation(out_dir: Path, seed: int) -> None:
    """Write the translation corpus, then print its counts."""
    table = [f"{'translation':<18}{'pairs':>8}{'words.en':>12}{'words.de':>10}"]
    for split, pairs in number_pairs(seed).items():
        sides = {"en": [p.english for p in pairs], "de": [p.german for p in pairs]}
        words = []
        for language, lines in sides.items():
            write_lines(out_dir / "translation" / f"{split}.{language}", lines)
            words.append(sum(len(line.split()) for line in lines))
        table.append(f"  {split:<16}{len(pairs):>8}{words[0]:>12}{words[1]:>10}")
    print("\n".join(table))


MAKERS = {"language_modeling": make_language_modeling, "translation": make_translation}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = _Parser(prog="make_toy_corpora.py", description=__doc__.split("\n")[0])
    parser.add_argument("out_dir", metavar="OUT_DIR", type=Path)
    parser.add_argument("--only", choices=tuple(MAKERS), help="make this corpus alone")
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="default: 0")
    options = parser.parse_args(arguments)
    try:
        for corpus, make in MAKERS.items():
            if options.only in (None, corpus):
                make(options.out_dir, options.seed)
    except OSError as error:
        print(
            f"make_toy_corpora.py: cannot write to {options.out_dir}: {error.strerror}",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
