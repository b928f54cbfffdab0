"""GPT-2's byte-level BPE in the files of fairseq and of transformers.

A byte-level BPE is numbered subwords and merges.  OpenAI and fairseq read ``encoder.json`` and
``vocab.bpe``; transformers reads ``vocab.json`` and ``merges.txt``, which have the same content, or
both in one ``tokenizer.json``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode

from genft_fairseq.convert.huggingface_folder import read_json, read_text
from genft_fairseq.errors import UserError

END_OF_TEXT = "<|endoftext|>"

FAIRSEQ_FILES = ("encoder.json", "vocab.bpe")
HUGGING_FACE_FILES = ("vocab.json", "merges.txt")
ONE_FILE = "tokenizer.json"

_ANY = f"{ONE_FILE}, {' and '.join(HUGGING_FACE_FILES)}, or {' and '.join(FAIRSEQ_FILES)}"

_VERSION = "#version: 0.2"


@dataclass(frozen=True)
class Tokeniser:
    """A byte-level BPE.

    Attributes:
        subwords: the id of every subword, 0 to V - 1.
        merges: the pairs that are merged, in order.
        source: path that it was read from, for messages.
    """

    subwords: Mapping[str, int]
    merges: tuple[tuple[str, str], ...]
    source: str

    @property
    def end_of_text(self) -> int:
        """The id of ``<|endoftext|>``, 50256 in GPT-2's own tokeniser."""
        return self.subwords[END_OF_TEXT]

    def require_size(self, vocabulary: int) -> None:
        """Refuse a model with a vocabulary of another size.

        Raises:
            UserError: the sizes differ.
        """
        if len(self.subwords) != vocabulary:
            raise UserError(
                f"{self.source} has {len(self.subwords)} pieces, but the model a vocabulary of "
                f"{vocabulary}: they do not belong together"
            )


def read_tokeniser(folder: Path) -> Tokeniser | None:
    """Read the tokeniser of a folder, in any of its files; None where there is none.

    ``tokenizer.json`` comes first, because it alone holds subwords that were added later.

    Raises:
        UserError: the files are broken, or not a byte-level BPE such as fairseq's ``--bpe gpt2``.
    """
    if (folder / ONE_FILE).is_file():
        tokeniser = _read_one_file(folder / ONE_FILE)
    else:
        pairs = [(folder / a, folder / b) for a, b in (HUGGING_FACE_FILES, FAIRSEQ_FILES)]
        found = [pair for pair in pairs if all(path.is_file() for path in pair)]
        if not found:
            return None
        subwords, merges = found[0]
        lines = read_text(merges).split("\n")  # not splitlines: any character
        kept = [line for line in lines if line and not line.startswith("#version")]
        tokeniser = Tokeniser(
            read_json(subwords), tuple(_pair(line, merges) for line in kept), str(subwords)
        )
    _require_byte_level(tokeniser)
    return tokeniser


def require_tokeniser(folder: Path, given: Path | None) -> Tokeniser:
    """Read the tokeniser of ``--gpt2-bpe``, or else of a folder.

    Raises:
        UserError: there is none, or ``read_tokeniser`` refuses it.
    """
    tokeniser = read_tokeniser(given or folder)
    if tokeniser is None and given is not None:
        raise UserError(f"--gpt2-bpe {given} holds no tokeniser: neither {_ANY}")
    if tokeniser is None:
        raise UserError(f"{folder} holds no tokeniser: neither {_ANY}; add --gpt2-bpe DIR")
    return tokeniser


