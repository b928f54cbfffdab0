"""Files: lines with their numbers, atomic writes, locks.

A file or folder that is written here is found whole or not at all: it is written under another name
beside its own, and renamed at the end.
"""

import contextlib
import errno
import fcntl
import gzip
import hashlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from genft_fairseq.errors import UserError, require_regular

LOCK = "lock"  # the name of the lock file in a folder that one run at a time works in


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Read lines, without their ends, and their numbers from 1.

    Only a line feed ends a line.

    Args:
        path: of the file; gzipped where its name ends in ``.gz``.

    Raises:
        UserError: it cannot be read, or is not UTF-8; the message names the line.
    """
    require_regular(path)
    opened = gzip.open if path.name.endswith(".gz") else open
    number = 0
    try:
        with opened(path, "rb") as stream:
            for number, line in enumerate(stream, start=1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: line {number} is not UTF-8: {error.reason} at byte {error.start} of the line"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        beyond = f" beyond line {number}" if number else ""
        raise UserError(f"{path} cannot be read{beyond}: {reason}") from None


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def require_new(folder: Path) -> None:
    """Refuse a folder that already holds something.

    Raises:
        UserError: it is a file, or not empty.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: name a new folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty: name a new folder")


def require_writable(flag: str, path: Path) -> None:
    """Try to write where a file will be written later; nothing is left behind, no folder either.

    Raises:
        UserError: it cannot be written, or is a device or a pipe, whose place a file would take;
            the message names the flag.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{flag} {path} is not a regular file")
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{flag} {path} cannot be written: {error.strerror}") from error


def write_atomic(path: Path, content: str | bytes | Iterable[str]) -> None:
    """Write a file atomically.

    Args:
        path: of the file; its folder is made where there is none.
        content: the whole, or its parts in order.

    Raises:
        UserError: it cannot be written: the disk is full, say.
    """
    with atomic_file(path) as partial:
        if isinstance(content, bytes):
            partial.write_bytes(content)
        else:
            with partial.open("w", encoding="utf-8") as file:
                file.writelines([content] if isinstance(content, str) else content)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a path beside the one asked for; the file written there takes its name at the end.

    Args:
        path: of the file; its folder is made where there is none.

    Raises:
        UserError: it cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give a folder beside the one asked for, which takes its name at the end.

    Whatever happens before leaves nothing under the name; a kill leaves the folder beside it.

    Args:
        folder: the one asked for, which may exist if it is empty.

    Raises:
        UserError: it holds something, or cannot be written.
    """
    require_new(folder)
    folder = folder.resolve()  # a link to an empty folder cannot be replaced, but what it names can
    partial = folder.with_name(f"{folder.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        partial.rename(folder)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def locked(folder: Path, busy: str) -> Iterator[int]:
    """Hold the lock of a folder, which is made where there is none.

    The lock is held as long as any process has its file descriptor open: a child that inherits it
    keeps the lock even where this process is killed.

    Args:
        folder: that holds the lock file.
        busy: what another process does there, for the message: ``another run is training``.

    Yields:
        The file descriptor.

    Raises:
        UserError: another process holds the lock, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / LOCK).open("a")
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{busy} in {folder}") from error
        except OSError as error:
            raise UserError(f"{folder / LOCK} cannot be locked: {error.strerror}") from error
        yield stream.fileno()


def is_locked(folder: Path) -> bool:
    """Tell whether a process holds the lock of a folder."""
    lock = folder / LOCK
    if not lock.is_file():
        return False
    try:
        with lock.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
