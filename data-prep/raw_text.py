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
from pathlib import Path
from typing import BinaryIO, NamedTuple

from one_line_errors import PrepareError, report_errors

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


def copy_text(source: Path, destination: Path) -> Copied:
    """Copy one text byte for byte, with a line feed after the last line even if it lacks one."""
    digest = hashlib.sha256()
    count = 0
    try:
        with open_text(source) as lines, destination.open("wb") as copy:
            for count, line in enumerate(lines, start=1):
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    raise PrepareError(f"{source} is not UTF-8 in line {count}") from None
                digest.update(line)
                copy.write(line if line.endswith(b"\n") else line + b"\n")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise PrepareError(
            f"{source} is a truncated or damaged gzip file ({error}); fetch it again"
        ) from None
    if count == 0:
        raise PrepareError(f"{source} is empty")
    return Copied(source, count, digest.hexdigest())


def copy_parallel(
    sources: list[Path], destinations: list[Path], checksums: list[str], lines: int | None
) -> list[Copied]:
    """Copy files that are parallel, line by line, and compare them with what is pinned.

    The checks run from the most telling complaint to the least: damage, emptiness, encoding and
    unequal length say what is wrong with a file, a checksum only says that something is.
    """
    copied = [copy_text(*pair) for pair in zip(sources, destinations, strict=True)]
    for other in copied[1:]:
        if other.lines != copied[0].lines:
            raise PrepareError(
                f"parallel files of unequal length: {copied[0].path} has {copied[0].lines} lines, "
                f"{other.path} has {other.lines}"
            )
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
        verdict = "as pinned" if args.sha256 else "not pinned"
        print(f"    {found.path.name}: {found.lines} lines, SHA-256 {found.sha256} ({verdict})")


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
