"""GPT-2's byte-level BPE: verify its two files, write its dictionary, split text into its pieces.

A piece is written as its number in `encoder.json`, which is what `--bpe gpt2` of fairseq reads and
writes. Bytes are the smallest pieces, so that no text is unknown and every line comes back exactly.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import multiprocessing
import signal
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from moses_tokenise import LINES_PER_TASK, read_lines, write_lines
from one_line_errors import PrepareError, report_errors
from raw_text import open_text

# SHA-256 of the files that OpenAI publishes.
PINNED = {
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}

encoder: Any = None  # of one process


def take(sources: Sequence[Path], destination: Path) -> None:
    """Copy both files, out of gzip if need be, and compare them with what is pinned.

    Each is taken from the first of the folders that has it.
    """
    for name, expected in PINNED.items():
        places = [source / file for source in sources for file in (name, f"{name}.gz")]
        path = next((place for place in places if place.is_file()), places[-1])
        with open_text(path) as file:
            try:
                content = file.read()
            except (EOFError, OSError, zlib.error) as error:
                raise PrepareError(
                    f"{path} is a truncated or damaged gzip file ({error}); fetch it again"
                ) from None
        found = hashlib.sha256(content).hexdigest()
        if found != expected:
            raise PrepareError(f"{path} is not GPT-2's: SHA-256 expected {expected}, found {found}")
        (destination / name).write_bytes(content)
        print(f"    {name}: SHA-256 {found} (as pinned)")


def write_dictionary(folder: Path, destination: Path) -> None:
    """Write fairseq's dictionary of all pieces, in GPT-2's order and all of them counted once."""
    numbers = json.loads((folder / "encoder.json").read_text(encoding="utf-8")).values()
    if sorted(numbers) != list(range(len(numbers))):
        raise PrepareError(f"{folder}/encoder.json does not number its pieces from 0 on")
    lines = "".join(f"{number} 1\n" for number in range(len(numbers)))
    destination.write_text(lines, encoding="utf-8")


def load_fairseq_bpe() -> ModuleType:
    """Return fairseq's own module alone: its package would bring PyTorch and every task with it."""
    package = importlib.util.find_spec("fairseq")
    if package is None or not package.submodule_search_locations:
        raise PrepareError("fairseq is not installed; run install.sh, or set PYTHON")
    path = Path(package.submodule_search_locations[0]) / "data/encoders/gpt2_bpe_utils.py"
    spec = importlib.util.spec_from_file_location("gpt2_bpe_utils", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def begin_process(folder: Path) -> None:
    """Load the BPE once for each process, which keeps the words that it has split."""
    # An interrupt is for the parent to see; the workers would each print a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    global encoder
    module = load_fairseq_bpe()
    encoder = module.get_encoder(str(folder / "encoder.json"), str(folder / "vocab.bpe"))


def encode_line(line: str) -> str:
    """Return the numbers of the pieces of one line, separated by single spaces."""
    return " ".join(map(str, encoder.encode(line)))


def encode_files(args: argparse.Namespace) -> None:
    """Encode every split, with the same lines in the same order."""
    with multiprocessing.Pool(args.workers, begin_process, (args.gpt2_bpe,)) as pool:
        for split in args.splits:
            name = f"{split}.txt"
            lines = pool.imap(encode_line, read_lines(args.source / name), LINES_PER_TASK)
            count = write_lines(args.destination / name, lines, name)
            print(f"    {name}: {count} lines encoded", flush=True)


def main() -> None:
    """Read the command line and do one of three things."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    taking = commands.add_parser("take", help="verified copies of encoder.json and vocab.bpe")
    taking.add_argument("sources", type=Path, nargs="+")
    taking.add_argument("destination", type=Path)
    dictionary = commands.add_parser("dictionary", help="fairseq's dictionary")
    dictionary.add_argument("source", type=Path, help="folder of encoder.json")
    dictionary.add_argument("destination", type=Path)
    encoding = commands.add_parser("encode", help="SOURCE/SPLIT.txt to DESTINATION/SPLIT.txt")
    encoding.add_argument("source", type=Path)
    encoding.add_argument("destination", type=Path)
    encoding.add_argument("--gpt2-bpe", type=Path, required=True, help="encoder.json, vocab.bpe")
    encoding.add_argument("--splits", nargs="+", required=True)
    encoding.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    if args.command == "take":
        take(args.sources, args.destination)
    elif args.command == "dictionary":
        write_dictionary(args.source, args.destination)
    else:
        encode_files(args)


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
