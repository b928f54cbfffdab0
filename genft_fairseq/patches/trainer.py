"""Patches of fairseq's trainer: divergence, training time, the run's record, validation.

A run whose gradients are no numbers ends with the name of the layer where they began.

fairseq runs the update again under a detector, which logs the first layers whose output or gradient
is NaN or infinite.  On today's torch its hooks on the gradient end in a StopIteration wherever a
module returns no tensor, as every encoder does, so that the layer is never named.

How long the updates of a run took, in its checkpoints.

fairseq's own ``train_wall`` starts anew where a run is resumed at the beginning of an epoch, and
stands still where it is resumed within one.  And on a machine that others use as well the wall
clock counts their turns too: two runs on the CPU can only be compared by what the processor worked
for each.  So both clocks are read around every update, and their sums kept beside fairseq's
``previous_training_time``.

What a run of training ran with, in its log: nobody remembers it later.

``--best-checkpoint-metric``: one that validation logs, which is found out before training.

fairseq looks the metric up at the end of the first validation, after a whole epoch, and stops with
nothing saved where there is none of that name.  Which metrics there are depends on the criterion
and the task, so a batch of the validation set is scored before the first update.
"""

import importlib.metadata
import logging
import platform
import time
from functools import wraps
from typing import Any

from fairseq import checkpoint_utils
from fairseq.distributed import utils as distributed
from fairseq.logging import metrics
from fairseq.nan_detector import NanDetector
from fairseq.trainer import Trainer
from fairseq_cli import train as training

from genft_fairseq.errors import UserError


def apply_divergence() -> None:
    """Mend the detector, and say what it finds; a second call changes nothing."""
    if getattr(NanDetector.add_hooks, "genft", False):
        return
    detect, train_step = NanDetector._detect, Trainer.train_step
    found: list[str] = []

    def add_hooks(self: Any, module: Any) -> None:
        if self.forward:
            self.fhooks.append(module.register_forward_hook(self.fhook_fn))
        # torch follows the gradient of what a module returns; layers return tensors.
        if self.backward and next(module.children(), None) is None:
            self.bhooks.append(module.register_backward_hook(self.bhook_fn))

    def detect_and_keep(self: Any, tensor: Any, name: str, backward: bool) -> str | None:
        line: str | None = detect(self, tensor, name, backward)
        if line is not None:
            kind = line.partition(" ")[0]
            found.append(f"{kind} in the {'gradient' if backward else 'output'} of {name}")
        return line

    @wraps(train_step)
    def train_step_with_layer(self: Any, *args: Any, **kwargs: Any) -> Any:
        found.clear()
        try:
            return train_step(self, *args, **kwargs)
        except FloatingPointError as error:
            # Processes that disagree, and a loss scale at its end, are others' to tell.
            if "loss scale" in str(error) or not (found or "Nan/Inf" in str(error)):
                raise
            first = found[0] if found else "NaN or infinity in the loss"
            rates = ",".join(map(str, self.cfg.optimization.lr))
            raise UserError(
                f"the gradients of update {self.get_num_updates() + 1} are not finite ({first}): "
                f"lower --lr {rates}, set --clip-norm or --warmup-updates, or look for an example "
                "that is empty or very long"
            ) from error

    add_hooks.genft = True  # type: ignore[attr-defined]
    NanDetector.add_hooks, NanDetector._detect = add_hooks, detect_and_keep
    Trainer.train_step = train_step_with_layer


KEY = "train_seconds"  # in a checkpoint's extra_state: {"wall": ..., "processor": ...}


