"""Changes to ``fairseq.data.iterators``: a resumed run reads what it would have read."""

import contextlib
import hashlib
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from fairseq.data import iterators
from fairseq.data.iterators import EpochBatchIterator, GroupedEpochBatchIterator

from genft_fairseq.patches.registry import ModuleView, extends, replaces

_BOTH = (EpochBatchIterator, GroupedEpochBatchIterator)

_data: Any = ModuleView(torch.utils.data)
replaces(iterators, "torch", why="The data loader seeds the random generators for each batch.")(
    ModuleView(torch, utils=ModuleView(torch.utils, data=_data))
)


@extends(_BOTH, "_get_iterator_for_epoch")
def iterator_for_epoch(
    original: Any, self: Any, epoch: int, shuffle: bool, *args: Any, **kwargs: Any
) -> Any:
    """Random numbers of a data set depend on the seed, the epoch and the batch, and nothing else.

    fairseq draws noise and masks from the global generators of torch and numpy.  In a worker these
    start where the process did, and a worker that outlives an epoch is not told of the next.
    Without workers they are those of the training itself, while a thread fills fairseq's buffer, so
    that two runs of one command differ.

    After ``--curriculum``, fairseq keeps the order of the first epoch of the process.
    """
    sampler = getattr(self, "epoch_batch_sampler", None)
    if sampler is not None:
        sampler.shuffle = shuffle
    if self.num_workers == 0:  # generators of one process cannot serve two threads
        self.buffer_size = 0
    _data.DataLoader = partial(_loader, self)
    try:
        return original(self, epoch, shuffle, *args, **kwargs)
    finally:  # iterators over streams make torch's own
        del _data.DataLoader


@extends(_BOTH, "first_batch")
def first_batch(original: Any, self: Any) -> Any:
    """fairseq reads the first batch by itself; this must not change other random numbers."""
    with _draws(self.seed, self.epoch):
        return original(self)


@extends(EpochBatchIterator, "next_epoch_itr")
def next_epoch_itr(
    original: Any,
    self: Any,
    shuffle: bool = True,
    fix_batches_to_gpus: bool = False,
    set_dataset_epoch: bool = True,
) -> Any:
    """Every validation draws the same random numbers."""
    if not set_dataset_epoch:
        vars(self).setdefault("_genft_epoch", self.epoch)
    return original(self, shuffle, fix_batches_to_gpus, set_dataset_epoch)


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
