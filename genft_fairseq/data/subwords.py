"""From token ids to text: subwords are joined, word tokenisation is undone.

A data folder's files tell how its text became symbols. Parts of a text may be marked: those that
repeat, say.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from genft_fairseq.data.huggingface_tokeniser import DESCRIPTION, ModelTokeniser
from genft_fairseq.data.prepared_tokeniser import Preparation, joiner, read_preparation
from genft_fairseq.errors import UserError
from genft_fairseq.metrics.words import CLOSE, NO_MARKS, OPEN, mark_spans

KINDS = ("auto", "none", "subword_nmt", "gpt2", "hugging_face", "sentencepiece")

CODES = "bpe.codes"

GPT2_FILES = ("encoder.json", "vocab.bpe")

# What SentencePiece writes in the place of a space; and the least share of a dictionary's symbols
# that begin with it where it is no character of the text.
_SPACE, _LEAST_SPACES = "\u2581", 0.01

# How the end-of-sentence symbol is shown: in a language model's text, a paragraph ends there.
END = "¶"

Detokeniser = Callable[[Sequence[str]], str]

Bytes = Callable[[str], bytes]


class Subwords:
    """Knows how the symbols of a dictionary make up text.

    Args:
        dictionary: fairseq's, of the data.
        kind: one of ``KINDS``; ``auto`` goes by the files that are there, and where these do not
            tell by the symbols of ``dict*.txt``.
        folders: where GPT-2's ``encoder.json`` and ``vocab.bpe``, subword-nmt's ``bpe.codes``, or
            ``hugging_face.json`` of an imported model with its tokeniser may be.

    Raises:
        UserError: GPT-2's files or a model's are needed, but in none of the folders, or broken.
    """

    def __init__(self, dictionary: Any, kind: str, folders: Sequence[Path]):
        self.dictionary = dictionary
        self.kind = _found_kind(folders) if kind == "auto" else kind
        self._bytes: Bytes = _gpt2_bytes(folders) if self.kind == "gpt2" else str.encode
        # Makes text of symbols of the dictionary.
        self.join: Detokeniser
        if self.kind == "hugging_face":
            decode = _model_tokeniser(folders).decode
            self.join = lambda symbols: decode([s for s in symbols if s != END])
        else:
            self.join = {
                "none": " ".join,
                "subword_nmt": _subword_nmt_text,
                "sentencepiece": _sentencepiece_text,
                "gpt2": lambda symbols: b"".join(map(self._bytes, symbols)).decode(
                    errors="replace"
                ),
            }[self.kind]

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of token ids; the end-of-sentence symbol becomes ``END``."""
        return self.join(self._symbols(ids))

    def marked(self, ids: Sequence[int], repeated: Sequence[bool]) -> str:
        """Return the text with the repeated tokens between ``OPEN`` and ``CLOSE``."""
        symbols = [symbol.translate(NO_MARKS) for symbol in self._symbols(ids)]
        spans = groupby(zip(symbols, repeated, strict=True), key=lambda pair: pair[1])
        parts = [(again, [symbol for symbol, _ in pairs]) for again, pairs in spans]
        if self.kind == "gpt2":
            return _gpt2_marked(parts, self._bytes)
        if self.kind == "hugging_face":
            return _marked_words(symbols, repeated, self.join)
        for again, part in parts:
            if again:
                # Behind the sign that stands for a space.
                space = _SPACE if self.kind == "sentencepiece" else ""
                space = space if space and part[0].startswith(space) else ""
                part[0] = space + OPEN + part[0].removeprefix(space)
                # Before the sign that glues the next subword to this one.
                glue = "@@" if self.kind == "subword_nmt" and part[-1].endswith("@@") else ""
                part[-1] = part[-1].removesuffix(glue) + CLOSE + glue
        return self.join([symbol for _, part in parts for symbol in part])

    def _symbols(self, ids: Sequence[int]) -> list[str]:
        end = self.dictionary.eos()
        return [END if token == end else self.dictionary[token] for token in ids]


@dataclass(frozen=True)
class TextForm:
    """How the text of a folder became symbols.

    Attributes:
        subwords: how they make up words.
        words: how text became words.
        is_prepared: whether a manifest says it, of our ``data-prep``.
    """

    subwords: Subwords
    words: Preparation
    is_prepared: bool

    @property
    def is_known(self) -> bool:
        """Whether anything in the folder tells it."""
        return self.is_prepared or self.subwords.kind != "none"

    def text(self, language: str) -> Detokeniser:
        """Return what makes text in a language of the symbols of a hypothesis."""
        join = joiner(self.words, language)
        return lambda symbols: join(self.subwords.join(symbols))


def text_form(folders: Sequence[Path], bpe: str = "auto", tokenizer: str = "auto") -> TextForm:
    """Find the form of a text.

    Args:
        folders: where the files may be that tell ``auto`` what to do; see ``Subwords``.
        bpe: how subwords make up words; see ``Subwords``.
        tokenizer: *moses* undoes what Moses' tokeniser did to text, *none* nothing; *auto* does
            what the manifest says, and where there is none *moses* for subword-nmt's subwords.
    """
    subwords = Subwords(None, bpe, folders)
    found = next((p for folder in folders if (p := read_preparation(folder))), None)
    words = found or Preparation(has_moses_tokens=subwords.kind == "subword_nmt")
    if tokenizer != "auto":
        words = replace(words, has_moses_tokens=tokenizer == "moses")
    return TextForm(subwords, words, is_prepared=found is not None)


