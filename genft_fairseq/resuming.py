"""A resumed run goes on as if it had never stopped.

In fairseq 0.12 it does so within the first epoch.  After that it draws other batches, so that what
is left of an epoch has some sentences twice and others never, and in another order after
``--curriculum``; the learning rate forgets the validation at the end of the epoch, and
``--patience`` all validations; and a run that has come to its end makes one more update each time
it is started.
"""

import inspect
import logging
import os
from functools import wraps
from typing import Any

from fairseq import checkpoint_utils
from fairseq.data.iterators import EpochBatchIterator
from fairseq.optim.lr_scheduler.reduce_lr_on_plateau import ReduceLROnPlateauLRSchedule
from fairseq.tasks import FairseqTask
from fairseq.trainer import Trainer
from fairseq_cli import train as training

from genft_fairseq.errors import UserError

logger = logging.getLogger(__name__)

KEY = "early_stopping"  # in a checkpoint's extra_state: what --patience has counted


def apply() -> None:
    """Apply every remedy; a second call changes nothing."""
    if getattr(training.train, "genft", False):
        return
    _make_the_same_batches()
    _shuffle_after_the_curriculum()
    _keep_the_plateau()
    _keep_the_patience()
    _refuse_another_model()
    _load_the_end_of_an_epoch()
    _stop_where_the_run_has_ended()


def _make_the_same_batches() -> None:
    """Batches are made once, and shuffled anew for each epoch.

    But which sentences make a batch depends on the epoch in which a process makes them: on the
    first, unless it resumes.
    """
    make = FairseqTask.get_batch_iterator
    signature = inspect.signature(make)

    @wraps(make)
    def get_batch_iterator(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = signature.bind(self, *args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        dataset, epoch = given["dataset"], given["epoch"]
        anew_each_epoch = (
            given["disable_iterator_cache"]
            or given["update_epoch_batch_itr"]
            or not self.can_reuse_epoch_itr(dataset)
            or getattr(self.cfg, "rebuild_batches", False)
        )
        if epoch <= 1 or anew_each_epoch or dataset in self.dataset_to_epoch_iter:
            return make(self, *args, **kwargs)
        given["epoch"] = 1
        if getattr(self, "_genft_seed_grows", False):  # with the epoch, and so the batches' own
            given["seed"] -= epoch - 1
        iterator = make(*call.args, **call.kwargs)
        dataset.set_epoch(epoch)
        iterator.epoch = epoch
        return iterator

    begin = Trainer.get_train_iterator

    @wraps(begin)
    def get_train_iterator(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        self.task._genft_seed_grows = self.cfg.dataset.update_ordered_indices_seed
        return begin(self, *args, **kwargs)

    FairseqTask.get_batch_iterator = get_batch_iterator
    Trainer.get_train_iterator = get_train_iterator


def _shuffle_after_the_curriculum() -> None:
    """The order of the batches is that of the first epoch of a process: for ever, if unshuffled."""
    begin = EpochBatchIterator._get_iterator_for_epoch

    @wraps(begin)
    def iterator_for_epoch(self: Any, epoch: int, shuffle: bool, *args: Any, **kwargs: Any) -> Any:
        sampler = getattr(self, "epoch_batch_sampler", None)
        if sampler is not None:
            sampler.shuffle = shuffle
        return begin(self, epoch, shuffle, *args, **kwargs)

    EpochBatchIterator._get_iterator_for_epoch = iterator_for_epoch


def _keep_the_plateau() -> None:
    """``--lr-scheduler reduce_lr_on_plateau`` does not save for how long nothing has improved."""
    counters = ("num_bad_epochs", "cooldown_counter")
    schedule = ReduceLROnPlateauLRSchedule
    state_dict, load_state_dict = schedule.state_dict, schedule.load_state_dict

    def with_counters(self: Any) -> dict[str, Any]:
        kept = {name: getattr(self.lr_scheduler, name) for name in counters}
        return {**state_dict(self), **kept}

    def load_counters(self: Any, state: dict[str, Any]) -> None:
        load_state_dict(self, state)
        for name in counters:
            if name in state:
                setattr(self.lr_scheduler, name, state[name])

    schedule.state_dict, schedule.load_state_dict = with_counters, load_counters


def _keep_the_patience() -> None:
    """``--patience`` counts in attributes of a function."""
    state_dict = Trainer.state_dict

    @wraps(state_dict)
    def with_patience(self: Trainer) -> Any:
        state = state_dict(self)
        state["extra_state"][KEY] = dict(vars(training.should_stop_early))
        return state

    Trainer.state_dict = with_patience


def _refuse_another_model() -> None:
    """A model that converts what it loads must not do so in the middle of a run.

    Its optimizer's state would be that of other parameters.  Such a model says by
    ``unchanged_on_resume`` which settings, by their flags, have to stay.
    """
    load = Trainer.load_checkpoint

    @wraps(load)
    def checked(
        self: Trainer, filename: str, reset_optimizer: bool = False, *rest: Any, **kw: Any
    ) -> Any:
        settings = getattr(self.model, "unchanged_on_resume", None)
        if settings and not reset_optimizer and os.path.exists(filename):
            saved = checkpoint_utils.load_checkpoint_to_cpu(filename)["cfg"]["model"]
            now = settings(self.cfg.model)
            for flag, before in settings(saved).items():
                if before != now[flag]:
                    raise UserError(
                        f"{filename} was trained with {flag} {before}, but {flag} is {now[flag]}: "
                        "start another --save-dir with --finetune-from-model"
                    )
        return load(self, filename, reset_optimizer, *rest, **kw)

    Trainer.load_checkpoint = checked


def _load_the_end_of_an_epoch() -> None:
    load = checkpoint_utils.load_checkpoint

    @wraps(load)
    def load_checkpoint(cfg: Any, trainer: Any, **kwargs: Any) -> Any:
        # Of an earlier run in this process.
        vars(training.should_stop_early).clear()
        vars(checkpoint_utils.save_checkpoint).pop("best", None)
        extra_state, epoch_itr = load(cfg, trainer, **kwargs)
        if extra_state is None or trainer.get_num_updates() == 0:  # nothing, or a baseline
            return extra_state, epoch_itr
        if not cfg.reset_meters:
            vars(training.should_stop_early).update(extra_state.get(KEY, {}))
        place = extra_state["train_iterator"]
        at_end = place["iterations_in_epoch"] == 0 and place["epoch"] > 1
        if at_end and not cfg.reset_lr_scheduler and not cfg.reset_dataloader:
            # What fairseq does at the end of an epoch after it has saved its checkpoint.
            trainer.lr_step(place["epoch"] - 1, extra_state["val_loss"])
        return extra_state, epoch_itr

    checkpoint_utils.load_checkpoint = load_checkpoint


def _stop_where_the_run_has_ended() -> None:
    """fairseq asks whether to stop after an update only: a restart would make one update more."""
    train = training.train

    @wraps(train)
    def train_what_is_left(cfg: Any, trainer: Any, task: Any, epoch_itr: Any) -> Any:
        updates, most = trainer.get_num_updates(), cfg.optimization.max_update
        if most and updates >= most:
            logger.info("nothing is left to do: %d of --max-update %d updates", updates, most)
            return [None], True
        runs, patience = getattr(training.should_stop_early, "num_runs", 0), cfg.checkpoint.patience
        if 0 < patience <= runs:
            logger.info("nothing is left to do: no better for --patience %d validations", patience)
            return [None], True
        return train(cfg, trainer, task, epoch_itr)

    train_what_is_left.genft = True  # type: ignore[attr-defined]
    training.train = train_what_is_left
