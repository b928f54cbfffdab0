"""Changes to ``fairseq.data``: data sets, dictionaries and batches.

Binarized data that is broken is named before it is read, and no sentence is left out.
"""

import itertools
import os
import re
import struct
import types
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import torch
from fairseq.data import (
    ConcatDataset,
    Dictionary,
    bucket_pad_length_dataset,
    data_utils,
    indexed_dataset,
    language_pair_dataset,
    token_block_dataset,
)
from fairseq.data.huffman import HuffmanMMapIndex
from fairseq.data.indexed_dataset import (
    IndexedCachedDataset,
    IndexedDataset,
    MMapIndexedDataset,
    _code_to_dtype,
    data_file_path,
)
from omegaconf import open_dict

from genft_fairseq.errors import UserError, require_regular
from genft_fairseq.patches.registry import ModuleView, extends, replaces

# magic, version, dtype code, number of sequences; then their sizes (int32) and offsets (int64)
_HEADER = struct.Struct("<9sQBQ")

_MAGIC = MMapIndexedDataset.Index._HDR_MAGIC

_OTHER_FORMATS = (IndexedDataset._HDR_MAGIC[:6], HuffmanMMapIndex._HDR_MAGIC[:7])

_BLOCK = 1 << 24  # tokens looked at, at a time

_AGAIN = "run fairseq-preprocess again"

_ENTRY = re.compile(r".* -?\d{1,18}")


replaces(
    (token_block_dataset, language_pair_dataset),
    "np",
    why="``np.compat.long`` left numpy in 2.0: language-model generation and bucketing use it.",
)(ModuleView(np, compat=types.SimpleNamespace(long=np.int64)))


@replaces((data_utils, bucket_pad_length_dataset), "get_buckets")
def get_buckets(sizes: np.ndarray, num_buckets: int) -> np.ndarray:
    """``--num-batch-buckets``: numpy renamed ``interpolation=`` of ``np.percentile``."""
    return np.unique(np.percentile(sizes, np.linspace(0, 100, num_buckets + 1), method="lower")[1:])


@extends(data_utils, "batch_by_size", issue=5036)
def batch_by_size(
    original: Any,
    indices: Any,
    num_tokens_fn: Callable[[int], int],
    num_tokens_vec: Any = None,
    max_tokens: Any = None,
    *args: Any,
    **kwargs: Any,
) -> list[np.ndarray]:
    """fairseq silently drops a last batch whose size is not a multiple of 8.

    ``--required-batch-size-multiple`` is there to feed tensor cores, but validation and
    ``fairseq-generate`` skip up to a whole batch of a test set, and training never sees the same
    few sentences.  Nor does fairseq say which sentence is longer than a batch may be.
    """
    if not isinstance(indices, np.ndarray):
        indices = np.fromiter(indices, dtype=np.int64, count=-1)
    if len(indices) == 0:
        return []
    try:
        batches = list(
            original(indices, num_tokens_fn, num_tokens_vec, max_tokens, *args, **kwargs)
        )
    except AssertionError as error:
        longest = max(indices, key=num_tokens_fn)
        tokens = num_tokens_fn(longest)
        if max_tokens is None or tokens <= max_tokens:
            raise
        raise UserError(
            f"--max-tokens (or --max-tokens-valid) is {max_tokens}, but example {longest} "
            f"alone has {tokens}: raise it"
        ) from error
    # Batches are consecutive stretches of the indices (unless shapes are fixed, which drops
    # nothing), so what was dropped is the tail.
    kept = sum(map(len, batches))
    return batches if kept == len(indices) else [*batches, indices[kept:]]


@replaces(IndexedDataset, "__getitem__")
def read_item(self: Any, i: int) -> torch.Tensor:
    """``--dataset-impl lazy``: all workers read one open file, and each moves its position."""
    self.check_index(i)
    shape = self.sizes[self.dim_offsets[i] : self.dim_offsets[i + 1]]
    begin = int(self.data_offsets[i]) * self.element_size
    path, count = data_file_path(self.path), int(np.prod(shape))
    item = np.fromfile(path, dtype=self.dtype, count=count, offset=begin).reshape(shape)
    return torch.from_numpy(item).long() - int(self.fix_lua_indexing)


@extends(IndexedCachedDataset, "__getitem__")
def read_or_cached(original: Any, self: Any, i: int) -> torch.Tensor:
    """``--dataset-impl cached`` stopped in training, where the first batch is not prefetched."""
    return original(self, i) if i in self.cache_index else read_item(self, i)


@extends(data_utils, "load_indexed_dataset")
def load_indexed_dataset(
    original: Any,
    path: str,
    dictionary: Any = None,
    dataset_impl: str | None = None,
    combine: bool = False,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """fairseq maps the files into memory as they are.

    A truncated one ends in an error from numpy, or in the middle of an epoch, and a token that the
    dictionary does not have, in an error from the model.
    """
    require_format(path, dataset_impl)
    symbols = None if dictionary is None else len(dictionary)
    for number in itertools.count():
        part = f"{path}{number or ''}"
        if not os.path.exists(f"{part}.idx"):
            break
        check_indexed_files(part, symbols)
        if not combine:
            break
    return original(path, dictionary, dataset_impl, combine, *args, **kwargs)


@extends(indexed_dataset, "dataset_exists")
def dataset_exists(original: Any, path: str, impl: str | None) -> bool:
    """A ``--dataset-impl`` that is not the format of the files is refused."""
    require_format(path, impl)
    return original(path, impl)


@extends(Dictionary, "add_from_file")
def add_from_file(original: Any, self: Any, file: Any) -> None:
    """fairseq names neither the file nor the line of a dictionary that it cannot read."""
    if isinstance(file, str) and os.path.exists(file):
        check_dictionary(file, self.indices)
    original(self, file)


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


@extends(ConcatDataset, "__init__", issue=3644)
def concatenate(original: Any, self: Any, datasets: Any, sample_ratios: Any = 1) -> None:
    """``--upsample-primary`` is -1 unless it is given, and sizes are repeated that many times."""
    if not isinstance(sample_ratios, int):
        sample_ratios = [1 if ratio == -1 else ratio for ratio in sample_ratios]
        if any(ratio <= 0 for ratio in sample_ratios):
            raise UserError(f"--upsample-primary must be at least 1, got {min(sample_ratios)}")
    original(self, datasets, sample_ratios)


@replaces(
    data_utils,
    "raise_if_valid_subsets_unintentionally_ignored",
    why="A set that ``--valid-subset`` names counts as left out.",
)
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
