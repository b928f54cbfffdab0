"""What one run of training tells about itself: its log, command, cost, data and recipe.

The data are known by a fingerprint of what lies where the command says.  The recipe is what two
runs must have in common, apart from the method, for their difference to be the method's.
"""

import contextlib
import hashlib
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from genft_fairseq import files
from genft_fairseq.errors import UserError
from genft_fairseq.experiments.data_folders import flag_values
from genft_fairseq.experiments.save_folders import RECORD, Baseline, read_beginning
from genft_fairseq.experiments.strategies import STANDARD
from genft_fairseq.experiments.training_log import (
    LAST,
    Checkpoint,
    Origin,
    TrainingLog,
    read_checkpoint,
    read_training_log,
)
from genft_fairseq.report.run_folders import (
    CRASHED,
    FINISHED,
    RUNNING,
    STOPPED,
    RunFolder,
    json_or_none,
    last_lines,
    read_json,
    run_state,
)

_CHECKPOINTS = (LAST, "checkpoint_best.pt")

# What fairseq logs of every training; everything else is the method's own.
_COMMON = {
    *("loss", "nll_loss", "ppl", "wps", "ups", "wpb", "bsz", "num_updates", "lr", "gnorm", "clip"),
    *("loss_scale", "train_wall", "gb_free", "wall", "epoch", "bleu", "symm_kl"),
    *("total", "n_correct"),  # counts of a batch, behind accuracy
}

# Criterions of maximum likelihood, and the one that fairseq-train takes where none is named.
_LIKELIHOOD = ("cross_entropy", "label_smoothed_cross_entropy", "adaptive_loss")
_DEFAULT = "cross_entropy"

# Their inputs are not gold.
_SAMPLING = "scheduled_sampling_"

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


