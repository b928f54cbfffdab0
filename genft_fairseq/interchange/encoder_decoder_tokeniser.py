"""The tokeniser of an encoder-decoder in a folder of transformers', and how it frames a text."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genft_fairseq.data.model_tokeniser import SYMBOLS
from genft_fairseq.errors import UserError
from genft_fairseq.interchange.gpt2_tokeniser import read_json
from genft_fairseq.interchange.hugging_face_files import first_line, require_transformers
from genft_fairseq.models.hugging_face_description import Description

ONE_FILE = "tokenizer.json"
_CONFIGURATIONS = ("config.json", "tokenizer_config.json")
# What transformers makes one of; where none of them is, it makes an empty tokeniser.
OTHER_FILES = (
    *("spiece.model", "sentencepiece.bpe.model", "tokenizer.model"),
    *("vocab.txt", "vocab.json", "merges.txt"),
)


@dataclass(frozen=True)
class FramingTokeniser:
    """A tokeniser of the ``tokenizers`` library.

    Attributes:
        tokenizer: the library's own.
        frame: the ids of an empty text, those that stand around every text.
        pad: the id of its padding; None: it has none.
        unk: the id of what it does not know; None: it knows everything.
        source: where it was read, for messages.
    """

    tokenizer: Any
    frame: tuple[int, ...]
    pad: int | None
    unk: int | None
    source: str

    @property
    def size(self) -> int:
        """One more than its greatest id."""
        return max(self.tokenizer.get_vocab(with_added_tokens=True).values()) + 1

    @property
    def content(self) -> str:
        """The file that it is read from again."""
        text: str = self.tokenizer.to_str()
        return text


def read_tokeniser(folder: Path, flag: str) -> FramingTokeniser:
    """Read the tokeniser of a folder: ``tokenizer.json``, or what transformers makes one of.

    Args:
        folder: of transformers'.
        flag: which names another folder.

    Raises:
        UserError: there is none, it is broken, or it cannot be expressed as ``tokenizer.json``.
    """
    path = folder / ONE_FILE
    if path.is_file():
        tokenizer, source = _opened(path), str(path)
    else:
        tokenizer, source = _converted(folder, flag), str(folder)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    if not vocabulary.keys() - {t.content for t in tokenizer.get_added_tokens_decoder().values()}:
        raise UserError(f"{source} is an empty tokeniser")
    model = json.loads(tokenizer.to_str())["model"]
    unknown = model.get("unk_token")
    unk = model.get("unk_id") if unknown is None else vocabulary.get(unknown)
    if unk is None and vocabulary.get("<unk>") is not None:
        unk = vocabulary["<unk>"]
    pads = [vocabulary[name] for name in ("<pad>", "[PAD]") if name in vocabulary]
    frame = tuple(tokenizer.encode("", add_special_tokens=True).ids)
    return FramingTokeniser(tokenizer, frame, pads[0] if pads else None, unk, source)


def _opened(path: Path) -> Any:
    from tokenizers import Tokenizer

    if not path.is_file():
        raise UserError(f"{path.parent} holds no {path.name}")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare exceptions
        raise UserError(f"{path} is no tokeniser ({first_line(error)})") from error


def _converted(folder: Path, flag: str) -> Any:
    if not any((folder / name).is_file() for name in OTHER_FILES):
        raise UserError(
            f"{folder} holds no tokeniser: none of {', '.join((ONE_FILE, *OTHER_FILES))}; add "
            f"{flag} DIR"
        )
    transformers = require_transformers()
    kind, settings = transformers.AutoTokenizer, {}
    said = [read_json(f) for name in _CONFIGURATIONS if (f := folder / name).is_file()]
    classes = {str(one["tokenizer_class"]) for one in said if one.get("tokenizer_class")}
    alone = [name for name in OTHER_FILES if (folder / name).is_file()] == ["vocab.txt"]
    if alone and classes <= {"BertTokenizer", "BertTokenizerFast"}:
        # A vocab.txt alone is an old BERT's, whose configuration need not say so, nor whether
        # it knows capitals: its pieces tell.
        kind = transformers.BertTokenizer
        if not any("do_lower_case" in one for one in said):
            settings["do_lower_case"] = not _has_capitals(folder / "vocab.txt")
    try:
        fast = kind.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, **settings
        )
        return fast.backend_tokenizer
    except Exception as error:  # whatever is missing, transformers says it in its own way
        raise UserError(
            f"{folder} holds no tokeniser: no {ONE_FILE}, nor files that transformers makes one of "
            f"({first_line(error)}); add {flag} DIR"
        ) from error


def _has_capitals(vocabulary: Path) -> bool:
    """Tell whether a piece has a capital letter, but for symbols such as ``[CLS]``."""
    pieces = vocabulary.read_text(encoding="utf-8", errors="replace").split("\n")
    return any(piece != piece.lower() for piece in pieces if not piece.startswith("["))


def write_tokenisers(found: Path, described: Description, folder: Path) -> None:
    """Write what ``AutoTokenizer.from_pretrained`` reads.

    Args:
        found: a folder with the tokenisers of an imported model.
        described: the model.
        folder: to write to; the tokenisers of two vocabularies into ``source`` and ``target``.

    Raises:
        UserError: a tokeniser is missing or broken.
    """
    joined = (found / ONE_FILE).is_file()
    for name, side in (("source", described.source), ("target", described.target)):
        if joined and name == "target":
            continue
        file = found / (ONE_FILE if joined else f"tokenizer.{name}.json")
        tokenizer = _opened(file)
        special = {
            f"{symbol}_token": tokenizer.id_to_token(number)
            for symbol in SYMBOLS
            if (number := getattr(side, symbol)) is not None
        }
        known = {key: token for key, token in special.items() if token is not None}
        fast = require_transformers().PreTrainedTokenizerFast(tokenizer_object=tokenizer, **known)
        fast.save_pretrained(folder if joined else folder / name)
