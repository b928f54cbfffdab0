"""How a run was trained, as far as two runs must have it in common to compare their methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from genft_fairseq.errors import UserError
from genft_fairseq.report.data_fingerprint import file_sha256, find_above
from genft_fairseq.study.baselines import Baseline, read_beginning
from genft_fairseq.study.data_folders import flag_values
from genft_fairseq.study.strategies import STANDARD
from genft_fairseq.study.training_log import LAST, Checkpoint, Origin, read_checkpoint

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
