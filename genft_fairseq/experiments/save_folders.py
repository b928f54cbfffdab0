"""Save folders: the default one of a strategy, its best checkpoint, and what it was begun from.

fairseq goes on from ``checkpoint_last.pt`` wherever there is one, and then ignores
``--finetune-from-model`` without a word.  ``genft.json`` beside the checkpoints says which baseline
they come from, so that another one is refused.  One run at a time trains in a folder.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from genft_fairseq.errors import UserError, require_regular
from genft_fairseq.experiments.data_folders import flag_values, has_flag
from genft_fairseq.experiments.training_log import LAST, read_checkpoint
from genft_fairseq.files import LOCK, file_sha256, locked, require_writable, write_atomic

RECORD = "genft.json"

# With these fairseq-train does not go on from the updates that checkpoint_last.pt counts.
_ANOTHER_START = ("--reset-optimizer", "--restore-file", "--checkpoint-suffix")


def default_folder(strategy: str, baseline: Path | None = None) -> Path:
    """Return where a strategy is trained unless a user says it: never where its baseline lies.

    Args:
        strategy: its name.
        baseline: the checkpoint that fine-tuning starts from; None: training from the beginning.
    """
    folder = Path("checkpoints", strategy)
    if baseline is not None and baseline.resolve().parent == folder.resolve():
        return _finetuned(folder)
    return folder


def _finetuned(folder: Path) -> Path:
    """Where a strategy is fine-tuned from a baseline of its own name."""
    return folder.with_name(f"{folder.name}-finetuned")


def trained_folder(strategy: str) -> Path:
    """Return where a strategy was trained, by default.

    Raises:
        UserError: it was trained and fine-tuned as well, and either may be meant.
    """
    folder = default_folder(strategy)
    finetuned = _finetuned(folder)
    if holds_checkpoints(folder) and holds_checkpoints(finetuned):
        raise UserError(
            f"--strategy {strategy}: {folder} and {finetuned} both hold checkpoints: name one with "
            "--save-dir"
        )
    return finetuned if holds_checkpoints(finetuned) else folder


def holds_checkpoints(save_dir: Path) -> bool:
    """Tell whether anything was trained in a folder."""
    return any(save_dir.glob("checkpoint*.pt"))


def best_checkpoint(save_dir: Path) -> str:
    """Return the best checkpoint of a folder, or its last.

    Raises:
        UserError: it holds neither.
    """
    for name in ("checkpoint_best.pt", LAST):
        if (save_dir / name).is_file():
            return str(save_dir / name)
    raise UserError(
        f"{save_dir} holds neither checkpoint_best.pt nor checkpoint_last.pt: "
        f"train there, or give --path CKPT or another --save-dir"
    )


def finished_updates(save_dir: Path, flags: Sequence[str]) -> int | None:
    """Return the updates of a folder that is trained as far as the flags say; None where it is not.

    fairseq-train looks at ``--max-update`` after an update, and so would make one more.
    """
    limit, last = max_update(flags), save_dir / LAST
    if not limit or not last.is_file() or has_flag(flags, *_ANOTHER_START):
        return None
    try:
        updates = read_checkpoint(last).updates
    except UserError:  # fairseq-train says what is wrong with it
        return None
    return updates if updates >= limit else None


def max_update(flags: Sequence[str]) -> int | None:
    """Return what the last ``--max-update`` says; None where there is none, or no number."""
    found = flag_values(flags, "--max-update")
    return int(found[-1]) if found and found[-1].isdecimal() else None


@contextlib.contextmanager
def training_lock(save_dir: Path) -> Iterator[int]:
    """Make the folder and hold its lock, a file descriptor that the training run inherits.

    Raises:
        UserError: another run has it, or the folder cannot be written.
    """
    require_writable("--save-dir", save_dir / LOCK)
    with locked(save_dir, "another run is training") as lock:
        yield lock


@dataclass(frozen=True)
class Baseline:
    """A checkpoint that fine-tuning starts from: its path as it was typed, and its content."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Beginning:
    """What a save folder was begun from."""

    strategy: str
    baseline: Baseline

    def __str__(self) -> str:
        return f"{self.strategy} from {self.baseline.path} (SHA-256 {self.baseline.sha256[:12]})"


def read_baseline(path: Path) -> Baseline:
    """Return a checkpoint's path and the SHA-256 of its bytes."""
    require_regular(path)
    return Baseline(str(path), file_sha256(path))


def read_beginning(save_dir: Path) -> Beginning | None:
    """Return what a save folder says that it was begun from; None where it says nothing.

    Raises:
        UserError: the record cannot be read.
    """
    path = save_dir / RECORD
    require_regular(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        found = Beginning(record["strategy"], Baseline(**record["baseline"]))
        words = (found.strategy, found.baseline.path, found.baseline.sha256)
        if not all(isinstance(word, str) for word in words):
            raise TypeError("it holds something else than text")
        return found
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is not a record of genft finetune ({error!r})") from error


def require_beginning(save_dir: Path, asked: Beginning) -> None:
    """Refuse a folder whose checkpoints come from elsewhere.

    Raises:
        UserError: it holds checkpoints of another strategy or baseline, or no record of either.
    """
    if not holds_checkpoints(save_dir):
        return
    found = read_beginning(save_dir)
    if found is None:
        raise UserError(
            f"{save_dir} holds checkpoints, but no {RECORD} that says what they were begun from; "
            f"asked for is {asked}: choose another --save-dir"
        )
    if (found.strategy, found.baseline.sha256) != (asked.strategy, asked.baseline.sha256):
        raise UserError(
            f"{save_dir} was begun as {found}, but asked for is {asked}: choose another --save-dir"
        )


def require_no_beginning(save_dir: Path, strategy: str) -> None:
    """Refuse to train from the beginning in a folder of fine-tuning.

    Raises:
        UserError: it was begun from a baseline.
    """
    found = read_beginning(save_dir)
    if found is not None:
        raise UserError(
            f"{save_dir} was begun as {found}, but asked for is {strategy} from the beginning: "
            f"choose another --save-dir"
        )


def record_beginning(save_dir: Path, beginning: Beginning, command: str) -> None:
    """Write what a save folder is begun from, and by which command; one that goes on keeps its own.

    Raises:
        UserError: as ``require_beginning``.
    """
    require_beginning(save_dir, beginning)
    if not holds_checkpoints(save_dir):
        record = {**asdict(beginning), "command": command}
        write_atomic(save_dir / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
