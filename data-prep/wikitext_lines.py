"""Turn the lines of WikiText into lines for a language model: without spaces around them."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

from book_text import clean_line
from moses_tokenise import read_lines, write_lines
from one_line_errors import PrepareError, report_errors


def clean_lines(path: Path, keep_spaces: bool, keep_blank: bool) -> Iterator[str]:
    """Yield the lines of a file, all of them or those that are not blank."""
    for line in read_lines(path):
        cleaned = clean_line(line.strip(), keep_spaces)
        if cleaned or keep_blank:
            yield cleaned


def main() -> None:
    """Read the command line and make `OUTPUT/SPLIT.txt` of `INPUT/SPLIT.txt`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--blank-lines", choices=["keep", "drop"], required=True)
    parser.add_argument("--keep-spaces", action="store_true", help="inside of lines")
    parser.add_argument("--limit", type=int, help="of training lines")
    args = parser.parse_args()
    for split in ("train", "valid", "test"):
        name = f"{split}.txt"
        lines = clean_lines(args.input / name, args.keep_spaces, args.blank_lines == "keep")
        limit = args.limit if split == "train" else None
        count = write_lines(args.output / name, itertools.islice(lines, limit), name)
        if count == 0:
            raise PrepareError(f"{name} holds no text")
        print(f"    {name}: {count} lines")


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
