"""Which data a run was trained on: the path it named, and a fingerprint of what lies there."""

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from genft_fairseq.evaluation import records

# What fairseq-preprocess writes; the raw text beside it may be anything.
_BINARIZED = ("dict*.txt", "*.idx", "*.bin")


@dataclass(frozen=True)
class Data:
    """What a run was trained on.

    Attributes:
        path: as its command names it; several with ``:`` between them.
        sha256: of the names and bytes of all binarized files and dictionaries; None where the
            folder is not found any more.
    """

    path: str
    sha256: str | None

    @property
    def identity(self) -> str:
        """What two runs on the same data have in common."""
        return self.sha256 or self.path.rstrip("/")

    def __str__(self) -> str:
        return f"{self.path} ({self.sha256[:12] if self.sha256 else 'no longer there'})"


def read_data(path: str, run: Path) -> Data:
    """Find the data that a run's command names, and take its fingerprint as it is now.

    Args:
        path: as the command has it; a relative one is looked for from the folders above the run's,
            one of which its command was started in, and from here.
        run: the folder of the run.
    """
    found = [find_folder(part, run) for part in path.split(":")]
    if not all(found):
        return Data(path, None)
    digest = hashlib.sha256()
    for folder in found:
        digest.update(folder_sha256(folder) if folder else b"")
    return Data(path, digest.hexdigest())


def find_folder(path: str, run: Path) -> Path | None:
    """Return a data folder that a run's command names, where it still is; see ``read_data``."""
    return find_above(path, run, lambda folder: folder.is_dir() and bool(_files(folder)))


def find_above(path: str, run: Path, is_it: Callable[[Path], bool]) -> Path | None:
    """Return what a run's command names, where it still is.

    Args:
        path: as the command has it; a relative one begins in one of the folders above the run's, or
            here.
        run: the folder of the run.
        is_it: tells whether it is what is looked for.
    """
    for start in (*run.resolve().parents, Path()):
        found = start / path
        with contextlib.suppress(OSError, ValueError):  # it may be no name of a file
            if is_it(found):
                return found.resolve()
    return None


def _files(folder: Path) -> list[Path]:
    found = (path for pattern in _BINARIZED for path in folder.glob(pattern))
    return sorted(path for path in found if path.is_file())


def folder_sha256(folder: Path) -> bytes:
    """Return the SHA-256 of a data folder's files by name and content."""
    digest = hashlib.sha256()
    for path in _files(folder):
        digest.update(path.name.encode() + b"\0")
        digest.update(bytes.fromhex(file_sha256(path)))
    return digest.digest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, computed once as long as the file does not change."""
    status = path.stat()
    return _file_sha256(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1024)
def _file_sha256(path: Path, size: int, modified: int) -> str:
    """The hash of a file; ``size`` and ``modified`` make it anew when the file has changed."""
    return records.file_sha256(path)