def _read_one_file(path: Path) -> Tokeniser:
    whole = read_json(path)
    model = whole.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        raise UserError(f"{path} is no BPE, which is what GPT-2 has")
    splitting = whole.get("pre_tokenizer")
    splitting = splitting if isinstance(splitting, dict) else {}
    if splitting.get("type") != "ByteLevel" or splitting.get("add_prefix_space"):
        raise UserError(
            f"{path} splits text otherwise than GPT-2 does (its pre_tokenizer must be ByteLevel, "
            f"without add_prefix_space); to use other files, add --gpt2-bpe DIR"
        )
    if whole.get("normalizer"):
        raise UserError(f"{path} changes text before it is split (normalizer), unlike GPT-2")
    try:
        subwords = {
            **model["vocab"],
            **{a["content"]: a["id"] for a in whole.get("added_tokens", ())},
        }
        merges = tuple(_pair(merge, path) for merge in model["merges"])
    except (KeyError, TypeError, AttributeError) as error:
        lacking = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise UserError(f"{path} is broken: {lacking}") from error
    return Tokeniser(subwords, merges, str(path))


def _pair(merge: Any, path: Path) -> tuple[str, str]:
    words = merge.split(" ") if isinstance(merge, str) else merge
    pair = isinstance(words, list) and all(isinstance(word, str) for word in words)
    if not pair or len(words) != 2:
        raise UserError(f"{path} holds {merge!r}, which is not a pair of pieces to merge")
    return words[0], words[1]


def _require_byte_level(tokeniser: Tokeniser) -> None:
    """Refuse a tokeniser that would fail in the middle of a text, or split it differently."""
    subwords, source = tokeniser.subwords, tokeniser.source
    numbers = list(subwords.values())
    whole = all(type(number) is int for number in numbers)
    if not whole or sorted(numbers) != list(range(len(numbers))):
        raise UserError(f"{source} does not number its {len(numbers)} pieces from 0 on")
    if END_OF_TEXT not in subwords:
        raise UserError(f"{source} has no piece {END_OF_TEXT}, which ends GPT-2's texts")
    missing = [byte for byte, symbol in bytes_to_unicode().items() if symbol not in subwords]
    if missing:
        raise UserError(f"{source} is not byte-level: it has no piece for byte {missing[0]}")
    for first, second in tokeniser.merges:
        unknown = [
            subword for subword in (first, second, first + second) if subword not in subwords
        ]
        if unknown:
            raise UserError(f"{source} does not know {unknown[0]!r}, which its merges use")


def write_for_fairseq(tokeniser: Tokeniser, folder: Path) -> None:
    """Write ``dict.txt``, one line for every id, and the files of ``--bpe gpt2``."""
    lines = "".join(f"{number} 1\n" for number in range(len(tokeniser.subwords)))
    (folder / "dict.txt").write_text(lines, encoding="utf-8")
    _write_pair(tokeniser, folder, FAIRSEQ_FILES)


def write_for_hugging_face(tokeniser: Tokeniser, folder: Path, positions: int) -> None:
    """Write the files that ``AutoTokenizer.from_pretrained`` reads."""
    _write_pair(tokeniser, folder, HUGGING_FACE_FILES)
    symbols = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
    settings = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": positions, **symbols}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def _write_pair(tokeniser: Tokeniser, folder: Path, names: tuple[str, str]) -> None:
    in_order = dict(sorted(tokeniser.subwords.items(), key=lambda subword: subword[1]))
    (folder / names[0]).write_text(json.dumps(in_order), encoding="utf-8")
    lines = [_VERSION, *(" ".join(pair) for pair in tokeniser.merges)]
    (folder / names[1]).write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def require_same_dictionary(path: Path, size: int) -> None:
    """Refuse a fairseq dictionary whose symbols are not GPT-2's ids in order.

    Args:
        path: ``dict.txt``.
        size: V, the required number of symbols.

    Raises:
        UserError: it cannot be read, or holds other symbols.
    """
    symbols = [line.rpartition(" ")[0] for line in read_text(path).split("\n") if line]
    for number, symbol in enumerate(symbols):
        if symbol != str(number):
            raise UserError(
                f"{path} is not GPT-2's dictionary: line {number + 1} must be {number}, "
                f"but is {symbol}"
            )
    if len(symbols) != size:
        raise UserError(f"{path} holds {len(symbols)} symbols, but the model {size} and fairseq's")