def _found_kind(folders: Sequence[Path]) -> str:
    if any((folder / DESCRIPTION).exists() for folder in folders):
        return "hugging_face"
    if _gpt2_folder(folders):
        return "gpt2"
    if any((folder / CODES).exists() for folder in folders):
        return "subword_nmt"
    return next((kind for folder in folders if (kind := _kind_of_symbols(folder))), "none")


def _kind_of_symbols(folder: Path) -> str:
    """Which subwords the dictionaries of a data folder hold, by their marks; empty: none."""
    for path in sorted(path for path in folder.glob("dict*.txt") if path.is_file()):
        with path.open(encoding="utf-8", errors="replace") as lines:
            symbols = [line.partition(" ")[0] for line in lines]
        if any(len(symbol) > 2 and symbol.endswith("@@") for symbol in symbols):
            return "subword_nmt"
        if sum(s.startswith(_SPACE) for s in symbols) > _LEAST_SPACES * len(symbols):
            return "sentencepiece"
    return ""


def _subword_nmt_text(symbols: Sequence[str]) -> str:
    return (" ".join(symbols) + " ").replace("@@ ", "").rstrip(" ")


def _sentencepiece_text(symbols: Sequence[str]) -> str:
    if not any(_SPACE in symbol for symbol in symbols):  # fairseq-generate has joined them
        return " ".join(symbols)
    return "".join(symbols).replace(_SPACE, " ").strip()


def _model_tokeniser(folders: Sequence[Path]) -> ModelTokeniser:
    folder = next((f for f in folders if (f / DESCRIPTION).exists()), None)
    if folder is None:
        places = " or ".join(map(str, folders))
        raise UserError(f"--bpe hugging_face needs {DESCRIPTION} and its tokeniser in {places}")
    return ModelTokeniser.read(folder)


def _marked_words(symbols: Sequence[str], repeated: Sequence[bool], join: Detokeniser) -> str:
    """Put marks around whole words: a tokeniser of another's may write a space on either side."""
    text = join(symbols).translate(NO_MARKS)
    ends = [0, *(len(join(symbols[: i + 1])) for i in range(len(symbols)))]
    again = [(ends[i], ends[i + 1]) for i, flag in enumerate(repeated) if flag]
    words = [found.span() for found in re.finditer(r"\S+", text)]
    hit = [any(a < end and begin < b for a, b in again) for begin, end in words]
    runs = groupby(zip(words, hit, strict=True), key=lambda pair: pair[1])
    spans = [[span for span, _ in pairs] for marked, pairs in runs if marked]
    return mark_spans(text, [(run[0][0], run[-1][1]) for run in spans])


def _gpt2_folder(folders: Sequence[Path]) -> Path | None:
    return next((f for f in folders if all((f / name).exists() for name in GPT2_FILES)), None)


def _gpt2_bytes(folders: Sequence[Path]) -> Bytes:
    """What each symbol stands for: GPT-2's subwords are of bytes, and cut letters in two."""
    from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

    folder = _gpt2_folder(folders)
    if folder is None:
        places = " or ".join(map(str, folders))
        raise UserError(f"--bpe gpt2 needs encoder.json and vocab.bpe in {places}")
    try:
        bpe = get_encoder(str(folder / "encoder.json"), str(folder / "vocab.bpe"))
        unknown = {sign for subword in bpe.decoder.values() for sign in subword} - {
            *bpe.byte_decoder
        }
        if unknown:
            raise ValueError(f"{min(unknown)!r} stands for no byte")
    # What fairseq's reader raises of other files depends on what they hold.
    except Exception as error:
        raise UserError(
            f"encoder.json and vocab.bpe in {folder} are not those of a GPT-2 ({error!r:.200})"
        ) from error

    def spelled(symbol: str) -> bytes:
        subword = bpe.decoder.get(int(symbol)) if symbol.isdecimal() else None
        if subword is None:  # END, and fairseq's own symbols
            return symbol.encode()
        return bytes(bpe.byte_decoder[character] for character in subword)

    return spelled


def _gpt2_marked(parts: Sequence[tuple[bool, list[str]]], spelled: Bytes) -> str:
    """Put marks around the repeated parts, but never inside a letter."""
    text = bytearray()
    waiting = ""
    for again, symbols in parts:
        waiting += OPEN * again
        for byte in b"".join(map(spelled, symbols)):
            if waiting and byte & 0xC0 != 0x80:  # where a letter of UTF-8 begins
                text += waiting.replace(OPEN + CLOSE, "").encode()
                waiting = ""
            text.append(byte)
        waiting += CLOSE * again
    text += waiting.replace(OPEN + CLOSE, "").encode()
    return text.decode(errors="replace")
