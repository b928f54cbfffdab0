"""Changes to ``fairseq.trainer`` and ``fairseq_cli.train``: exact resuming, time, divergence.

A resumed run goes on as if it had never stopped.  In fairseq 0.12 it does so within the first epoch
only.
"""

import importlib.metadata
import logging
import os
import platform
import random
import time
from typing import Any

import numpy as np
from fairseq import checkpoint_utils
from fairseq.distributed import utils as distributed
from fairseq.logging import metrics
from fairseq.nan_detector import NanDetector
from fairseq.tasks.translation_multi_simple_epoch import TranslationMultiSimpleEpochTask
from fairseq.trainer import Trainer
from fairseq_cli import train as training

from genft_fairseq import __version__
from genft_fairseq.errors import UserError
from genft_fairseq.patches.checkpoints import EARLY_STOPPING, require_checkpoint
from genft_fairseq.patches.registry import extends, replaces
from genft_fairseq.patches.tasks import require_alignments

KEY = "train_seconds"  # in a checkpoint's extra_state: {"wall": ..., "processor": ...}

_PACKAGES = ("torch", "fairseq-fixed")

_logger = logging.getLogger("genft_fairseq")


# --- what a run is made of -----------------------------------------------------------------------


@extends(Trainer, "__init__")
def init(original: Any, self: Trainer, cfg: Any, *args: Any, **kwargs: Any) -> None:
    """The log of a run names the versions of Python, torch, fairseq and this package."""
    original(self, cfg, *args, **kwargs)
    if distributed.is_master(cfg.distributed_training):
        _logger.info("versions: %s", versions(__version__))


def versions(version: str) -> str:
    """Return the versions of Python, this package, and what it stands on, in one line."""
    found = {"python": platform.python_version(), "genft_fairseq": version}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # fairseq installed under its own name
            continue
    return ", ".join(f"{name} {version}" for name, version in found.items())


@extends(Trainer, "_set_seed")
def set_seed(original: Any, self: Trainer) -> None:
    """Before each update fairseq seeds torch; some models draw from numpy."""
    original(self)
    seed = self.cfg.common.seed + self.get_num_updates()
    np.random.seed(seed % 2**32)
    random.seed(seed)


@extends(Trainer, "get_train_iterator")
def get_train_iterator(
    original: Any,
    self: Trainer,
    epoch: int,
    combine: bool = True,
    load_dataset: bool = True,
    **settings: Any,
) -> Any:
    """What a run reads must not depend on the epoch in which its process began.

    fairseq loads a data set once, makes batches once, and shuffles them anew for each epoch: by the
    number of the first epoch of the process.  So a run that resumes first loads the set and makes
    the batches of the first epoch, and then asks for those of its own.

    ``--load-alignments`` trained without alignments where their file was missing.
    """
    task, subset = self.task, self.cfg.dataset.train_subset

    def begin(epoch: int, load_dataset: bool) -> Any:
        iterator = original(self, epoch, combine, load_dataset, **settings)
        require_alignments(task, subset)
        return iterator

    virtual = isinstance(task, TranslationMultiSimpleEpochTask)
    resumed = load_dataset and epoch > 1 and subset not in task.datasets
    if not resumed or (task.has_sharded_data("train") and not virtual):
        return begin(epoch, load_dataset)
    first = begin(1, True)
    if virtual:
        _replay_virtual_epochs(task, subset, epoch, combine)
    iterator = begin(epoch, task.has_sharded_data("train"))
    if iterator is first:
        if callable(iterator.batch_sampler):  # batches of its own for each epoch
            iterator._frozen_batches = None
        task.dataset(subset).set_epoch(epoch)
        iterator.epoch = epoch
    return iterator


def _replay_virtual_epochs(task: Any, subset: str, epoch: int, combine: bool) -> None:
    """Go through the epochs before this one, without making their batches.

    A virtual epoch is a stretch of a permutation that is drawn where the whole set begins again;
    which shard is loaded, and how often each language is drawn, depends on what was loaded before.
    """
    for past in range(2, epoch):
        if task.has_sharded_data("train"):
            task.load_dataset(subset, epoch=past, combine=combine)
        task.dataset(subset).set_epoch(past)


# --- an update -----------------------------------------------------------------------------------


