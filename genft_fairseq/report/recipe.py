"""How a run was trained and on which data.

Which data a run was trained on: the path it named, and a fingerprint of what lies there.

How a run was trained, as far as two runs must have it in common to compare their methods.
"""

import contextlib
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from genft_fairseq import files
from genft_fairseq.errors import UserError
from genft_fairseq.experiments.data_folders import flag_values
from genft_fairseq.experiments.save_folders import Baseline, read_beginning
from genft_fairseq.experiments.strategies import STANDARD
from genft_fairseq.experiments.training_log import LAST, Checkpoint, Origin, read_checkpoint

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
    return files.file_sha256(path)


# Criterions of maximum likelihood, and the one that fairseq-train takes where none is named.
_LIKELIHOOD = ("cross_entropy", "label_smoothed_cross_entropy", "adaptive_loss")

_DEFAULT = "cross_entropy"

# Their inputs are not gold.
_SAMPLING = "scheduled_sampling_"


@dataclass(frozen=True)
class Recipe:
    """How a run was trained.

    Attributes:
        is_standard: by maximum likelihood on gold prefixes.
        start: the checkpoint that it started from, without SHA-256 where it is not there any more;
            None: from the beginning.
        updates: since then; None where nothing says it.
    """

    is_standard: bool
    start: Baseline | None
    updates: int | None

    def __str__(self) -> str:
        updates = "unknown updates" if self.updates is None else f"{self.updates:,} updates"
        if self.start is None:
            return f"{updates} from the beginning"
        known = f"SHA-256 {self.start.sha256[:12]}" if self.start.sha256 else "no longer there"
        return f"{updates} from {self.start.path} ({known})"

    def differences(self, other: "Recipe") -> list[str]:
        """Return in what another recipe differs, apart from the method: nothing in a fair one."""
        found = []
        if _identity(self.start) != _identity(other.start):
            found.append("other starting point")
        if self.updates is None or self.updates != other.updates:
            found.append("other number of updates")
        return found


def _identity(start: Baseline | None) -> str | None:
    return None if start is None else start.sha256 or start.path


def read_recipe(
    folder: Path, words: Sequence[str], checkpoint: Checkpoint | None, updates: int | None
) -> Recipe | None:
    """Read how a run was trained; None where nothing in its folder says it.

    Args:
        folder: of the run.
        words: of its command; none where it is not known.
        checkpoint: its last one, where there is one.
        updates: as far as they are known.

    Raises:
        UserError: the record of ``genft finetune`` cannot be read.
    """
    record = read_beginning(folder)
    if record is not None:
        return Recipe(record.strategy == STANDARD, record.baseline, updates)
    origin = checkpoint.origin if checkpoint else _told_by(words)
    if origin is None:
        return None
    is_standard = origin.criterion in _LIKELIHOOD and not origin.task.startswith(_SAMPLING)
    start = find_above(origin.start, folder, Path.is_file) if origin.start else None
    if updates is not None and origin.counts_on:
        before = _updates(start)
        # More than the run's: the start has been trained further, and is another one now.
        updates = None if before is None or before > updates else updates - before
    return Recipe(is_standard, _baseline(origin.start, start), updates)


def _told_by(words: Sequence[str]) -> Origin | None:
    """What the flags of ``fairseq-train`` say; hydra's settings are in files of their own."""
    if not any(word.endswith(("fairseq-train", "fairseq_cli.train")) for word in words):
        return None

    def last(flag: str, default: str = "") -> str:
        return [default, *flag_values(words, flag)][-1]

    restored = last("--restore-file", LAST)
    is_restored = restored != LAST
    return Origin(
        criterion=last("--criterion", _DEFAULT),
        task=last("--task"),
        start=restored if is_restored else last("--finetune-from-model"),
        counts_on=is_restored and "--reset-optimizer" not in words,
    )


def _baseline(path: str, found: Path | None) -> Baseline | None:
    return Baseline(path, file_sha256(found) if found else "") if path else None


def _updates(start: Path | None) -> int | None:
    """Return how many updates a start has had; None where it is gone, or does not tell."""
    try:
        return read_checkpoint(start).updates if start else None
    except (UserError, OSError):
        return None