def apply_training_time() -> None:
    """Count from now on; a second call changes nothing."""
    if getattr(Trainer.train_step, "genft", False):
        return
    train_step, state_dict, load = Trainer.train_step, Trainer.state_dict, Trainer.load_checkpoint

    @wraps(train_step)
    def counted(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        if self.__dict__.get("_genft_counting"):  # --amp tries again from within
            return train_step(self, *args, **kwargs)
        self.__dict__["_genft_counting"] = True
        # The processor's are of all threads, but not of the processes that load the data.
        begun = time.perf_counter(), time.process_time()
        try:
            return train_step(self, *args, **kwargs)
        finally:
            self.__dict__["_genft_counting"] = False
            seconds = _seconds(self)
            seconds["wall"] += time.perf_counter() - begun[0]
            seconds["processor"] += time.process_time() - begun[1]

    @wraps(state_dict)
    def with_seconds(self: Trainer) -> Any:
        state = state_dict(self)
        state["extra_state"][KEY] = dict(_seconds(self))
        return state

    @wraps(load)
    def load_seconds(
        self: Trainer,
        filename: str,
        reset_optimizer: bool = False,
        reset_lr_scheduler: bool = False,
        optimizer_overrides: Any = None,
        reset_meters: bool = False,
    ) -> Any:
        state = load(
            *(self, filename, reset_optimizer, reset_lr_scheduler),
            *(optimizer_overrides, reset_meters),
        )
        if state is not None and not reset_meters:  # of a baseline they are not this run's
            _seconds(self).update(state.get(KEY, {}))
        return state

    counted.genft = True  # type: ignore[attr-defined]
    Trainer.train_step, Trainer.state_dict = counted, with_seconds
    Trainer.load_checkpoint = load_seconds


def _seconds(trainer: Trainer) -> dict[str, float]:
    seconds: dict[str, float] = trainer.__dict__.setdefault(
        "_genft_seconds", {"wall": 0.0, "processor": 0.0}
    )
    return seconds


_PACKAGES = ("torch", "fairseq-fixed")

_logger = logging.getLogger("genft_fairseq")


def apply_run_record(version: str) -> None:
    """Log it whenever a trainer is made; a second call changes nothing.

    Args:
        version: of this package.
    """
    if getattr(Trainer.__init__, "genft_record", False):
        return
    make = Trainer.__init__

    @wraps(make)
    def recorded(self: Trainer, cfg: Any, *args: Any, **kwargs: Any) -> None:
        make(self, cfg, *args, **kwargs)
        if distributed.is_master(cfg.distributed_training):
            _logger.info("versions: %s", versions(version))

    recorded.genft_record = True  # type: ignore[attr-defined]
    Trainer.__init__ = recorded


def versions(version: str) -> str:
    """Return the versions of Python, this package, and what it stands on, in one line."""
    found = {"python": platform.python_version(), "genft_fairseq": version}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # fairseq installed under its own name
            continue
    return ", ".join(f"{name} {version}" for name, version in found.items())


def apply_validation_metric() -> None:
    """Check the metric before training, and in each validation; a second call changes nothing."""
    if getattr(training.get_valid_stats, "genft", False):
        return
    train, validate, complete = training.train, training.validate, training.get_valid_stats

    @wraps(train)
    def train_checked(cfg: Any, trainer: Any, task: Any, epoch_itr: Any) -> Any:
        asked = cfg.checkpoint.best_checkpoint_metric != "loss"  # which every criterion logs
        if asked and not cfg.dataset.disable_validation and not vars(trainer).get("_genft_metric"):
            _try_first_batch(cfg, trainer, task)
            trainer._genft_metric = True
        return train(cfg, trainer, task, epoch_itr)

    @wraps(validate)
    def validate_or_save(cfg: Any, trainer: Any, task: Any, epoch_itr: Any, *rest: Any) -> Any:
        try:
            return validate(cfg, trainer, task, epoch_itr, *rest)
        except _MissingMetric:
            checkpoint_utils.save_checkpoint(cfg.checkpoint, trainer, epoch_itr, None)
            raise

    @wraps(complete)
    def get_valid_stats(cfg: Any, trainer: Any, stats: dict[str, Any], *rest: Any) -> Any:
        _require_metric(cfg, trainer.task, stats)
        return complete(cfg, trainer, stats, *rest)

    get_valid_stats.genft = True  # type: ignore[attr-defined]
    training.train, training.validate = train_checked, validate_or_save
    training.get_valid_stats = get_valid_stats


class _MissingMetric(UserError):
    """Validation logs no metric of the name that was asked for."""


def _try_first_batch(cfg: Any, trainer: Any, task: Any) -> None:
    subset = cfg.dataset.valid_subset.split(",")[0]
    batches = trainer.get_valid_iterator(subset).next_epoch_itr(
        shuffle=False, set_dataset_epoch=False
    )
    trainer.begin_valid_epoch(1)
    with metrics.aggregate(new_root=True) as logged:
        for sample in batches:
            trainer.valid_step(sample)
            _require_metric(cfg, task, logged.get_smoothed_values())
            break
    metrics.reset_meters("valid")  # which the step has logged to as well


def _require_metric(cfg: Any, task: Any, stats: dict[str, Any]) -> None:
    """Refuse a metric that is not logged.

    Args:
        cfg: of the run.
        task: that validates.
        stats: what a validation has logged; BLEU is added to it where no text has a word.

    Raises:
        _MissingMetric: it is not among them.
    """
    metric = cfg.checkpoint.best_checkpoint_metric
    known = {*stats, "num_updates"}
    if metric in known or hasattr(task, "post_validate"):  # which may add to them
        return
    if metric == "bleu" and getattr(getattr(task, "cfg", None), "eval_bleu", False):
        stats["bleu"] = 0.0
        return
    names = ", ".join(sorted(name for name in stats if not name.startswith("_")))
    hint = "; bleu needs --eval-bleu" if metric == "bleu" else ""
    raise _MissingMetric(
        f"--best-checkpoint-metric {metric} is not among what validation logs: {names}{hint}"
    )