@dataclass
class Training:
    """A run of training.

    Attributes:
        found: its name, seed and folder.
        state: see ``run_state``.
        log: metrics by update.
        last_lines: of the log, where the run did not end well.
        command: None where nothing says it.
        data: what it was trained on; None where nothing says it.
        cost: ``updates``, ``train_seconds``, ``clock``, ``peak_memory_mib``, ... as far as known.
        recipe: None where nothing says it.
    """

    found: RunFolder
    state: str
    log: TrainingLog
    last_lines: list[str] = field(default_factory=list)
    command: str | None = None
    data: Data | None = None
    cost: dict[str, Any] = field(default_factory=dict)
    recipe: Recipe | None = None

    @property
    def versions(self) -> str | None:
        """The packages that it ran with, as it logged them."""
        return self.log.versions

    def words(self) -> list[str]:
        """Return the words of its command; none where it is not known, or no command."""
        try:
            return shlex.split(self.command or "")
        except ValueError:
            return []

    def metrics(self, part: str) -> dict[int, dict[str, float]]:
        """Return the metrics by update of ``validation`` or ``training``."""
        if part == "training":  # a bar on a terminal leaves a line an epoch alone
            return self.log.training or self.log.epochs
        return self.log.validation

    def method_metrics(self) -> set[str]:
        """Return the names of the metrics that the training method logs of its own."""
        lines = (*self.metrics("training").values(), *self.log.validation.values())
        names = {name for line in lines for name in line}
        return {name for name in names - _COMMON if not name.startswith("best_")}

    def seconds_at(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return the seconds of training at any update, a straight line between known points."""
        known = self.cost.get("checkpoints") or []
        points = [(point["updates"], point["train_seconds"]) for point in known]
        if not points or not points[-1][1]:
            points = list(_wall_clock(self.metrics("training")))
            # The log knows the wall clock alone; the checkpoint knows what updates took.
            scale = (
                self.cost.get("train_seconds", 0.0) / points[-1][1]
                if points and points[-1][1]
                else 0.0
            )
            points = [(update, seconds * (scale or 1.0)) for update, seconds in points]
        updates, seconds = zip(*[(0, 0.0), *points], strict=True)
        return lambda wanted: np.interp(wanted, updates, seconds)


def _wall_clock(logged: dict[int, dict[str, float]]) -> Iterator[tuple[int, float]]:
    """The wall clock of a log, going on where a resumed run begins it anew."""
    before = offset = 0.0
    for update in sorted(logged):
        wall = logged[update].get("wall", before)
        offset += before if wall < before else 0.0
        before = wall
        yield update, offset + wall


def read_training(found: RunFolder) -> Training:
    """Read a run as it is now; one that is going on, or crashed, is not an error.

    Raises:
        UserError: a file of it is there, but cannot be read.
    """
    folder, path = found.folder, found.log
    checkpoint = _last_checkpoint(folder) if folder else None
    state = run_state(folder, path, checkpoint is not None and checkpoint.is_final)
    training = Training(
        found,
        state,
        read_training_log(path) if path else TrainingLog(),
        last_lines(path) if state in (CRASHED, STOPPED) else [],
        _command(folder) if folder else None,
    )
    words = training.words()
    data = _data_argument(words) or (checkpoint.origin.data if checkpoint else "")
    training.data = read_data(data, found.place) if data else None
    seeds = flag_values(words, "--seed")
    if found.seed is None and seeds and seeds[-1].isdecimal():
        found.seed = int(seeds[-1])
    training.cost = _cost(training, checkpoint)
    if folder is not None:
        training.recipe = read_recipe(folder, words, checkpoint, training.cost.get("updates"))
    return training


def _command(folder: Path) -> str | None:
    path, record = folder / "command", folder / RECORD
    if path.is_file():
        return path.read_text(encoding="utf-8", errors="replace").strip()
    if record.is_file():
        found = read_json(record)
        return str(found["command"]) if isinstance(found, dict) and "command" in found else None
    return None


def _data_argument(words: list[str]) -> str | None:
    """The data folder: what stands behind the command's name, as everything of ours writes it."""
    begin = next((i for i, word in enumerate(words) if word.endswith(("-train", ".train"))), None)
    if begin is None or begin + 1 >= len(words) or words[begin + 1].startswith("-"):
        return None
    return words[begin + 1]


def _cost(training: Training, checkpoint: Checkpoint | None) -> dict[str, Any]:
    folder, log = training.found.folder, training.log
    cost: dict[str, Any] = {}
    if folder is not None and (folder / "finished").is_file():
        cost = _json_object(folder / "finished")
    logged = training.metrics("training")
    is_last = checkpoint is not None and (checkpoint.file == LAST or not logged)
    if checkpoint is not None and is_last and "train_seconds" not in cost:
        # 0 seconds where fairseq trained without the plugin: not known
        seconds = {"train_seconds": checkpoint.train_seconds} if checkpoint.train_seconds else {}
        cost |= {"updates": checkpoint.updates, **seconds}
    if logged:
        cost.setdefault("updates", max([*logged, *log.validation]))
        gib = log.gpu_mib()
        if gib and not cost.get("peak_memory_mib"):
            cost |= {"peak_memory_mib": max(gib), "memory": "GPU (allocated by torch)"}
    if not cost.get("train_seconds") and logged and training.state in (FINISHED, RUNNING):
        cost |= {"train_seconds": float(training.seconds_at()(np.array([cost["updates"]]))[0])}
        cost["clock"] = "wall, with validation"
    if cost.get("train_seconds") and cost.get("updates"):
        cost["seconds_per_update"] = cost["train_seconds"] / cost["updates"]
    return cost


def _last_checkpoint(folder: Path) -> Checkpoint | None:
    """What a run's last checkpoint says; None where there is none, or none that loads safely.

    With ``--no-last-checkpoints`` its best one is all that there is.
    """
    path = next((p for name in _CHECKPOINTS if (p := folder / name).is_file()), None)
    try:
        return read_checkpoint(path) if path else None
    except (UserError, OSError):
        return None


def _json_object(path: Path) -> dict[str, Any]:
    """A record that our commands write; ``finished`` of a script may be an empty file."""
    found = json_or_none(path)
    if not isinstance(found, dict):
        return {}
    numbers = ("updates", "train_seconds", "seconds", "average_memory_mib", "peak_memory_mib")
    wrong = [name for name in numbers if not isinstance(found.get(name), int | float | None)]
    return {name: value for name, value in found.items() if name not in wrong}


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
        digest.update(bytes.fromhex(cached_sha256(path)))
    return digest.digest()


def cached_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, computed once as long as the file does not change."""
    status = path.stat()
    return _sha256_as_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=1024)
def _sha256_as_of(path: Path, size: int, modified: int) -> str:
    """The hash of a file; ``size`` and ``modified`` make it anew when the file has changed."""
    return files.file_sha256(path)


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
    return Baseline(path, cached_sha256(found) if found else "") if path else None


def _updates(start: Path | None) -> int | None:
    """Return how many updates a start has had; None where it is gone, or does not tell."""
    try:
        return read_checkpoint(start).updates if start else None
    except (UserError, OSError):
        return None
