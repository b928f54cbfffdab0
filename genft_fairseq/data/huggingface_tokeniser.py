"""The tokeniser of a model imported from transformers: its text as symbols of fairseq.

``genft import-hf`` leaves ``hugging_face.json`` beside the model, with the ids that are fairseq's
own symbols and what stands before a text, and the tokenisers as the ``tokenizers`` library keeps
them.  A symbol is an id of transformers', written as a number: no text can be mistaken for it.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genft_fairseq.errors import UserError

DESCRIPTION = "hugging_face.json"

# fairseq's own symbols, in the order of their numbers, by the names that a description has.
SYMBOLS = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>"}

# fairseq's symbols, and those that were added; they are no text.
_IN_BRACKETS = re.compile(r"<\S+>")


def read_description(folder: Path) -> dict[str, Any]:
    """Read ``hugging_face.json`` of an imported model.

    Raises:
        UserError: there is none, or it is broken.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        what = "has no" if folder.is_dir() else "is no folder, and has no"
        raise UserError(f"{folder} {what} {DESCRIPTION}: name a folder made by genft import-hf")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error})") from None
    if not isinstance(description, dict) or not all(
        isinstance(description.get(side), dict) for side in ("source", "target")
    ):
        raise UserError(f"{path} does not describe a model: it lacks the part source or target")
    return description


@dataclass(frozen=True)
class _Side:
    """One side's tokeniser.

    Attributes:
        tokenizer: of the ``tokenizers`` library.
        ids: of fairseq's own symbols, by their names in a description.
        reserved: ids that no text may have: these, and of the tokeniser's other special tokens.
        prefix: the symbols that stand before every text.
    """

    tokenizer: Any
    ids: dict[str, int]
    reserved: frozenset[int]
    prefix: tuple[str, ...]

    def encode(self, texts: Sequence[str], most: int | None) -> list[list[str]]:
        room = None if most is None else most - 1 - len(self.prefix)
        if room is not None and room < 1:
            raise UserError(
                f"a text must have room for {len(self.prefix) + 2} symbols at least, its first "
                f"and last ones included, but has {most}"
            )
        unknown = SYMBOLS["unk"]
        found = []
        for encoding in self.tokenizer.encode_batch(list(texts), add_special_tokens=False):
            # Text that spells a symbol which frames texts, or a sentinel, is not that symbol: it
            # stays text where the tokeniser can split it, and is unknown where it has one piece.
            subwords = [
                unknown if subword in self.reserved else str(subword)
                for subword in encoding.ids[:room]
            ]
            found.append([*self.prefix, *subwords])
        return found


class ModelTokeniser:
    """The tokenisers of a model's source and target side, often one and the same.

    Attributes:
        source_dictionary: the file of fairseq's dictionary of the source side.
        target_dictionary: the same of the target side.
    """

    def __init__(self, folder: Path, source: _Side, target: _Side, joined: bool, size: int):
        self.source_dictionary = folder / ("dict.txt" if joined else "dict.source.txt")
        self.target_dictionary = folder / ("dict.txt" if joined else "dict.target.txt")
        self._source, self._target = source, target
        self._folder, self._size = folder, size

    @classmethod
    def read(cls, folder: Path) -> "ModelTokeniser":
        """Read a folder that ``genft import-hf`` has written, or a copy of its files.

        Raises:
            UserError: a file is missing or broken, or ``tokenizers`` is not installed.
        """
        description = read_description(folder)
        joined = (folder / "tokenizer.json").is_file()
        sides: list[_Side] = []
        for name in ("source", "target"):
            file = folder / ("tokenizer.json" if joined else f"tokenizer.{name}.json")
            if sides and joined and description["source"] == description["target"]:
                sides.append(sides[0])
            else:
                sides.append(_side(file, description[name], folder / DESCRIPTION))
        size = description["target"].get("size")
        if type(size) is not int or size < 1:
            raise UserError(f"{folder / DESCRIPTION} is broken: target has no size")
        return cls(folder, sides[0], sides[1], joined, size)

    def encode_source(self, text: str, most: int | None = None) -> list[str]:
        """Return the symbols of a text that the model reads, without the ``</s>`` at its end.

        Args:
            text: one line, or more.
            most: how many symbols there may be, the ``</s>`` included; the text is cut.

        Raises:
            UserError: ``most`` leaves no room for a text.
        """
        return self._source.encode([text], most)[0]

    def encode_target(self, text: str, most: int | None = None) -> list[str]:
        """Return the symbols of a text that the model writes; see ``encode_source``."""
        return self._target.encode([text], most)[0]

    def encode_sources(self, texts: Sequence[str], most: int | None = None) -> list[list[str]]:
        """Return the symbols of many texts, on several cores; see ``encode_source``."""
        return self._source.encode(texts, most)

    def encode_targets(self, texts: Sequence[str], most: int | None = None) -> list[list[str]]:
        """Return the symbols of many texts that the model writes; see ``encode_source``."""
        return self._target.encode(texts, most)

    def decode(self, symbols: Sequence[str]) -> str:
        """Return the text of symbols that the model wrote, without those that frame it.

        Raises:
            UserError: a symbol is none of the model's.
        """
        ids = []
        for symbol in symbols:
            if symbol.isascii() and symbol.isdigit() and len(symbol) <= len(str(self._size)):
                ids.append(int(symbol))
            elif symbol == SYMBOLS["unk"] and "unk" in self._target.ids:
                ids.append(self._target.ids["unk"])
            elif not _IN_BRACKETS.fullmatch(symbol):
                ids.append(self._size)
            if ids and ids[-1] >= self._size:
                raise UserError(
                    f"{symbol!r} is no token of the model in {self._folder}, which has "
                    f"{self._size:,}: another model wrote it"
                )
        text: str = self._target.tokenizer.decode(ids, skip_special_tokens=False)
        return text


def _side(file: Path, described: dict[str, Any], where: Path) -> _Side:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise UserError(
            f"tokenizers cannot be imported ({error}): pip install 'genft_fairseq[hf]'"
        ) from error
    if not file.is_file():
        raise UserError(
            f"{file.parent} holds no {file.name}, the tokeniser of the model: copy it from the "
            "folder that genft import-hf made"
        )
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises bare exceptions
        raise UserError(f"{file} is no tokeniser ({error})") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # what text spells is text
    ids = {name: described.get(name) for name in SYMBOLS}
    prefix = described.get("prefix", [])
    whole = all(value is None or type(value) is int for value in ids.values())
    if not whole or not isinstance(prefix, list) or not all(isinstance(s, str) for s in prefix):
        raise UserError(f"{where} is broken: {list(SYMBOLS)} must be ids or null, prefix symbols")
    known = {name: value for name, value in ids.items() if value is not None}
    special = (i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special)
    return _Side(
        tokenizer,
        known,
        frozenset({*known.values(), *special}),
        tuple(prefix),
    )
