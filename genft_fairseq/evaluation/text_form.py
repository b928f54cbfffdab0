"""The form of a data folder's text: how sentences became symbols, and how these become text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from genft_fairseq.data.manifest import Preparation, read_preparation
from genft_fairseq.data.prepared_tokeniser import joiner
from genft_fairseq.evaluation.pieces import Pieces, Text


@dataclass(frozen=True)
class TextForm:
    """How the text of a folder became symbols.

    Attributes:
        pieces: how subwords make up words.
        words: how text became words.
        is_prepared: whether a manifest says it, of our ``data-prep``.
    """

    pieces: Pieces
    words: Preparation
    is_prepared: bool

    @property
    def is_known(self) -> bool:
        """Whether anything in the folder tells it."""
        return self.is_prepared or self.pieces.kind != "none"

    def text(self, language: str) -> Text:
        """Return what makes text in a language of the symbols of a hypothesis."""
        join = joiner(self.words, language)
        return lambda symbols: join(self.pieces.join(symbols))


def text_form(folders: Sequence[Path], bpe: str = "auto", tokenizer: str = "auto") -> TextForm:
    """Find the form of a text.

    Args:
        folders: where the files may be that tell ``auto`` what to do; see ``Pieces``.
        bpe: how pieces make up words; see ``Pieces``.
        tokenizer: *moses* undoes what Moses' tokeniser did to text, *none* nothing; *auto* does
            what the manifest says, and where there is none *moses* for subword-nmt's pieces.
    """
    pieces = Pieces(None, bpe, folders)
    found = next((p for folder in folders if (p := read_preparation(folder))), None)
    words = found or Preparation(has_moses_tokens=pieces.kind == "subword_nmt")
    if tokenizer != "auto":
        words = replace(words, has_moses_tokens=tokenizer == "moses")
    return TextForm(pieces, words, is_prepared=found is not None)
