"""Tensors of GPT-2's ids, as torch.save wrote them, to flat files of 16-bit ids.

Nothing in such a file is run: it is a pickle, and only tensors are taken out of it.
"""

from __future__ import annotations

import argparse
import errno
import pickle
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from one_line_errors import PrepareError, report_errors
from token_ids import IDS, STRETCH, need_block, need_ids

ZIP_MAGIC = b"PK\x03\x04"
INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")


def load(path: Path, scratch: Path) -> Any:
    """Load what torch.save wrote, its numbers in a file that is mapped instead of in memory."""
    with path.open("rb") as file:
        zipped = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    if zipped:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)

    def in_scratch(storage: torch.UntypedStorage, _: str) -> torch.UntypedStorage:
        if storage.nbytes() == 0:  # no file of that size can be mapped
            return storage
        return torch.UntypedStorage.from_file(str(scratch), True, storage.nbytes())

    # Before torch 1.6 a file was no zip archive. torch cannot map such a one, but copies it.
    return torch.load(path, map_location=in_scratch, weights_only=True)


@contextmanager
def short_complaints() -> Iterator[None]:
    """Cut what torch complains of: it searches it in time that is the square of its length."""
    unpickler = torch._weights_only_unpickler.Unpickler
    load_at_length = unpickler.load

    def load_shortly(self: Any) -> Any:
        try:
            return load_at_length(self)
        except pickle.UnpicklingError as error:
            raise pickle.UnpicklingError(str(error)[:500]) from None

    unpickler.load = load_shortly
    try:
        yield
    finally:
        unpickler.load = load_at_length


def describe(value: Any) -> str:
    """Say what was found instead of a flat tensor of integers."""
    if isinstance(value, torch.Tensor):
        kind = str(value.dtype).removeprefix("torch.")
        return f"a tensor of {kind} with {value.dim()} dimensions, {tuple(value.shape)}"
    return f"a {type(value).__name__}"


def read_tensor(path: Path, scratch: Path) -> torch.Tensor:
    """Return the one tensor that a file must hold."""
    if path.stat().st_size == 0:
        raise PrepareError(f"{path} is empty")
    try:
        with short_complaints():
            value = load(path, scratch)
    except Exception as error:  # whatever torch chokes on; it has no class of its own for that
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # which is a cut zip archive
            raise
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign and isinstance(error, pickle.UnpicklingError):
            raise PrepareError(
                f"{path} holds {foreign[1]}, which is no tensor and could run as code: it was not "
                "loaded; fetch it again from where you trust"
            ) from None
        raise PrepareError(
            f"{path} is truncated or damaged, or no file of torch.save; fetch it again"
        ) from None
    # A contiguous tensor is no larger than its file, whatever shape the file claims.
    flat = isinstance(value, torch.Tensor) and value.layout == torch.strided and value.dim() == 1
    kinds = {getattr(torch, name) for name in INTEGERS}
    if not flat or value.dtype not in kinds or value.is_meta or not value.is_contiguous():
        raise PrepareError(
            f"{path} must hold one tensor of integers with one dimension, but holds "
            f"{describe(value)}; torch.save(ids.flatten().long(), ...) writes the former"
        )
    tensor: torch.Tensor = value
    return tensor


def flatten(path: Path, destination: Path, block_length: int) -> None:
    """Write the ids of a tensor to a flat file."""
    scratch = destination.with_suffix(".scratch")
    try:
        tensor = read_tensor(path, scratch)
        need_block(len(tensor), block_length, path)
        with destination.open("wb") as flat:
            for start in range(0, len(tensor), STRETCH):
                ids = tensor[start : start + STRETCH].numpy()
                need_ids(ids, start, path)
                ids.astype(IDS).tofile(flat)
    except BaseException:
        destination.unlink(missing_ok=True)  # half of it would pass for a whole file
        raise
    finally:
        scratch.unlink(missing_ok=True)
    print(f"    {path.name}: {len(tensor)} ids", flush=True)


def main() -> None:
    """Read the command line and write a flat file for each tensor."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sources", type=Path, nargs="+", required=True)
    parser.add_argument("--destinations", type=Path, nargs="+", required=True)
    parser.add_argument("--block-length", type=int, required=True)
    args = parser.parse_args()
    for source, destination in zip(args.sources, args.destinations, strict=True):
        flatten(source, destination, args.block_length)


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
