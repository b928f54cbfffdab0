"""Take named members out of a tar, tar.gz or zip archive, and write them where the caller says.

The path that a member has in the archive is compared and never written to, so no archive decides
where on the disk its content goes. What an archive is, its first bytes say, not its name.
"""

from __future__ import annotations

import argparse
import errno
import gzip
import hashlib
import io
import lzma
import shutil
import stat
import struct
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from one_line_errors import PrepareError, report_errors
from progress import SECONDS_PER_PROGRESS

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGICS = (b"PK\x03\x04", b"PK\x05\x06")  # the second begins an empty one
BLOCK = 1 << 20
# Archives of this size take long enough for a user to ask whether anything happens.
LARGE = 200_000_000

DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError),
    *(EOFError, ValueError, OverflowError, NotImplementedError, struct.error),
)


class WatchedFile(io.BufferedReader):
    """A file that tells from time to time how much of it has been read."""

    def __init__(self, path: Path, verb: str) -> None:
        """Open a file; `verb` says in the progress what the reading is for."""
        super().__init__(io.FileIO(path))
        self.label = f"    {path.name}: {verb}"
        self.size = path.stat().st_size
        self.told = time.monotonic()

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file does."""
        if self.size >= LARGE and time.monotonic() - self.told >= SECONDS_PER_PROGRESS:
            self.told = time.monotonic()
            print(f"{self.label}, {100 * self.tell() // self.size} % of it read", flush=True)
        return super().read(size)


class StrictHeader(tarfile.TarInfo):
    """A header that may end an archive only where the archive says so itself.

    tarfile takes a damaged or missing header for the end: what lies behind would seem not to be
    there, instead of lost.
    """

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> StrictHeader:
        """Read the next header."""
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


def member_name(name: str) -> str:
    """Return a member's name without the `./` that some archives put before every one."""
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    return name


@contextmanager
def damage_reported(archive: Path) -> Iterator[None]:
    """Say of whatever the libraries choke on that the archive is damaged."""
    try:
        yield
    except (*DAMAGE, OSError) as error:
        # bzip2's complaint of its data is an OSError that no operating system has raised; a place
        # before the beginning of the file, which a damaged zip can name, is one that it has.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise PrepareError(
            f"{archive} is a truncated or damaged archive ({error}); fetch it again"
        ) from None


def verify(archive: Path, size: int | None, algorithm: str, expected: str | None) -> str:
    """Compare size and checksum with what is pinned, and return a line about both."""
    found_size = archive.stat().st_size
    if size is not None and found_size != size:
        raise PrepareError(
            f"{archive} is not the archive that this recipe pins: expected {size} bytes, "
            f"found {found_size}"
        )
    if expected is None:
        verdict = "not pinned" if size is None else "as pinned"
        return f"{archive.name}: {found_size} bytes ({verdict})"
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with WatchedFile(archive, "checking") as data:
        for block in iter(lambda: data.read(BLOCK), b""):
            digest.update(block)
    label = {"sha256": "SHA-256", "md5": "MD5"}[algorithm]
    if digest.hexdigest() != expected.lower():
        raise PrepareError(
            f"{archive} is not the archive that this recipe pins: {label} expected "
            f"{expected.lower()}, found {digest.hexdigest()}"
        )
    return f"{archive.name}: {found_size} bytes, {label} {digest.hexdigest()} (as pinned)"


