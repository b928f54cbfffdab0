"""Normalise the punctuation of text files, split them into Moses tokens, perhaps truecase them.

Entities are not escaped (`&` stays `&`, not `&amp;`), so that detokenising gives clean text back.
Hyphens inside words are split off as `@-@`, because `--tokenizer moses` of fairseq does the same
when it tokenises what a user types and joins what a model writes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import regex
from one_line_errors import report_errors
from progress import told
from sacremoses import MosesPunctNormalizer, MosesTokenizer, MosesTruecaser

LINES_PER_TASK = 500


class Tokeniser:
    """Punctuation normalisation and tokenisation of one language; can be sent to a process."""

    def __init__(self, language: str, printing_only: bool = False, lowercase: bool = False) -> None:
        """Build the steps for a language by its two-letter code."""
        self.normaliser = MosesPunctNormalizer(language)
        self.tokeniser = MosesTokenizer(language)
        self.printing_only = printing_only
        self.lowercase = lowercase

    def __call__(self, line: str) -> str:
        """Return the tokens of one line, separated by single spaces."""
        if self.printing_only:
            line = regex.sub(r"\p{C}", " ", line)
        normalised = self.normaliser.normalize(line)
        tokens = self.tokeniser.tokenize(normalised, aggressive_dash_splits=True, escape=False)
        tokenised = " ".join(tokens)
        return tokenised.lower() if self.lowercase else tokenised


class OwnTruecaser(MosesTruecaser):
    """A truecaser that loads whatever this file wrote: its limit is meant for strangers' models."""

    MAX_MODEL_ENTRIES = sys.maxsize


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file, split at line feeds only (Unicode has others)."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            yield line.rstrip("\n")


def write_lines(path: Path, lines: Iterable[str], label: str) -> int:
    """Write lines, tell how it goes, and return their number."""
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as out:
        for line in told(lines, label):
            out.write(line + "\n")
            count += 1
    return count


def truecase(model: MosesTruecaser, line: str) -> str:
    """Return a tokenised line with the case that its words usually have inside sentences."""
    return " ".join(model.truecase(line)) if line else line


def train_truecaser(tokenised: Path, model_path: Path) -> None:
    """Learn on one side of the tokenised training text how each word is usually written."""
    trainer = OwnTruecaser()
    # Not its train(), which holds every token of the text in memory.
    casing: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for line in told(read_lines(tokenised), f"{tokenised.name}, truecasing"):
        for lowered, written, weight in trainer.learn_truecase_weights(line.split()):
            casing[lowered][written] += weight
    trainer.model = {"casing": casing}
    trainer.save_model(str(model_path))


def tokenise_files(args: argparse.Namespace) -> None:
    """Tokenise every split of every language, with the same lines in the same order."""
    for suffix, language in zip(args.suffixes, args.languages, strict=True):
        tokeniser = Tokeniser(language, args.printing_only, args.lowercase)
        # An interrupt is for the parent to see; the workers would each print a traceback.
        ignore = (signal.SIGINT, signal.SIG_IGN)
        with multiprocessing.Pool(args.workers, signal.signal, ignore) as pool:
            for split in args.splits:
                name = f"{split}.{suffix}"
                lines = pool.imap(tokeniser, read_lines(args.source / name), LINES_PER_TASK)
                count = write_lines(args.destination / name, lines, name)
                print(f"    {name}: {count} lines tokenised", flush=True)


def truecase_files(args: argparse.Namespace) -> None:
    """Truecase what was tokenised, in place, with a model of its own training split."""
    for suffix in args.suffixes:
        model_path = args.truecase_models / f"truecase-model.{suffix}"
        train_truecaser(args.destination / f"{args.splits[0]}.{suffix}", model_path)
        model = OwnTruecaser(str(model_path))
        for split in args.splits:
            path = args.destination / f"{split}.{suffix}"
            truecased = path.with_name(f"{path.name}.truecased")
            write_lines(truecased, map(partial(truecase, model), read_lines(path)), path.name)
            os.replace(truecased, path)


def main() -> None:
    """Read the command line and process `SOURCE/SPLIT.SUFFIX` to `DESTINATION/SPLIT.SUFFIX`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument("--splits", nargs="+", required=True, help="the training split first")
    parser.add_argument("--suffixes", nargs="+", required=True)
    parser.add_argument("--languages", nargs="+", required=True, help="one for each suffix")
    parser.add_argument(
        "--printing-only", action="store_true", help="spaces for control and unassigned characters"
    )
    parser.add_argument("--lowercase", action="store_true")
    parser.add_argument("--truecase-models", type=Path, help="folder; given, text is truecased")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    tokenise_files(args)
    if args.truecase_models is not None:
        truecase_files(args)


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
