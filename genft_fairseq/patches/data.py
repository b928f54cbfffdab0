"""Patches of fairseq's datasets: broken data is named; splits are read as they are on disk.

Binarized data that is broken is named before it is read.

fairseq maps the files into memory as they are: a truncated one ends in an error from numpy, or in
the middle of an epoch; and a token that the dictionary does not have, in an error from the model.

The parts of a data folder: training data in shards, validation sets, alignments.

fairseq combines ``train``, ``train1``, ``train2``, ... to one training set, and the validation
sets likewise where ``--combine-valid-subsets`` says so.  In 0.12 the translation tasks crash on the
first, a name in ``--valid-subset`` counts as left out, and ``--load-alignments`` trains without any
where the file is missing.
"""

import itertools
import os
import re
import struct
import sys
from collections.abc import Callable, Collection
from functools import wraps
from typing import Any

import numpy as np
from fairseq.data import ConcatDataset, Dictionary, data_utils, indexed_dataset
from fairseq.data.huffman import HuffmanMMapIndex
from fairseq.data.indexed_dataset import IndexedDataset, MMapIndexedDataset, _code_to_dtype
from fairseq.tasks import translation
from fairseq.trainer import Trainer
from omegaconf import open_dict

from genft_fairseq.errors import UserError, require_regular

# magic, version, dtype code, number of sequences; then their sizes (int32) and offsets (int64)
_HEADER = struct.Struct("<9sQBQ")

_MAGIC = MMapIndexedDataset.Index._HDR_MAGIC

_OTHER_FORMATS = (IndexedDataset._HDR_MAGIC[:6], HuffmanMMapIndex._HDR_MAGIC[:7])

_BLOCK = 1 << 24  # tokens looked at, at a time

_AGAIN = "run fairseq-preprocess again"

_ENTRY = re.compile(r".* -?\d{1,18}")


