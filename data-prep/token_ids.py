"""Flat files of GPT-2's ids, 16 bits each, to fairseq's binarised data: blocks of equal length.

A stream of ids has no lines. Its items are blocks, without </s>, and what does not fill the last
one is dropped. Files are read a stretch at a time, so that memory does not grow with them.
"""

from __future__ import annotations

import argparse
import codecs
import hashlib
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import IO, Any

import numpy as np
from one_line_errors import PrepareError, report_errors
from progress import told

LARGEST = 50_256  # <|endoftext|>
IDS = np.dtype("<u2")
STRETCH = 1 << 20  # ids


def need_ids(ids: np.ndarray, start: int, path: Path) -> None:
    """Raise unless these ids are GPT-2's; `start` says where in the file the first of them is."""
    if ids.min() < 0 or ids.max() > LARGEST:
        wrong = int(np.flatnonzero((ids < 0) | (ids > LARGEST))[0])
        raise PrepareError(
            f"{path} holds {ids[wrong]} at position {start + wrong} (the first is 0), but GPT-2's "
            f"ids are 0 to {LARGEST}"
        )


def need_block(tokens: int, block_length: int, path: Path) -> None:
    """Raise if a file has fewer ids than one block."""
    if tokens < block_length:
        raise PrepareError(
            f"{path} holds {tokens} ids, which do not fill one block (--block-length is "
            f"{block_length})"
        )


def read_stretches(path: Path, length: int) -> Iterator[np.ndarray]:
    """Yield the ids of a flat file; all stretches but the last have this length."""
    # Read, not mapped: the pages of a mapped file would count as memory of ours.
    with path.open("rb") as file:
        while (ids := np.fromfile(file, IDS, length)).size:
            yield ids


def verify(path: Path, block_length: int) -> str:
    """Raise unless a flat file is whole and holds GPT-2's ids, and return its SHA-256."""
    size = path.stat().st_size
    if size == 0:
        raise PrepareError(f"{path} is empty")
    if size % IDS.itemsize:
        raise PrepareError(
            f"{path} is cut, or no file of 16-bit ids: it has an odd number of bytes, {size}"
        )
    need_block(size // IDS.itemsize, block_length, path)
    digest, start = hashlib.sha256(), 0
    for ids in told(read_stretches(path, STRETCH), path.name, "million ids"):
        need_ids(ids, start, path)
        digest.update(ids)
        start += ids.size
    return digest.hexdigest()


# --- binarised data -------------------------------------------------------------------------------


class Fairseq:
    """What is needed of fairseq, and of GPT-2's files in the terms of fairseq."""

    def __init__(self, gpt2: Path) -> None:
        """Read the dictionary and the pieces; importing fairseq takes seconds."""
        logging.disable(logging.INFO)  # optional packages of fairseq, which nobody asked for
        from fairseq.data import Dictionary, indexed_dataset
        from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode

        logging.disable(logging.NOTSET)
        self.dictionary = Dictionary.load(str(gpt2 / "dict.txt"))
        # GPT-2's number n is fairseq's n + 4: fairseq has four symbols of its own before them.
        self.offset = self.dictionary.nspecial
        if self.dictionary.symbols[self.offset :] != [str(number) for number in range(LARGEST + 1)]:
            raise PrepareError(f"{gpt2}/dict.txt is not the dictionary of GPT-2's pieces in order")
        self.make_builder = indexed_dataset.make_builder
        byte = {letter: number for number, letter in bytes_to_unicode().items()}
        pieces = json.loads((gpt2 / "encoder.json").read_text(encoding="utf-8"))
        self.pieces = {n: bytes(byte[letter] for letter in piece) for piece, n in pieces.items()}

    def builder(self, path: Path) -> Any:
        """Return fairseq's own writer of a file of binarised data."""
        return self.make_builder(str(path), impl="mmap", vocab_size=len(self.dictionary))


class TextFile:
    """The text of a stream of ids. A letter can be cut only at the two ends of the stream."""

    def __init__(self, file: IO[str], pieces: dict[int, bytes]) -> None:
        """Take the open file and the bytes of each piece."""
        self.file, self.pieces = file, pieces
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, ids: np.ndarray) -> None:
        """Write some more ids, which may end inside of a letter."""
        self.file.write(self.decoder.decode(b"".join(map(self.pieces.__getitem__, ids.tolist()))))

    def end(self) -> None:
        """Write what is left of a letter."""
        self.file.write(self.decoder.decode(b"", final=True))


