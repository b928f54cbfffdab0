"""Write and check MANIFEST.json of a prepared folder: what went in, each stage left, came out.

It holds no time and no path of the machine, so that the same text prepared twice, on two machines
with the same versions, gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import platform
import struct
import sys
from pathlib import Path
from typing import Any

from one_line_errors import PrepareError, report_errors

NAME = "MANIFEST.json"
# fairseq's module comes from either of two distributions.
DISTRIBUTIONS = {
    "fairseq": ("fairseq-fixed", "fairseq"),
    "sacremoses": ("sacremoses",),
    "subword-nmt": ("subword-nmt",),
}
INDEX_HEADER = struct.Struct("<9sQBQQ")  # magic, version, dtype, sentences, documents
INDEX_MAGIC = b"MMIDIDX\x00\x00"


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as data:
        sha256 = hashlib.sha256()
        for block in iter(lambda: data.read(1 << 20), b""):
            sha256.update(block)
    return sha256.hexdigest()


def count_lines(path: Path) -> int:
    """Return the number of lines of a file."""
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


def count_sentences(index: Path) -> int:
    """Return the number of sentences that the index of a binarised fairseq data set announces."""
    with index.open("rb") as data:
        header = data.read(INDEX_HEADER.size)
    if len(header) < INDEX_HEADER.size or not header.startswith(INDEX_MAGIC):
        raise PrepareError(f"{index.name} is not an index of fairseq-preprocess")
    return int(INDEX_HEADER.unpack(header)[3])


def versions() -> dict[str, str]:
    """Return the versions of what decides about the bytes; `unknown` without metadata."""
    found = {"python": platform.python_version()}
    for label, names in DISTRIBUTIONS.items():
        found[label] = "unknown"
        for name in names:
            try:
                found[label] = f"{importlib.metadata.version(name)} ({name})"
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def stage_counts(stages: list[str]) -> dict[str, dict[str, int]]:
    """Count the lines of every file in the folder of each stage, given as `name=folder`."""
    counts: dict[str, dict[str, int]] = {}
    for stage in stages:
        name, _, folder = stage.partition("=")
        files = sorted(path for path in Path(folder).iterdir() if path.is_file())
        counts[name] = {path.name: count_lines(path) for path in files}
    return counts


def describe_size(path: Path, text: bool) -> dict[str, int]:
    """Return the number of lines of a text, and of bytes of any other file."""
    return {"lines": count_lines(path)} if text else {"bytes": path.stat().st_size}


def describe(args: argparse.Namespace) -> dict[str, Any]:
    """Return the whole content of the manifest."""
    folder: Path = args.folder
    # A link whose file has gone meanwhile is an error, not an input less.
    inputs = sorted(p for p in args.inputs.iterdir() if p.is_file() or p.is_symlink())
    outputs = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)
    if args.counts is None:
        counts = stage_counts(args.stages)
    else:  # of what has no lines
        counts = json.loads(args.counts.read_text(encoding="utf-8"))
    binarised = {path.stem: count_sentences(path) for path in sorted(folder.glob("*.idx"))}
    last_stage, last_counts = list(counts.items())[-1]
    if sorted(binarised.values()) != sorted(last_counts.values()):
        raise PrepareError(
            f"there are {binarised} binarised items of what stage '{last_stage}' counted, "
            f"{last_counts}"
        )
    return {
        "recipe": {"command": args.recipe, "version": args.version},
        "source": args.source,
        "versions": versions(),
        "inputs": {
            path.name: {**describe_size(path, args.counts is None), "sha256": digest(path)}
            for path in inputs
        },
        "counts": {**counts, "binarised": binarised},
        # fairseq adds its own four symbols (<s>, <pad>, </s>, <unk>) to these.
        "dictionaries": {path.name: count_lines(path) for path in sorted(folder.glob("dict.*"))},
        "commands": args.commands,
        "outputs": {
            path.relative_to(folder).as_posix(): {
                "bytes": path.stat().st_size,
                "sha256": digest(path),
            }
            for path in outputs
        },
    }


def write(args: argparse.Namespace) -> None:
    """Write the manifest of a folder into it."""
    content = json.dumps(describe(args), indent=2, ensure_ascii=False) + "\n"
    (args.folder / NAME).write_text(content, encoding="utf-8")


def check(args: argparse.Namespace) -> None:
    """Raise unless the folder holds, whole, what this recipe with these options makes."""
    folder: Path = args.folder
    try:
        manifest = json.loads((folder / NAME).read_text(encoding="utf-8"))
        recipe = manifest["recipe"]
        outputs = {name: int(entry["bytes"]) for name, entry in manifest["outputs"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise PrepareError(
            f"{folder} holds other data (no {NAME} of ours); choose another --out or remove it"
        ) from None
    if recipe != {"command": args.recipe, "version": args.version}:
        raise PrepareError(
            f"{folder} holds data made by '{recipe.get('command')}' (recipe version "
            f"{recipe.get('version')}), not by '{args.recipe}' (recipe version {args.version}); "
            f"choose another --out or remove it"
        )
    for name, size in outputs.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            raise PrepareError(f"{folder} is damaged ({name} is missing or cut); remove it")


def main() -> None:
    """Read the command line: `write` makes a manifest, `check` compares a folder with one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("action", choices=["write", "check"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipe", required=True, help="script and options that decide the bytes")
    parser.add_argument("--version", type=int, required=True, help="of the recipe")
    parser.add_argument("--source", default="", help="where the raw text comes from")
    parser.add_argument("--inputs", type=Path, help="folder of the raw text")
    counted = parser.add_mutually_exclusive_group()
    counted.add_argument("--stages", nargs="+", metavar="NAME=FOLDER", help="in order")
    counted.add_argument("--counts", type=Path, help="of each stage, in a file of JSON")
    parser.add_argument("--commands", nargs="*", default=[], help="what was run, without paths")
    args = parser.parse_args()
    if args.action == "write":
        write(args)
    else:
        check(args)


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
