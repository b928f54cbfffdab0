"""What a run of fairseq-train leaves in its folder: its log, checkpoints, command and seconds.

The log is read in fairseq's formats ``simple`` and ``json``; where a resumed run repeats updates,
the later line counts.  Reading a log does not import fairseq; reading a checkpoint does.
"""

import contextlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genft_fairseq.errors import UserError, require_regular

LAST = "checkpoint_last.pt"
TRAINING_BEGINS = "Start iterating over samples"

# A figure as Python prints it.
NUMBER = r"(-?\d+(?:\.\d*)?(?:e[+-]?\d+)?|-?inf|nan)"
_TRAIN = re.compile(r"\| train_inner \| epoch \d+:\s+\d+ / (\d{1,18}) (.*)$")
_VALID = "| valid | "
_EPOCH = "| train | "
_GPU = re.compile(r"total memory = (\d+(?:\.\d*)?) GB")
_VERSIONS = re.compile(r"\| genft_fairseq \| versions: (.*)$")

# --log-format json, and the summary of an epoch, which is all that a terminal's bar leaves.
_JSON = re.compile(r"\| (train_inner|train|valid) \| (\{.*\})$")
_PIPED = re.compile(rf"(?<=\| )(\w+) {NUMBER}(?= \||$)")

# From the beginning of a word only: of a line that is one long word, search would take for ever.
_EQUAL = re.compile(rf"\b(\w+)={NUMBER}(?=, |$)")


@dataclass
class TrainingLog:
    """What a run logged.

    Attributes:
        training: by update, the metrics of a ``train_inner`` line.
        validation: by update, those of a ``valid`` line.
        epochs: by update, those of a ``train`` line, which is of a whole epoch.
        updates_per_epoch: None before the first ``train_inner`` line.
        versions: of the packages that it ran with; None where the log does not say.
        gpu_total: GiB of memory that the GPU has; None on the CPU.
    """

    training: dict[int, dict[str, float]] = field(default_factory=dict)
    validation: dict[int, dict[str, float]] = field(default_factory=dict)
    epochs: dict[int, dict[str, float]] = field(default_factory=dict)
    updates_per_epoch: int | None = None
    versions: str | None = None
    gpu_total: float | None = None

    def read(self, line: str) -> None:
        """Take in one line."""
        if found := _JSON.search(line):
            lines = {"train_inner": self.training, "train": self.epochs, "valid": self.validation}
            self._keep(lines[found[1]], _json_metrics(found[2]))
        elif found := _TRAIN.search(line):
            self.updates_per_epoch = int(found[1])
            logged = _EQUAL.findall(found[2])
            self._keep(self.training, {name: float(value) for name, value in logged})
        elif _VALID in line:
            self._keep(self.validation, piped_metrics(line))
        elif _EPOCH in line:
            self._keep(self.epochs, piped_metrics(line))
        elif found := _VERSIONS.search(line):
            self.versions = found[1]
        elif found := _GPU.search(line):
            self.gpu_total = float(found[1])

    def gpu_mib(self) -> list[float]:
        """Return what torch had allocated on the GPU, in MiB, a figure a ``train_inner`` line."""
        if self.gpu_total is None:
            return []
        free = [line["gb_free"] for line in self.training.values() if "gb_free" in line]
        return [(self.gpu_total - gib) * 1024 for gib in free]

    def _keep(self, lines: dict[int, dict[str, float]], metrics: dict[str, float]) -> None:
        if not math.isfinite(metrics.get("num_updates", math.nan)):
            return
        update = int(metrics["num_updates"])
        # What a killed run had reached beyond its last checkpoint is done again, or never.
        while lines and next(reversed(lines)) >= update:
            lines.popitem()
        lines[update] = metrics


def _json_metrics(text: str) -> dict[str, float]:
    """The metrics of a line of ``--log-format json``; they are texts, and may have a prefix."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    metrics = {}
    for name, value in found.items():
        with contextlib.suppress(TypeError, ValueError):
            metrics[name.removeprefix("train_").removeprefix("valid_")] = float(value)
    return metrics


def piped_metrics(line: str) -> dict[str, float]:
    """Return the metrics of a line such as ``| valid | epoch 002 | loss 3 | ppl 10.2``."""
    return {name: float(value) for name, value in _PIPED.findall(line)}


def read_training_log(path: Path) -> TrainingLog:
    """Read a whole log; an empty one where there is no file."""
    log = TrainingLog()
    require_regular(path)
    if path.exists():
        with path.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                log.read(line.rstrip("\r\n"))
    return log


def token_loss(metrics: dict[str, float]) -> float | None:
    """Return the plain negative log-likelihood in bits per token, where it is logged."""
    # fairseq's cross_entropy logs nll_loss only where it differs from the loss.
    return metrics.get("nll_loss", metrics.get("loss"))


@dataclass(frozen=True)
class Origin:
    """What a run was begun as, by its flags.

    Attributes:
        criterion: its name.
        task: its name.
        start: the checkpoint that it started from; empty: from the beginning.
        counts_on: its updates are counted from those of ``start`` on, not from 0.
        data: what it was trained on, as it was typed; empty where that is not known.
    """

    criterion: str
    task: str
    start: str
    counts_on: bool = False
    data: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint knows about the training that led to it.

    Attributes:
        file: its name in the run's folder.
        updates: since the baseline.
        train_seconds: spent in updates since the baseline; validation, saving and starting are
            not part of it, and neither is what a killed run had to do again.  Of the processor (all
            threads) for a run on the CPU, where the wall clock would count what others do on the
            machine; by the wall clock on a GPU.  0 in a checkpoint of fairseq without the plugin.
        origin: of the run.
        is_final: the run has made its ``--max-update``, or come through its ``--max-epoch``.
    """

    file: str
    updates: int
    train_seconds: float
    origin: Origin = Origin("", "", "")
    is_final: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return what the record of a finished run keeps of it."""
        return {
            "file": self.file,
            "updates": self.updates,
            "train_seconds": self.train_seconds,
        }


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the number of updates, how long they took, and what the run was.

    Raises:
        UserError: no whole checkpoint, or one of a run that is not fairseq's.
    """
    from genft_fairseq.patches.safe_loading import load
    from genft_fairseq.patches.trainer import KEY

    state = load(str(path), map_location="cpu", mmap=True)
    try:
        updates = int(state["optimizer_history"][-1]["num_updates"])
        clock = "processor" if _setting(state, "common", "cpu") else "wall"
        seconds = state["extra_state"].get(KEY, {}).get(clock, 0.0)
        final = _is_final(state, updates)
        return Checkpoint(path.name, updates, float(seconds), _origin(state), final)
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path} is not a checkpoint of fairseq-train") from error