# What the detector has found first in the last update.
_not_finite: list[str] = []


@extends(Trainer, "train_step")
def train_step(original: Any, self: Any, samples: list[Any], *args: Any, **kwargs: Any) -> Any:
    """The time of training is measured around every update.

    fairseq's own ``train_wall`` restarts where a run is resumed at the beginning of an epoch, and
    stands still where it is resumed within one.  On a shared machine the wall clock also counts the
    work of others, so that two runs on the CPU can only be compared by processor time.

    With ``--update-freq`` a process may have a batch left and a dummy in place of the next: fairseq
    then counts none of its sentences, while their gradient stays.

    A run that ends because its gradients are not finite, or its loss scale is at the minimum, names
    the first such layer, or the flag.
    """
    real = [sample for sample in samples if sample]
    nested = self.__dict__.get("_genft_counting")  # --amp tries again from within
    self.__dict__["_genft_counting"] = True
    # The processor's are of all threads, but not of the processes that load the data.
    begun = time.perf_counter(), time.process_time()
    _not_finite.clear()
    try:
        return original(self, real or samples[-1:], *args, **kwargs)
    except Exception as error:
        explained = _explained(self, error)
        if explained is None:
            raise
        raise explained from error
    finally:
        if not nested:
            self.__dict__["_genft_counting"] = False
            seconds = _seconds(self)
            seconds["wall"] += time.perf_counter() - begun[0]
            seconds["processor"] += time.process_time() - begun[1]


def _explained(trainer: Any, error: Exception) -> UserError | None:
    """What the error of an update tells the user to change."""
    # The trainer looks for the cause before it passes the error on; where an encoder returns lists,
    # that search itself ends in a StopIteration.
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, FloatingPointError):
        cause = cause.__context__
    if "inimum loss scale" in str(cause):
        return UserError(
            f"--min-loss-scale {trainer.cfg.common.min_loss_scale} is reached: the gradients "
            f"overflow at every loss scale above it; lower --lr, set --clip-norm, or train in "
            f"--bf16 or float32"
        )
    # Processes that disagree are others' to tell.
    if not isinstance(error, FloatingPointError) or "loss scale" in str(error):
        return None
    if not (_not_finite or "Nan/Inf" in str(error)):
        return None
    first = _not_finite[0] if _not_finite else "NaN or infinity in the loss"
    rates = ",".join(map(str, trainer.cfg.optimization.lr))
    return UserError(
        f"the gradients of update {trainer.get_num_updates() + 1} are not finite ({first}): "
        f"lower --lr {rates}, set --clip-norm or --warmup-updates, or look for an example "
        "that is empty or very long"
    )


@replaces(NanDetector, "add_hooks")
def add_hooks(self: Any, module: Any) -> None:
    """On today's torch the hooks on the gradient end in a StopIteration.

    It is raised wherever a module returns no tensor, as every encoder does, so that the layer where
    NaN or infinity began is never named.
    """
    if self.forward:
        self.fhooks.append(module.register_forward_hook(self.fhook_fn))
    # torch follows the gradient of what a module returns; layers return tensors.
    if self.backward and next(module.children(), None) is None:
        self.bhooks.append(module.register_backward_hook(self.bhook_fn))


@extends(NanDetector, "_detect")
def detect(original: Any, self: Any, tensor: Any, name: str, backward: bool) -> str | None:
    """The first layers whose output or gradient is not finite are kept for the error message."""
    line: str | None = original(self, tensor, name, backward)
    if line is not None:
        kind = line.partition(" ")[0]
        _not_finite.append(f"{kind} in the {'gradient' if backward else 'output'} of {name}")
    return line


# --- its checkpoints -----------------------------------------------------------------------------


@extends(Trainer, "state_dict")
def state_dict(original: Any, self: Trainer) -> Any:
    """The count of ``--patience`` and the time of training are saved.

    fairseq keeps the count in attributes of a function.
    """
    state = original(self)
    state["extra_state"][EARLY_STOPPING] = dict(vars(training.should_stop_early))
    state["extra_state"][KEY] = dict(_seconds(self))
    return state


