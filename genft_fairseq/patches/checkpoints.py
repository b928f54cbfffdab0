"""Patches of fairseq's checkpoints: exact resuming, and tasks of older versions.

A resumed run goes on as if it had never stopped.

In fairseq 0.12 it does so within the first epoch.  After that it draws other batches, so that what
is left of an epoch has some sentences twice and others never, and in another order after
``--curriculum``; the learning rate forgets the validation at the end of the epoch, and
``--patience`` all validations; and a run that has come to its end makes one more update each time
it is started.

Tasks that fairseq has half moved to configuration objects.

Some still look for what their base class keeps elsewhere now, or take other arguments than it gives
them.  What is mended is a line each; what is not ends in one line instead of a traceback.
"""

import contextlib
import hashlib
import logging
import os
import random
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any

import numpy as np
import torch
from fairseq import checkpoint_utils
from fairseq.data import iterators
from fairseq.data.iterators import EpochBatchIterator, GroupedEpochBatchIterator
from fairseq.data.legacy.masked_lm_dictionary import MaskedLMDictionary
from fairseq.optim.lr_scheduler.reduce_lr_on_plateau import ReduceLROnPlateauLRSchedule
from fairseq.tasks.semisupervised_translation import SemisupervisedTranslationTask
from fairseq.tasks.translation_from_pretrained_bart import TranslationFromPretrainedBARTTask
from fairseq.tasks.translation_multi_simple_epoch import TranslationMultiSimpleEpochTask
from fairseq.trainer import Trainer
from fairseq_cli import train as training

from genft_fairseq.errors import UserError
from genft_fairseq.patches.compatibility import ModuleView

logger = logging.getLogger(__name__)


KEY = "early_stopping"  # in a checkpoint's extra_state: what --patience has counted


def apply() -> None:
    """Apply every remedy; a second call changes nothing."""
    if getattr(training.train, "genft", False):
        return
    _begin_where_the_run_began()
    _draw_by_batch()
    _seed_every_generator()
    _shuffle_after_the_curriculum()
    _keep_the_plateau()
    _keep_the_patience()
    _refuse_another_model()
    _load_the_end_of_an_epoch()
    _stop_where_the_run_has_ended()


def _begin_where_the_run_began() -> None:
    """What a process reads must not depend on the epoch in which it began.

    A data set is loaded once, and batches are made once and shuffled anew for each epoch: by the
    numbers of the first epoch, unless the run resumes.  So a run that resumes does what it did
    before, as far as that lasts: it loads the set and makes the batches of the first epoch, and
    then asks for those of its own.
    """
    begin = Trainer.get_train_iterator

    @wraps(begin)
    def get_train_iterator(
        self: Trainer, epoch: int, combine: bool = True, load_dataset: bool = True, **settings: Any
    ) -> Any:
        task, subset = self.task, self.cfg.dataset.train_subset
        virtual = isinstance(task, TranslationMultiSimpleEpochTask)
        resumed = load_dataset and epoch > 1 and subset not in task.datasets
        if not resumed or (task.has_sharded_data("train") and not virtual):
            return begin(self, epoch, combine, load_dataset, **settings)
        first = begin(self, 1, combine, True, **settings)
        if virtual:
            _replay_virtual_epochs(task, subset, epoch, combine)
        iterator = begin(self, epoch, combine, task.has_sharded_data("train"), **settings)
        if iterator is first:
            if callable(iterator.batch_sampler):  # batches of its own for each epoch
                iterator._frozen_batches = None
            task.dataset(subset).set_epoch(epoch)
            iterator.epoch = epoch
        return iterator

    Trainer.get_train_iterator = get_train_iterator


def _replay_virtual_epochs(task: Any, subset: str, epoch: int, combine: bool) -> None:
    """Go through the epochs before this one, without making their batches.

    A virtual epoch is a stretch of a permutation that is drawn where the whole set begins again;
    which shard is loaded, and how often each language is drawn, depends on what was loaded before.
    """
    for past in range(2, epoch):
        if task.has_sharded_data("train"):
            task.load_dataset(subset, epoch=past, combine=combine)
        task.dataset(subset).set_epoch(past)