def write_blocks(
    source: Path, prefix: Path, fairseq: Fairseq, block_length: int, blocks: int, text: Path | None
) -> None:
    """Write the first blocks of a flat file to `prefix.bin` and `prefix.idx`, and their text."""
    # add_item wants a tensor; torch, like fairseq, is not needed to verify files.
    import torch

    builder = fairseq.builder(prefix.with_suffix(".bin"))
    left = blocks * block_length
    with ExitStack() as stack:
        decoded = None
        if text is not None:
            file = stack.enter_context(text.open("w", encoding="utf-8", newline=""))
            decoded = TextFile(file, fairseq.pieces)
        stretch = max(1, STRETCH // block_length) * block_length
        for ids in told(read_stretches(source, stretch), prefix.name, "million ids"):
            ids = ids[:left]
            rows = ids[: ids.size // block_length * block_length].astype(np.int32)
            for row in torch.from_numpy(rows + fairseq.offset).view(-1, block_length):
                builder.add_item(row)
            if decoded is not None:
                decoded.add(rows)
            left -= rows.size
            if left == 0:
                break
        if decoded is not None:
            decoded.end()
    builder.finalize(str(prefix.with_suffix(".idx")))


def binarise(args: argparse.Namespace) -> None:
    """Write the data of every split, text of all but the training split, and all counts."""
    fairseq = Fairseq(args.gpt2_bpe)
    counts: dict[str, dict[str, int]] = {"tokens": {}, "dropped": {}, "blocks": {}}
    for split in args.splits:
        source = args.source / f"{split}.bin"
        tokens = source.stat().st_size // IDS.itemsize
        blocks = tokens // args.block_length
        text = args.destination / f"raw/{split}.txt"
        if split == "train":
            blocks, text = min(blocks, args.limit or blocks), None
        write_blocks(source, args.destination / split, fairseq, args.block_length, blocks, text)
        dropped = tokens - blocks * args.block_length
        for name, count in (("tokens", tokens), ("dropped", dropped), ("blocks", blocks)):
            counts[name][split] = count
        print(
            f"    {split}: {blocks} blocks of {args.block_length} tokens, {dropped} tokens dropped",
            flush=True,
        )
    args.counts.write_text(json.dumps(counts), encoding="utf-8")


def main() -> None:
    """Read the command line: `digest` verifies flat files, `binarise` makes fairseq's data."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    digest = commands.add_parser("digest", help="verify flat files and print their checksums")
    digest.add_argument("files", type=Path, nargs="+")
    binarising = commands.add_parser("binarise", help="SOURCE/SPLIT.bin to DESTINATION/SPLIT.*")
    binarising.add_argument("source", type=Path)
    binarising.add_argument("destination", type=Path)
    binarising.add_argument("--gpt2-bpe", type=Path, required=True, help="with dict.txt")
    binarising.add_argument("--splits", nargs="+", required=True)
    binarising.add_argument("--limit", type=int, help="of training blocks")
    binarising.add_argument("--counts", type=Path, required=True, help="file to write them to")
    for command in (digest, binarising):
        command.add_argument("--block-length", type=int, required=True)
    args = parser.parse_args()
    if args.command == "binarise":
        binarise(args)
        return
    with redirect_stdout(sys.stderr):  # of progress: the shell script reads the checksums
        checksums = [verify(path, args.block_length) for path in args.files]
    print("\n".join(checksums))


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
