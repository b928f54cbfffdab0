"""The distinct texts of a data set for Fusion-in-Decoder, by kind, and what tells them apart.

A passage is found for many questions: each distinct one is kept, tokenised, and counted for the
pieces once. Examples then consist of the numbers of their texts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

KINDS = ("question", "answer", "title", "text")
# Texts of the training split, from which pieces are learned, and what the other splits add.
PARTS = ("train", "other")

QUESTION, TITLE, CONTEXT = "<question>", "<title>", "<context>"
# What tells the parts of a line apart: new symbols, or the words that FiD's readers know.
FRAMES = ("symbols", "text")
WORDS = {"question": "question:", "title": "title:", "text": "context:"}
# What a text must not hold as one word: our symbols, and those of fairseq's dictionary.
_SYMBOL = re.compile(r"<(question|title|context|passage:\d+|/?s|pad|unk)>")
_JOINER = re.compile(r"@(?=@)")  # subword-nmt joins pieces where one ends so


def markers(passages: int) -> list[str]:
    """Return the symbols of the dictionary that are no pieces; `<passage:0>` means none of them."""
    return [QUESTION, TITLE, CONTEXT, *(f"<passage:{number}>" for number in range(passages + 1))]


def spaced(text: str) -> str:
    """Return a text on one line, for pieces that cannot be mistaken for symbols."""
    return " ".join(text.split())


def one_line(text: str) -> str:
    """Return a text on one line, in which no word is or becomes one of the symbols."""
    line = spaced(text)
    if "<" in line:
        line = _SYMBOL.sub(r"< \1 >", line)
    return _JOINER.sub("@ ", line) if "@@" in line else line


class DistinctTexts:
    """Numbers texts of one kind by their content, and writes each once.

    Some 200 bytes of memory for each distinct text, however long it is.
    """

    def __init__(
        self,
        folder: Path,
        kind: str,
        files: ExitStack,
        line_of: Callable[[str], str] = one_line,
    ) -> None:
        """Begin with the training part; `line_of` makes the line of a text."""
        self.line_of = line_of
        self.numbers: dict[bytes, int] = {}
        self.parts: dict[str, TextIO] = {
            part: files.enter_context(
                (folder / f"{part}.{kind}").open("w", encoding="utf-8", newline="\n")
            )
            for part in PARTS
        }
        self.part = PARTS[0]

    def number(self, text: str) -> int:
        """Return the number of a text, which counts lines of the two parts together, from 0."""
        line = self.line_of(text)
        key = hashlib.blake2b(line.encode("utf-8"), digest_size=16).digest()
        known = self.numbers.get(key)
        if known is None:
            known = self.numbers[key] = len(self.numbers)
            self.parts[self.part].write(line + "\n")
        return known