def _draw_by_batch() -> None:
    """Random numbers of a data set depend on the seed, the epoch and the batch, and nothing else.

    Noise and masks are drawn from the global generators of torch and numpy: of a worker, which has
    begun where the process did; or, without workers, of the training itself, while a thread fills
    fairseq's buffer, so that not even two runs of one command are the same.  And a worker that
    lives longer than an epoch never hears of the next.
    """
    kinds = (EpochBatchIterator, GroupedEpochBatchIterator)
    data: Any = ModuleView(torch.utils.data)
    iterators.torch = ModuleView(torch, utils=ModuleView(torch.utils, data=data))
    next_epoch = EpochBatchIterator.next_epoch_itr
    firsts = {kind: kind.first_batch for kind in kinds}

    @wraps(next_epoch)
    def next_epoch_itr(
        self: Any,
        shuffle: bool = True,
        fix_batches_to_gpus: bool = False,
        set_dataset_epoch: bool = True,
    ) -> Any:
        if not set_dataset_epoch:  # a validation is the same after every epoch
            vars(self).setdefault("_genft_epoch", self.epoch)
        return next_epoch(self, shuffle, fix_batches_to_gpus, set_dataset_epoch)

    def draw_by_batch(kind: Any) -> None:
        make = kind._get_iterator_for_epoch

        @wraps(make)
        def iterator_for_epoch(self: Any, *args: Any, **kwargs: Any) -> Any:
            if self.num_workers == 0:  # generators of one process cannot serve two threads
                self.buffer_size = 0
            data.DataLoader = partial(_loader, self)
            try:
                return make(self, *args, **kwargs)
            finally:  # iterators over streams make torch's own
                del data.DataLoader

        def first_batch(self: Any) -> Any:
            with _draws(self.seed, self.epoch):
                return firsts[kind].fget(self)

        kind._get_iterator_for_epoch = iterator_for_epoch
        kind.first_batch = property(first_batch)

    EpochBatchIterator.next_epoch_itr = next_epoch_itr
    for kind in kinds:
        draw_by_batch(kind)


def _loader(
    iterator: Any, dataset: Any, batch_sampler: Any, collate_fn: Any, **settings: Any
) -> Any:
    return torch.utils.data.DataLoader(
        _Batches(dataset, collate_fn, iterator.seed),
        sampler=_EpochSampler(iterator, batch_sampler),
        batch_size=None,
        **settings,
    )


class _EpochSampler(torch.utils.data.Sampler):
    """The batches of an epoch, each with the number of the epoch."""

    def __init__(self, iterator: Any, batches: Any):
        self.iterator, self.batches = iterator, batches

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        epoch = vars(self.iterator).get("_genft_epoch", self.iterator.epoch)
        return ((epoch, batch) for batch in self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Batches(torch.utils.data.Dataset):
    """A data set whose items are batches."""

    def __init__(self, dataset: Any, collate: Callable[[list[Any]], Any], seed: int):
        self.dataset, self.collate, self.seed = dataset, collate, seed
        self.epoch: int | None = None  # of a worker

    def __getitem__(self, place: tuple[int, Any]) -> Any:
        epoch, batch = place
        if torch.utils.data.get_worker_info() is not None and epoch != self.epoch:
            if hasattr(self.dataset, "set_epoch"):
                self.dataset.set_epoch(epoch)
            self.epoch = epoch
        with _draws(self.seed, epoch, *batch):
            return self.collate([self.dataset[index] for index in batch])


@contextlib.contextmanager
def _draws(*key: Any) -> Iterator[None]:
    """Seed the global generators of the CPU by a key, and give them back as they were."""
    before = torch.default_generator.get_state(), np.random.get_state(), random.getstate()
    digest = hashlib.sha256(" ".join(map(str, key)).encode()).digest()
    torch.default_generator.manual_seed(int.from_bytes(digest[:7], "big"))
    np.random.seed(int.from_bytes(digest[8:12], "big"))
    random.seed(digest[12:])
    try:
        yield
    finally:
        torch.default_generator.set_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])


def _seed_every_generator() -> None:
    """Before each update fairseq seeds torch; some models draw from numpy."""
    set_seed = Trainer._set_seed

    @wraps(set_seed)
    def seed_all(self: Trainer) -> None:
        set_seed(self)
        seed = self.cfg.common.seed + self.get_num_updates()
        np.random.seed(seed % 2**32)
        random.seed(seed)

    Trainer._set_seed = seed_all


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


def apply_older_tasks() -> None:
    """Apply every remedy; a second call changes nothing."""
    if hasattr(TranslationFromPretrainedBARTTask, "args"):
        return
    TranslationFromPretrainedBARTTask.args = property(lambda task: task.cfg)
    # Of --task translation_from_pretrained_xlm, cross_lingual_lm and legacy_masked_lm.
    MaskedLMDictionary.load = classmethod(load_dictionary)
    _refuse_semisupervised_training()


def load_dictionary(kind: Any, file: Any, add_special_symbols: bool = True) -> Any:
    """Load a dictionary that always has its special symbols, and takes no argument about them."""
    dictionary = kind()
    dictionary.add_from_file(file)
    return dictionary


def _refuse_semisupervised_training() -> None:
    """Its training step adds the figures of an update to a dictionary that has none."""
    make = SemisupervisedTranslationTask.__init__

    def init(self: Any, args: Any, dicts: Any, training: bool) -> None:
        if training:
            raise UserError(
                "--task semisupervised_translation cannot be trained by this version of fairseq "
                "(KeyError in its first update): use --task multilingual_translation or translation"
            )
        make(self, args, dicts, training)

    SemisupervisedTranslationTask.__init__ = init
