"""Binarized data that is broken is named before it is read.

fairseq maps the files into memory as they are: a truncated one ends in an error from numpy, or in
the middle of an epoch.
"""

import os
import struct
from typing import Any

import numpy as np
from fairseq.data import data_utils
from fairseq.data.indexed_dataset import MMapIndexedDataset, _code_to_dtype

from genft_fairseq.errors import UserError

# magic, version, dtype code, number of sequences; then their sizes (int32) and offsets (int64)
_HEADER = struct.Struct("<9sQBQ")


def apply() -> None:
    """Have every indexed dataset checked before fairseq opens it; a second call changes nothing."""
    if getattr(data_utils.load_indexed_dataset, "genft", False):
        return
    load_without_check = data_utils.load_indexed_dataset

    def load_indexed_dataset(path: str, *args: Any, **kwargs: Any) -> Any:
        if os.path.exists(f"{path}.idx"):
            check_indexed_files(path)
        return load_without_check(path, *args, **kwargs)

    load_indexed_dataset.genft = True  # type: ignore[attr-defined]
    data_utils.load_indexed_dataset = load_indexed_dataset


def check_indexed_files(path: str) -> None:
    """Compare the sizes of ``path.idx`` and ``path.bin`` with what the index promises.

    Only fairseq's memory-mapped format is looked at; others pass.

    Raises:
        UserError: a file is shorter than it must be.
    """
    index_size = os.path.getsize(f"{path}.idx")
    with open(f"{path}.idx", "rb") as stream:
        header = stream.read(_HEADER.size)
        if header and not MMapIndexedDataset.Index._HDR_MAGIC.startswith(header[:9]):
            return
        _require(len(header) == _HEADER.size, path, "idx", _HEADER.size, index_size)
        _, _, code, number = _HEADER.unpack(header)
        promised = _HEADER.size + 12 * number
        _require(index_size >= promised, path, "idx", promised, index_size)
        if number == 0 or code not in _code_to_dtype:
            return
        stream.seek(_HEADER.size + 4 * (number - 1))
        (last_size,) = struct.unpack("<i", stream.read(4))
        stream.seek(_HEADER.size + 12 * number - 8)
        (last_offset,) = struct.unpack("<q", stream.read(8))
    needed = last_offset + last_size * np.dtype(_code_to_dtype[code]).itemsize
    if os.path.exists(f"{path}.bin"):
        data_size = os.path.getsize(f"{path}.bin")
        _require(data_size >= needed, path, "bin", needed, data_size)


def _require(whole: bool, path: str, ending: str, needed: int, found: int) -> None:
    if not whole:
        raise UserError(
            f"{path}.{ending} is cut short: it holds {found} bytes of {needed}; "
            f"run fairseq-preprocess again"
        )
