"""The untouched text of a split, which preparation leaves in the folder ``raw`` of the data."""

import re
from pathlib import Path

from genft_fairseq.data.text_lines import numbered_lines
from genft_fairseq.errors import UserError

FOLDER = "raw"
_BINARIZED = re.compile(r".+\.(?P<source>[^.-]+)-(?P<target>[^.-]+)\.(?P=source)\.idx")


def language_pair(data: Path) -> tuple[str, str]:
    """Return what the source and the target of binarized data are called, such as *en* and *de*.

    Raises:
        UserError: the folder holds no binarized pair, or several.
    """
    names = [_BINARIZED.fullmatch(path.name) for path in data.glob("*.idx")]
    pairs = sorted({(found["source"], found["target"]) for found in names if found})
    if len(pairs) == 1:
        return pairs[0]
    several = " and ".join("-".join(pair) for pair in pairs)
    held = f"the pairs {several}" if pairs else "no binarized source and target"
    raise UserError(f"{data} holds {held}: name the texts with --references and --sources")


def raw_files(data: Path, split: str) -> tuple[Path, Path]:
    """Return where the sources and the references of a split are: ``raw/SPLIT.LANGUAGE``.

    Raises:
        UserError: there are no references, or see ``language_pair``; the message names the splits
            that have some.
    """
    source, target = language_pair(data)
    folder = data / FOLDER
    references = folder / f"{split}.{target}"
    if not references.is_file():
        there = sorted(path.name.removesuffix(f".{target}") for path in folder.glob(f"*.{target}"))
        advice = (
            f"it has those of {', '.join(there)} (--split)"
            if there
            else "name files of them with --references and --sources"
        )
        raise UserError(
            f"{data} holds no {FOLDER}/{references.name}, the references of --split {split}: "
            f"{advice}"
        )
    return folder / f"{split}.{source}", references


def read_text(path: Path, what: str) -> list[str]:
    """Read lines of text.

    Args:
        path: gzipped where it ends in ``.gz``.
        what: a line is, for the message.

    Raises:
        UserError: the file is empty, cannot be read, or is not UTF-8.
    """
    lines = [line for _, line in numbered_lines(path)]
    if not lines:
        raise UserError(f"{path} is empty: it must hold a {what} a line")
    return lines