def apply() -> None:
    """Have all binarized data and dictionaries checked; a second call changes nothing."""
    if getattr(data_utils.load_indexed_dataset, "genft", False):
        return
    load_without_check = data_utils.load_indexed_dataset
    exists_without_check = indexed_dataset.dataset_exists
    add_without_check = Dictionary.add_from_file

    def load_indexed_dataset(
        path: str,
        dictionary: Any = None,
        dataset_impl: str | None = None,
        combine: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        require_format(path, dataset_impl)
        symbols = None if dictionary is None else len(dictionary)
        for number in itertools.count():
            part = f"{path}{number or ''}"
            if not os.path.exists(f"{part}.idx"):
                break
            check_indexed_files(part, symbols)
            if not combine:
                break
        return load_without_check(path, dictionary, dataset_impl, combine, *args, **kwargs)

    def dataset_exists(path: str, impl: str | None) -> bool:
        require_format(path, impl)
        return exists_without_check(path, impl)

    def add_from_file(self: Any, file: Any) -> None:
        if isinstance(file, str) and os.path.exists(file):
            check_dictionary(file, self.indices)
        add_without_check(self, file)

    load_indexed_dataset.genft = True  # type: ignore[attr-defined]
    data_utils.load_indexed_dataset = load_indexed_dataset
    indexed_dataset.dataset_exists = dataset_exists
    _name_what_no_batch_holds()
    Dictionary.add_from_file = add_from_file


def require_format(path: str, impl: str | None) -> None:
    """Refuse a ``--dataset-impl`` that is not the format of the files.

    Args:
        path: of the files, without their endings.
        impl: the flag's value; None: fairseq looks at the files itself.

    Raises:
        UserError: the files are in another format.
    """
    if impl is None:
        return
    found = indexed_dataset.infer_dataset_impl(path)
    read = "cached" if impl == "lazy" else impl  # two ways to read one format
    if found is not None and read != found:
        raise UserError(f"--dataset-impl {impl}: {path} is in the format {found}: leave it out")


def _name_what_no_batch_holds() -> None:
    """fairseq does not say which sentence is longer than a batch may be, and how long."""
    make = data_utils.batch_by_size

    @wraps(make)
    def batch_by_size(
        indices: Any,
        num_tokens_fn: Callable[[int], int],
        num_tokens_vec: Any = None,
        max_tokens: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        try:
            return make(indices, num_tokens_fn, num_tokens_vec, max_tokens, *args, **kwargs)
        except AssertionError as error:
            longest = max(indices, key=num_tokens_fn)
            tokens = num_tokens_fn(longest)
            if max_tokens is None or tokens <= max_tokens:
                raise
            raise UserError(
                f"--max-tokens (or --max-tokens-valid) is {max_tokens}, but example {longest} "
                f"alone has {tokens}: raise it"
            ) from error

    data_utils.batch_by_size = batch_by_size


def check_indexed_files(path: str, symbols: int | None = None) -> None:
    """Compare ``path.idx`` and ``path.bin`` with what the index promises, and with the dictionary.

    Of fairseq's formats only the memory-mapped one is looked into.

    Args:
        path: of both files, without their endings.
        symbols: of the dictionary that the data are made of; None: any number is a token.

    Raises:
        UserError: a file is shorter than it must be, the index is none, or a token is no symbol.
    """
    for ending in ("idx", "bin"):
        require_regular(f"{path}.{ending}")
    index_size = os.path.getsize(f"{path}.idx")
    with open(f"{path}.idx", "rb") as stream:
        header = stream.read(_HEADER.size)
        if header.startswith(_OTHER_FORMATS):
            return
        if not _MAGIC.startswith(header[:9]):
            raise UserError(f"{path}.idx is no index of fairseq-preprocess; {_AGAIN}")
        _require(len(header) == _HEADER.size, path, "idx", _HEADER.size, index_size)
        _, version, code, number = _HEADER.unpack(header)
        if version != 1 or code not in _code_to_dtype:
            raise UserError(f"{path}.idx is damaged: its header is none of fairseq's; {_AGAIN}")
        promised = _HEADER.size + 12 * number
        _require(index_size >= promised, path, "idx", promised, index_size)
        if number == 0:
            raise UserError(f"{path}.bin holds no sentence: is the text that it was made of empty?")
        sizes = np.fromfile(stream, np.int32, number)
        offsets = np.fromfile(stream, np.int64, number)
    kind = np.dtype(_code_to_dtype[code])
    # One after the other, as they were written.
    ends = np.cumsum(sizes, dtype=np.int64) * kind.itemsize
    if sizes.min() < 0 or offsets[0] != 0 or (offsets[1:] != ends[:-1]).any():
        raise UserError(f"{path}.idx is damaged: its sizes and places do not agree; {_AGAIN}")
    if os.path.exists(f"{path}.bin"):
        data_size = os.path.getsize(f"{path}.bin")
        _require(data_size >= ends[-1], path, "bin", int(ends[-1]), data_size)
        if symbols is not None:
            _require_symbols(f"{path}.bin", kind, int(ends[-1]) // kind.itemsize, symbols)


def _require_symbols(path: str, kind: np.dtype, tokens: int, symbols: int) -> None:
    with open(path, "rb") as stream:
        for start in range(0, tokens, _BLOCK):
            block = np.fromfile(stream, kind, min(_BLOCK, tokens - start))
            wrong = block[(block < 0) | (block >= symbols)]
            if len(wrong):
                raise UserError(
                    f"{path} holds the token {wrong[0]}, but the dictionary beside it has "
                    f"{symbols} symbols: {_AGAIN}, with this dictionary"
                )


def _require(whole: bool, path: str, ending: str, needed: int, found: int) -> None:
    if not whole:
        raise UserError(
            f"{path}.{ending} is cut short: it holds {found} bytes of {needed}; {_AGAIN}"
        )


def check_dictionary(path: str, known: Collection[str] = ()) -> None:
    """Look through a dictionary before fairseq reads it, which names no file and no line.

    Args:
        path: of the file.
        known: symbols that stand before it.

    Raises:
        UserError: it cannot be read, is not UTF-8, holds a line that is no symbol with its count,
            or a symbol twice.
    """
    require_regular(path)
    seen = set(known)
    try:
        with open(path, encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                entry = line.rstrip()
                replaces = entry.endswith(" #fairseq:overwrite")
                entry = entry.removesuffix(" #fairseq:overwrite")
                symbol = entry.rpartition(" ")[0]
                if not _ENTRY.fullmatch(entry):
                    raise UserError(
                        f"{path}: line {number} must be a symbol and its count, but is {line!r:.60}"
                    )
                if symbol in seen and not replaces:
                    raise UserError(f"{path}: line {number} holds {symbol!r:.60} again")
                seen.add(symbol)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({error.reason}): {_AGAIN}") from error


def check_text(flag: str, path: str) -> None:
    """Look through a text before fairseq-preprocess reads it, which names no file and no line.

    Args:
        flag: that names the file.
        path: of the file.

    Raises:
        UserError: it is not there, cannot be read, or is not UTF-8.
    """
    require_regular(path)
    number = 0
    try:
        with open(path, "rb") as stream:
            for line in stream:
                number += 1
                line.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{flag}: {path} is not UTF-8 in line {number} ({error.reason}): convert it, with "
            "iconv say"
        ) from error
    except OSError as error:
        raise UserError(f"{flag}: {path} cannot be read: {error.strerror}") from error


def apply_data_splits() -> None:
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
