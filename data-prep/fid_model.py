"""Texts of Fusion-in-Decoder in the pieces of an imported model, a T5 of `genft import-hf`.

A piece is the number that it has in the model: no text can become one of the symbols between parts.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from fid_dictionary import count_passages, read_dictionary
from fid_texts import FRAMES, KINDS, PARTS
from moses_tokenise import LINES_PER_TASK, read_lines, write_lines
from one_line_errors import PrepareError, report_errors
from summary_texts import SIDES
from summary_tokenisers import ModelEncoder, leave_package_unrun, user_errors
from summary_tokenisers import describe as describe_files

NO_MARKERS = "import the model with genft import-hf ... --passages N, or give --frame text"

encoder: ModelEncoder  # of this process


def check_frame(folder: Path, description: dict[str, Any]) -> None:
    """Raise if the tokeniser puts symbols before texts, which here are parts of a line."""
    for side in SIDES:
        prefix = description[side].get("prefix")
        if prefix:
            raise PrepareError(
                f"--model: the tokeniser of {folder} puts {' '.join(prefix)} before every text, "
                "but Fusion-in-Decoder joins texts to one line: take a model without, a T5"
            )
    if not (folder / "dict.txt").is_file():
        raise PrepareError(
            f"--model: {folder} has a dictionary for each side, but Fusion-in-Decoder needs one, "
            "dict.txt: take a T5"
        )


def check_pieces(folder: Path, special: set[int | None], symbols: dict[str, int]) -> None:
    """Raise if a piece is in the tokeniser, neither special nor in the dictionary."""
    from tokenizers import Tokenizer  # an option of the package

    pieces = set(Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab().values())
    strange = [piece for piece in sorted(pieces - special) if str(piece) not in symbols]
    if strange:
        raise PrepareError(
            f"--model: {folder}/dict.txt has no {strange[0]}, but {folder}/tokenizer.json has a "
            "piece of that number: they are not of one model"
        )


def describe(folder: Path, frame: str = "symbols") -> str:
    """Check an imported model; return its checksum, passages, the version of what reads it, files.

    The passages are those that it has symbols for; in the frame of text, which needs none, 0.
    The files are those by which a data folder is read as the model's.
    """
    checksum, version, *files = describe_files(folder).split(" ")
    with user_errors() as package:
        description = package.read_description(folder)
    check_frame(folder, description)
    symbols = read_dictionary(folder / "dict.txt")
    passages = 0
    try:
        if frame == "symbols":
            passages = count_passages(symbols, folder / "dict.txt", NO_MARKERS)
    except PrepareError as error:
        raise PrepareError(f"--model: {error}") from None
    check_pieces(folder, {description["source"].get(name) for name in package.SYMBOLS}, symbols)
    return " ".join([checksum[:12], str(passages), version, *files])


def load(folder: Path) -> None:
    """Read the tokeniser of this process."""
    # An interrupt is for the parent to see; the workers would each print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    global encoder
    leave_package_unrun()
    encoder = ModelEncoder(folder)


def split(texts: list[str]) -> list[str]:
    """Return the pieces of each text, separated by spaces."""
    return [" ".join(symbols) for symbols in encoder.encode("source", texts, None)]


def batches(lines: Iterable[str]) -> Iterator[list[str]]:
    """Yield lines, some at a time."""
    left = iter(lines)
    while batch := list(islice(left, LINES_PER_TASK)):
        yield batch


def split_kinds(args: argparse.Namespace) -> None:
    """Write DESTINATION/KIND, the texts of both parts in pieces."""
    with multiprocessing.Pool(args.workers, load, (args.model,)) as pool:
        for kind in args.kinds:
            parts = (read_lines(args.source / f"{part}.{kind}") for part in PARTS)
            lines = itertools.chain.from_iterable(parts)
            pieces = itertools.chain.from_iterable(pool.imap(split, batches(lines)))
            write_lines(args.destination / kind, pieces, f"{kind}s in pieces")


def main() -> None:
    """Read the command line: `describe` checks a model, `split` texts into its pieces."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    described = commands.add_parser("describe", help="checksum, passages, version, files")
    described.add_argument("model", type=Path)
    described.add_argument("--frame", choices=FRAMES, default="symbols")
    splitting = commands.add_parser("split", help="texts into pieces")
    splitting.add_argument("source", type=Path, help="folder of the distinct texts")
    splitting.add_argument("destination", type=Path)
    splitting.add_argument("--model", type=Path, required=True)
    splitting.add_argument("--kinds", nargs="+", choices=KINDS, required=True)
    splitting.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    if args.command == "describe":
        print(describe(args.model, args.frame))
    else:
        split_kinds(args)


if __name__ == "__main__":
    # Each process is one of --workers, and must not have threads of the library beside it.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    with report_errors():
        leave_package_unrun()
        main()
    sys.exit(0)