def _setting(state: Mapping[str, Any], group: str, name: str) -> Any:
    """A setting of the run; None where the checkpoint does not have it."""
    settings = state["cfg"].get(group, {})
    # A task or a model that has no configuration of its own leaves all flags in a namespace.
    return settings.get(name) if isinstance(settings, Mapping) else getattr(settings, name, None)


def _origin(state: Mapping[str, Any]) -> Origin:
    start = _setting(state, "checkpoint", "finetune_from_model")
    restored = _setting(state, "checkpoint", "restore_file")
    is_restored = restored not in (None, LAST)  # it comes first, as in fairseq
    return Origin(
        criterion=str(_setting(state, "criterion", "_name") or ""),
        task=str(_setting(state, "task", "_name") or ""),
        start=str((restored if is_restored else start) or ""),
        counts_on=is_restored and not _setting(state, "checkpoint", "reset_optimizer"),
        data=str(_setting(state, "task", "data") or ""),
    )


def _is_final(state: Mapping[str, Any], updates: int) -> bool:
    most = _setting(state, "optimization", "max_update")
    epochs = _setting(state, "optimization", "max_epoch")
    # Saved at the end of an epoch, it counts the one that would come next.
    epoch = state["extra_state"].get("train_iterator", {}).get("epoch", 0)
    return bool(most and updates >= most) or bool(epochs and epoch > epochs)


def read_checkpoints(folder: Path) -> list[Checkpoint]:
    """Read the checkpoints that a run kept on its way and its last one, by updates."""
    last = read_checkpoint(folder / LAST)
    kept = [read_checkpoint(path) for path in folder.glob("checkpoint_*_*.pt")]
    earlier = [checkpoint for checkpoint in kept if checkpoint.updates < last.updates]
    return [*sorted(earlier, key=lambda checkpoint: checkpoint.updates), last]


def command_of(run: Path, root: Path | None = None) -> str:
    """Return the command that trained a run; paths below ``root`` are kept relative to it."""
    command = (run / "command").read_text(encoding="utf-8").strip()
    return command if root is None else command.replace(f"{root}/", "")


def train_seconds(run: Path) -> int:
    """Return how long a run took, in seconds, over all the times that it was started.

    Raises:
        UserError: the file holds something else.
    """
    path = run / "seconds"
    require_regular(path)
    try:
        return int(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} must hold a number of seconds ({error})") from error


def last_validation(run: Path) -> dict[str, float]:
    """Return the last metrics on the validation set by the names that fairseq logs them under.

    ``nll_loss`` (bits per token) and ``ppl`` are of the plain likelihood, whatever was trained;
    ``num_updates`` says when it was.

    Raises:
        UserError: the run has not come to its first validation.
    """
    log = run / "train.log"
    require_regular(log)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [line for line in lines if " valid | " in line]
    if not found:
        raise UserError(f"{log} has no metrics on the validation set")
    return piped_metrics(found[-1])


def training_metrics(run: Path) -> dict[str, Any]:
    """Return the updates of a run, the seconds they took, and how large its model is.

    Returns:
        ``updates``; ``parameters``, each counted once; ``train_seconds`` of the updates alone, over
        all the times that the run was started, by ``train_clock``: *wall* where there is a GPU,
        else *processor*; ``valid_ppl`` and, where it is logged, ``valid_accuracy`` of the last
        validation.

    Raises:
        UserError: the run has not come to its first validation, or its last checkpoint or its log
            are not of a run with the plugin.
    """
    import torch

    from genft_fairseq.patches import safe_loading
    from genft_fairseq.patches.trainer import KEY

    logged = last_validation(run)
    state = safe_loading.load(run / "checkpoint_last.pt", map_location="cpu")
    clock = "wall" if torch.cuda.is_available() else "processor"
    accuracy = {"valid_accuracy": logged["accuracy"]} if "accuracy" in logged else {}
    try:
        distinct = {tensor.data_ptr(): tensor.numel() for tensor in state["model"].values()}
        return {
            "updates": int(logged["num_updates"]),
            "parameters": sum(distinct.values()),
            "train_seconds": state["extra_state"][KEY][clock],
            "train_clock": clock,
            "valid_ppl": logged["ppl"],
            **accuracy,
        }
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise UserError(
            f"{run} is not a run of fairseq-train with the plugin ({error!r})"
        ) from error
