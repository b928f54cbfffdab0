"""The parts of a data folder: training data in shards, validation sets, alignments.

fairseq combines ``train``, ``train1``, ``train2``, ... to one training set, and the validation
sets likewise where ``--combine-valid-subsets`` says so.  In 0.12 the translation tasks crash on the
first, a name in ``--valid-subset`` counts as left out, and ``--load-alignments`` trains without any
where the file is missing.
"""

import re
import sys
from functools import wraps
from typing import Any

from fairseq.data import ConcatDataset, data_utils
from fairseq.tasks import translation
from fairseq.trainer import Trainer
from omegaconf import open_dict

from genft_fairseq.errors import UserError


def apply() -> None:
    """Apply every remedy; a second call changes nothing."""
    if getattr(data_utils.raise_if_valid_subsets_unintentionally_ignored, "genft", False):
        return
    _repeat_at_least_once()
    _name_unequal_sides()
    _require_alignments()
    choose_valid_subsets.genft = True  # type: ignore[attr-defined]
    data_utils.raise_if_valid_subsets_unintentionally_ignored = choose_valid_subsets


def _repeat_at_least_once() -> None:
    """``--upsample-primary`` is -1 where nobody gave it, and sizes are repeated that many times."""
    make = ConcatDataset.__init__

    @wraps(make)
    def concatenate(self: Any, datasets: Any, sample_ratios: Any = 1) -> None:
        if not isinstance(sample_ratios, int):
            sample_ratios = [1 if ratio == -1 else ratio for ratio in sample_ratios]
            if any(ratio <= 0 for ratio in sample_ratios):
                raise UserError(f"--upsample-primary must be at least 1, got {min(sample_ratios)}")
        make(self, datasets, sample_ratios)

    ConcatDataset.__init__ = concatenate


def _name_unequal_sides() -> None:
    """Source and target of different lengths end in an assertion that names no file."""
    load_without_check = translation.load_langpair_dataset

    @wraps(load_without_check)
    def load_langpair_dataset(data_path: str, split: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return load_without_check(data_path, split, *args, **kwargs)
        except AssertionError as error:
            raise UserError(
                f"{data_path}: source and target of {split} do not belong together "
                f"({str(error) or 'a part has one side only'}): run fairseq-preprocess again"
            ) from error

    tasks = [module for name, module in sys.modules.items() if name.startswith("fairseq.tasks.")]
    for module in tasks:
        if vars(module).get("load_langpair_dataset") is load_without_check:
            module.load_langpair_dataset = load_langpair_dataset  # type: ignore[attr-defined]


def _require_alignments() -> None:
    """Training with ``--load-alignments`` needs an alignment of every pair."""
    begin = Trainer.get_train_iterator

    @wraps(begin)
    def get_train_iterator(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        iterator = begin(self, *args, **kwargs)
        task, subset = self.task, self.cfg.dataset.train_subset
        settings: Any = getattr(task, "cfg", None) or getattr(task, "args", None)
        dataset = task.dataset(subset)
        if getattr(settings, "load_alignments", False) and hasattr(dataset, "align_dataset"):
            found = 0 if dataset.align_dataset is None else len(dataset.align_dataset)
            if found != len(dataset):
                pair = f"{settings.source_lang}-{settings.target_lang}"
                raise UserError(
                    f"--load-alignments needs an alignment of each of {len(dataset)} pairs, but "
                    f"{settings.data} holds {found} in {subset}.align.{pair}: give "
                    "fairseq-preprocess --align-suffix"
                )
        return iterator

    Trainer.get_train_iterator = get_train_iterator


def choose_valid_subsets(cfg: Any) -> None:
    """Refuse to leave a validation set out, unless the flags say so.

    With ``--combine-valid-subsets`` the numbered parts are validated as one set, ``valid``.

    Raises:
        UserError: a set would be left out, or sets of other names are to be combined.
    """
    chosen = cfg.dataset
    if chosen.disable_validation or not hasattr(cfg.task, "data"):
        return
    named = chosen.valid_subset.split(",")
    # The names of files without their last ending: those of pairs of languages have more.
    files = data_utils._find_extra_valid_paths(cfg.task.data)
    found = {name.partition(".")[0] for name in files}
    if chosen.combine_valid_subsets:
        others = [name for name in named if not re.fullmatch(r"valid\d*", name)]
        if others:
            raise UserError(
                f"--valid-subset names {others[0]}, but --combine-valid-subsets combines valid, "
                "valid1, valid2, ...: leave one of the two out"
            )
        with open_dict(cfg):
            chosen.valid_subset = "valid"
        named = [f"valid{number}" for number in range(1, len(found) + 1)]
    if not chosen.ignore_unused_valid_subsets:
        ignored = sorted(found.difference(named))
        if ignored:
            raise UserError(
                f"{cfg.task.data} holds {', '.join(ignored)}, which --valid-subset "
                f"{chosen.valid_subset} leaves out: name them there, or give "
                "--combine-valid-subsets (valid, valid1, valid2, ... without a gap) or "
                "--ignore-unused-valid-subsets"
            )
