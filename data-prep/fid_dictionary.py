"""The dictionary of a data set for Fusion-in-Decoder: its own symbols first, then the pieces."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path

from fid_texts import markers
from one_line_errors import PrepareError, report_errors

SPECIAL_SYMBOLS = 4  # that fairseq adds: <s>, <pad>, </s>, <unk>
PADDED_TO = 8  # as fairseq-preprocess does
PADDING = re.compile(r"madeupword\d{4}")
FILES = ("bpe.codes", "dict.question.txt", "dict.answer.txt")
DESCRIPTION = "hugging_face.json"  # in a folder that was made with --model
NOT_OURS = "it is not the dictionary of a folder that prepare-fid.sh made"


def read_dictionary(path: Path) -> dict[str, int]:
    """Return the symbols of a file of lines `SYMBOL COUNT`, in their order."""
    symbols: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(lines, start=1):
                symbol, space, count = line.rstrip("\n").rpartition(" ")
                if not space or not count.isdecimal():
                    raise PrepareError(
                        f"{path} is no dictionary: line {number} is not SYMBOL COUNT"
                    )
                symbols[symbol] = int(count)
    except UnicodeDecodeError:
        raise PrepareError(f"{path} is no dictionary: it is not UTF-8") from None
    return symbols


def write_dictionary(path: Path, symbols: dict[str, int]) -> None:
    """Write the lines `SYMBOL COUNT`."""
    with path.open("w", encoding="utf-8", newline="\n") as lines:
        lines.writelines(f"{symbol} {count}\n" for symbol, count in symbols.items())


def build(vocabulary: dict[str, int], passages: int) -> dict[str, int]:
    """Return the symbols in the order of the dictionary: markers, pieces by count, padding."""
    ours = markers(passages)
    clash = [symbol for symbol in ours if symbol in vocabulary]
    if clash:
        raise PrepareError(f"{clash[0]} is a word of the text, but must be a symbol of its own")
    ordered = sorted(vocabulary.items(), key=lambda entry: (-entry[1], entry[0]))
    symbols = {**dict.fromkeys(ours, 1), **dict(ordered)}
    lacking = -(len(symbols) + SPECIAL_SYMBOLS) % PADDED_TO
    return {**symbols, **{f"madeupword{number:04d}": 0 for number in range(lacking)}}


def count_passages(symbols: dict[str, int], path: Path, complaint: str = NOT_OURS) -> int:
    """Return N of `<passage:N>`, the last of the markers, all of which must be there."""
    passages = sum(1 for symbol in symbols if re.fullmatch(r"<passage:\d+>", symbol)) - 1
    missing = [symbol for symbol in markers(max(passages, 1)) if symbol not in symbols]
    if missing:
        raise PrepareError(f"{path} has no {missing[0]}: {complaint}")
    return passages


def describe(folder: Path) -> str:
    """Check the dictionary of a prepared folder; return its checksum, passages, tokenisation."""
    if (folder / DESCRIPTION).is_file():
        raise PrepareError(
            f"--dict-from: {folder} has the pieces of an imported model: give --model {folder}"
        )
    for name in FILES:
        if not (folder / name).is_file():
            raise PrepareError(f"--dict-from: there is no file {folder / name}")
    contents = [(folder / name).read_bytes() for name in FILES]
    if contents[1] != contents[2]:
        raise PrepareError(f"--dict-from: {FILES[1]} and {FILES[2]} in {folder} differ")
    passages = count_passages(read_dictionary(folder / FILES[1]), folder / FILES[1])
    tokenisation = "unknown"
    manifest = folder / "MANIFEST.json"
    if manifest.is_file():
        try:
            command = str(json.loads(manifest.read_text("utf-8"))["recipe"]["command"])
        except (ValueError, KeyError, TypeError):
            raise PrepareError(f"--dict-from: {manifest} is no manifest of ours") from None
        found = re.search(r"--tokenise (\S+)", command)
        tokenisation = found[1] if found else tokenisation
    checksum = hashlib.sha256(contents[0] + b"\0" + contents[1]).hexdigest()
    return f"{checksum[:12]} {passages} {tokenisation}"


def main() -> None:
    """Read the command line: `make` and `describe` dictionaries, list the pieces of one."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("make", help="a dictionary of the vocabulary of subword-nmt")
    made.add_argument("vocabulary", type=Path)
    made.add_argument("dictionary", type=Path)
    made.add_argument("--passages", type=int, required=True)
    described = commands.add_parser("describe", help="checksum, passages, tokenisation")
    described.add_argument("folder", type=Path)
    listed = commands.add_parser("pieces", help="the vocabulary for subword-nmt")
    listed.add_argument("dictionary", type=Path)
    listed.add_argument("vocabulary", type=Path)
    args = parser.parse_args()
    if args.command == "describe":
        print(describe(args.folder))
    elif args.command == "make":
        symbols = build(read_dictionary(args.vocabulary), args.passages)
        write_dictionary(args.dictionary, symbols)
        print(f"    {len(symbols)} symbols, <passage:0> to <passage:{args.passages}> among them")
    else:
        symbols = read_dictionary(args.dictionary)
        ours = set(markers(count_passages(symbols, args.dictionary)))
        pieces = {
            symbol: count
            for symbol, count in symbols.items()
            if symbol not in ours and not PADDING.fullmatch(symbol)
        }
        write_dictionary(args.vocabulary, pieces)


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
