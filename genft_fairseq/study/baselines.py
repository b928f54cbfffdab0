"""What a save folder was begun from, and that only one run at a time trains in it.

fairseq goes on from ``checkpoint_last.pt`` wherever there is one, and then ignores
``--finetune-from-model`` without a word.  ``genft.json`` beside the checkpoints says which baseline
they come from, so that another one is refused.
"""

import contextlib
import fcntl
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from genft_fairseq.errors import UserError, require_regular
from genft_fairseq.evaluation.records import file_sha256, require_writable, write_whole

RECORD = "genft.json"
LOCK = "lock"


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
        raise UserError(f"{path} is no record of genft finetune ({error!r})") from error


def holds_checkpoints(save_dir: Path) -> bool:
    """Tell whether anything was trained in a folder."""
    return any(save_dir.glob("checkpoint*.pt"))


def require_beginning(save_dir: Path, asked: Beginning) -> None:
    """Refuse a folder whose checkpoints come from elsewhere.

    Raises:
        UserError: it holds checkpoints of another strategy or baseline, or that nobody knows of.
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
        write_whole(save_dir / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def training_lock(save_dir: Path) -> Iterator[int]:
    """Make the folder and hold its lock, a file descriptor that the training run inherits.

    It is held as long as any process has it open, so a run keeps it even where genft is killed.

    Raises:
        UserError: another run has it, or the folder cannot be written.
    """
    require_writable("--save-dir", save_dir / LOCK)
    save_dir.mkdir(parents=True, exist_ok=True)
    with (save_dir / LOCK).open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another run is training in {save_dir}") from error
        yield stream.fileno()