def tar_members(archive: Path, raw: WatchedFile, wanted: set[str]) -> Iterator[tuple[str, IO]]:
    """Yield the wanted members of a tar, in its order, and read it to its end."""
    zipped = raw.peek(2).startswith(GZIP_MAGIC)
    # A stream: tarfile could not follow an offset backwards, whatever a header says. And gzip's
    # own reader, because tarfile's does not compare the checksum at the end.
    stream: IO[bytes] = gzip.GzipFile(fileobj=raw) if zipped else raw  # type: ignore[assignment]
    try:
        tar = tarfile.TarFile.open(fileobj=stream, mode="r|", tarinfo=StrictHeader)
    except tarfile.ReadError:
        raise PrepareError(f"{archive} is not a tar, tar.gz or zip archive") from None
    with tar:
        for info in tar:
            tar.members.clear()  # it would keep the headers of all, and some archives have 200,000
            name = member_name(info.name)
            if name in wanted:
                content = tar.extractfile(info) if info.isreg() and not info.issparse() else None
                if content is None:
                    raise PrepareError(f"{name} in {archive} is not a regular file")
                yield name, content
        while stream.read(BLOCK):
            pass


def zip_members(archive: Path, raw: WatchedFile, wanted: set[str]) -> Iterator[tuple[str, IO]]:
    """Yield the wanted members of a zip archive."""
    with zipfile.ZipFile(raw) as members:
        for info in members.infolist():
            name = member_name(info.filename)
            if name in wanted:
                mode = info.external_attr >> 16
                if info.is_dir() or (stat.S_IFMT(mode) and not stat.S_ISREG(mode)):
                    raise PrepareError(f"{name} in {archive} is not a regular file")
                try:
                    content = members.open(info)
                except (RuntimeError, NotImplementedError) as error:  # a password, a method
                    raise PrepareError(f"cannot read {name} in {archive}: {error}") from None
                with content:
                    yield name, content


def read_members(archive: Path, raw: WatchedFile, wanted: set[str]) -> Iterator[tuple[str, IO]]:
    """Yield the wanted members of an archive of any kind, in its order."""
    read = zip_members if raw.peek(4)[:4] in ZIP_MAGICS else tar_members
    yield from read(archive, raw, wanted)


def extract(archive: Path, destinations: dict[str, Path]) -> dict[str, int]:
    """Write each named member to its destination, all of them or none, and return their sizes."""
    destinations = {member_name(name): path for name, path in destinations.items()}
    parts = {name: path.with_name(path.name + ".part") for name, path in destinations.items()}
    sizes: dict[str, int] = {}
    try:
        with WatchedFile(archive, "unpacking") as raw, damage_reported(archive):
            for name, content in read_members(archive, raw, set(destinations)):
                if name in sizes:
                    raise PrepareError(f"{archive} holds {name} more than once")
                with parts[name].open("wb") as copy:
                    shutil.copyfileobj(content, copy, BLOCK)
                    sizes[name] = copy.tell()
        for name in destinations:
            if name not in sizes:
                raise PrepareError(f"{archive} holds no member {name}")
        for name, path in destinations.items():
            parts[name].replace(path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    return sizes


def main() -> None:
    """Read the command line, check the archive, and only then write the members."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument(
        "--members", nargs="*", default=[], metavar="NAME", help="without: only check the archive"
    )
    parser.add_argument("--destinations", type=Path, nargs="*", default=[], metavar="FILE")
    checksum = parser.add_mutually_exclusive_group()
    checksum.add_argument("--sha256", metavar="HEX", help="pinned, of the archive itself")
    checksum.add_argument("--md5", metavar="HEX", help="the same, where nothing better is known")
    parser.add_argument("--bytes", type=int, help="pinned size of the archive itself")
    args = parser.parse_args()
    if len(args.members) != len(args.destinations):
        parser.error("give one destination for each member")
    archive: Path = args.archive
    if not archive.is_file():
        raise PrepareError(f"there is no file {archive}")
    if archive.stat().st_size == 0:
        raise PrepareError(f"{archive} is empty")
    algorithm = "sha256" if args.md5 is None else "md5"
    verdict = verify(archive, args.bytes, algorithm, args.sha256 or args.md5)
    if not args.members or args.bytes or args.sha256 or args.md5:
        print(f"    {verdict}", flush=True)
    if not args.members:
        return
    sizes = extract(archive, dict(zip(args.members, args.destinations, strict=True)))
    for name, size in sizes.items():
        print(f"    {name}: {size} bytes", flush=True)


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
