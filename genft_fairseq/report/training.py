"""What one run of training tells about itself: its log, its command, its cost."""

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genft_fairseq.errors import UserError
from genft_fairseq.experiments.data_folders import flag_values
from genft_fairseq.experiments.training_log import (
    LAST,
    Checkpoint,
    TrainingLog,
    read_checkpoint,
    read_training_log,
)
from genft_fairseq.report.recipe import Data, Recipe, read_data, read_recipe
from genft_fairseq.report.run_folders import (
    CRASHED,
    FINISHED,
    RUNNING,
    STOPPED,
    RunFolder,
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


@dataclass
class Training:
    """A run of training.

    Attributes:
        found: its name, seed and folder.
        state: see ``run_state``.
        log: figures by update.
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
        """Return the figures by update of ``validation`` or ``training``."""
        if part == "training":  # a bar on a terminal leaves a line an epoch alone
            return self.log.training or self.log.epochs
        return self.log.validation

    def method_metrics(self) -> set[str]:
        """Return the names of the figures that the training method logs of its own."""
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
    """Read a run as it is now; one that is going on, or crashed, is no error.

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
    path, record = folder / "command", folder / "genft.json"
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
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    numbers = ("updates", "train_seconds", "seconds", "average_memory_mib", "peak_memory_mib")
    wrong = [name for name in numbers if not isinstance(found.get(name), int | float | None)]
    return {name: value for name, value in found.items() if name not in wrong}
