"""Copy raw text out of (gzipped) files and refuse whatever is not what a recipe expects.

Checksums are those of the *uncompressed* text: a copy that was gzipped again, by another program
or at another level, is still the same corpus.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from one_line_errors import PrepareError, report_errors
from progress import told

GZIP_MAGIC = b"\x1f\x8b"


class Copied(NamedTuple):
    """What one copied file turned out to hold."""

    path: Path
    lines: int
    sha256: str


def open_text(path: Path) -> BinaryIO:
    """Open a file for reading bytes, through gzip when its first bytes say so."""
    if not path.is_file():
        raise PrepareError(f"there is no file {path}")
    raw = path.open("rb")
    magic = raw.read(2)
    raw.seek(0)
    if magic == GZIP_MAGIC:
        return io.BufferedReader(gzip.GzipFile(fileobj=raw))
    if path.suffix == ".gz" and magic:
        raw.close()
        raise PrepareError(f"{path} is not a gzip file, in spite of its name")
    return raw


def text_lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a text, all of them UTF-8, and complain of damage and of emptiness."""
    count = 0
    try:
        with open_text(path) as lines:
            for line in told(lines, path.name):
                count += 1
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    raise PrepareError(f"{path} is not UTF-8 in line {count}") from None
                yield line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise PrepareError(
            f"{path} is a truncated or damaged gzip file ({error}); fetch it again"
        ) from None
    if count == 0:
        raise PrepareError(f"{path} is empty")


def copy_text(source: Path, destination: Path) -> Copied:
    """Copy one text byte for byte, with a line feed after the last line even if it lacks one."""
    digest = hashlib.sha256()
    count = 0
    with destination.open("wb") as copy:
        for line in text_lines(source):
            digest.update(line)
            copy.write(line if line.endswith(b"\n") else line + b"\n")
            count += 1
    return Copied(source, count, digest.hexdigest())


def need_equal_counts(counts: dict[Path, int], unit: str = "lines") -> None:
    """Raise unless parallel files are of one length."""
    (first, expected), *others = counts.items()
    for path, found in others:
        if found != expected:
            raise PrepareError(
                f"parallel files of unequal length: {first} has {expected} {unit}, "
                f"{path} has {found}"
            )


def copy_parallel(
    sources: list[Path], destinations: list[Path], checksums: list[str], lines: int | None
) -> list[Copied]:
    """Copy files that are parallel, line by line, and compare them with what is pinned.

    The checks run from the most telling complaint to the least: damage, emptiness, encoding and
    unequal length say what is wrong with a file, a checksum only says that something is.
    """
    copied = [copy_text(*pair) for pair in zip(sources, destinations, strict=True)]
    need_equal_counts({found.path: found.lines for found in copied})
    for found, expected in zip(copied, checksums, strict=False):
        if found.sha256 != expected:
            raise PrepareError(
                f"{found.path} is not the text that this recipe pins: SHA-256 of the uncompressed "
                f"text expected {expected}, found {found.sha256}"
            )
    for found in copied:
        if lines is not None and found.lines != lines:
            raise PrepareError(f"{found.path} has {found.lines} lines, expected {lines}")
    return copied


def main() -> None:
    """Read the command line, copy the files and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=Path, nargs="+", required=True)
    parser.add_argument("--destinations", type=Path, nargs="+", required=True)
    parser.add_argument("--sha256", nargs="*", default=[], help="pinned, one for each source")
    parser.add_argument("--lines", type=int, help="pinned, the same for every source")
    args = parser.parse_args()
    for found in copy_parallel(args.sources, args.destinations, args.sha256, args.lines):
        lines = "as pinned" if args.lines else "not pinned"
        text = "as pinned" if args.sha256 else "not pinned"
        print(f"    {found.path.name}: {found.lines} lines ({lines})")
        print(f"    {found.path.name}: SHA-256 {found.sha256} ({text})")


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