@extends(Trainer, "load_checkpoint")
def load_checkpoint(
    original: Any,
    self: Trainer,
    filename: str,
    reset_optimizer: bool = False,
    reset_lr_scheduler: bool = False,
    optimizer_overrides: Any = None,
    reset_meters: bool = False,
) -> Any:
    """A ``--restore-file`` or ``--continue-once`` that does not exist is refused.

    fairseq begins from random parameters instead.  A model that converts what it loads must not
    resume with other settings.  The time of training goes on where it was.
    """
    _refuse_another_model(self, filename, reset_optimizer)
    settings = self.cfg.checkpoint
    # Its own last checkpoint is there once a run has begun, however its path is written.
    last = os.path.join(settings.save_dir, f"checkpoint_last{self.checkpoint_suffix}.pt")
    if os.path.realpath(filename) != os.path.realpath(last):
        named = settings.continue_once == filename
        require_checkpoint(
            "--continue-once" if named else "--restore-file", filename, settings.save_dir
        )
    state = original(
        *(self, filename, reset_optimizer, reset_lr_scheduler),
        *(optimizer_overrides, reset_meters),
    )
    if state is not None and not reset_meters:  # of a baseline they are not this run's
        _seconds(self).update(state.get(KEY, {}))
    return state


def _refuse_another_model(trainer: Trainer, filename: str, reset_optimizer: bool) -> None:
    """Refuse to resume with other settings a model that converts what it loads.

    Its optimizer's state would be that of other parameters.  Such a model says by
    ``unchanged_on_resume`` which settings, by their flags, have to stay.
    """
    settings = getattr(trainer.model, "unchanged_on_resume", None)
    if settings and not reset_optimizer and os.path.exists(filename):
        saved = checkpoint_utils.load_checkpoint_to_cpu(filename)["cfg"]["model"]
        now = settings(trainer.cfg.model)
        for flag, before in settings(saved).items():
            if before != now[flag]:
                raise UserError(
                    f"{filename} was trained with {flag} {before}, but {flag} is {now[flag]}: "
                    "start another --save-dir with --finetune-from-model"
                )


def _seconds(trainer: Trainer) -> dict[str, float]:
    seconds: dict[str, float] = trainer.__dict__.setdefault(
        "_genft_seconds", {"wall": 0.0, "processor": 0.0}
    )
    return seconds


# --- validation, and the end of a run ------------------------------------------------------------


@extends(training, "train")
def train(original: Any, cfg: Any, trainer: Any, task: Any, epoch_itr: Any) -> Any:
    """A run that has reached ``--max-update`` or ``--patience`` ends at once.

    fairseq asks after an update only, so that each restart makes one update more.

    ``--best-checkpoint-metric`` is checked before the first update, on a batch of the validation
    set, since the metrics depend on the criterion and the task.  fairseq looks it up after a whole
    epoch, and stops with nothing saved where it is not logged.
    """
    updates, most = trainer.get_num_updates(), cfg.optimization.max_update
    if most and updates >= most:
        _logger.info("nothing is left to do: %d of --max-update %d updates", updates, most)
        return [None], True
    runs, patience = getattr(training.should_stop_early, "num_runs", 0), cfg.checkpoint.patience
    if 0 < patience <= runs:
        _logger.info("nothing is left to do: no better for --patience %d validations", patience)
        return [None], True
    asked = cfg.checkpoint.best_checkpoint_metric != "loss"  # which every criterion logs
    if asked and not cfg.dataset.disable_validation and not vars(trainer).get("_genft_metric"):
        _try_first_batch(cfg, trainer, task)
        trainer._genft_metric = True
    return original(cfg, trainer, task, epoch_itr)


@extends(training, "validate")
def validate(original: Any, cfg: Any, trainer: Any, task: Any, epoch_itr: Any, *rest: Any) -> Any:
    """A checkpoint is saved before a missing ``--best-checkpoint-metric`` ends the run."""
    try:
        return original(cfg, trainer, task, epoch_itr, *rest)
    except _MissingMetric:
        checkpoint_utils.save_checkpoint(cfg.checkpoint, trainer, epoch_itr, None)
        raise


@extends(training, "get_valid_stats")
def get_valid_stats(
    original: Any, cfg: Any, trainer: Any, stats: dict[str, Any], *rest: Any
) -> Any:
    """A ``--best-checkpoint-metric`` that is not logged is refused."""
    _require_metric(cfg, trainer.task, stats)
    return original(cfg, trainer, stats, *rest)


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
