"""The form of a data folder's text: how sentences became symbols, and how these become text."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sacremoses import MosesDetokenizer, MosesDetruecaser

from genft_fairseq.data.manifest import read_preparation
from genft_fairseq.evaluation.pieces import Pieces, Text


@dataclass(frozen=True)
class TextForm:
    """How the text of a folder became symbols.

    Attributes:
        pieces: how subwords make up words.
        tokenizer: ``moses`` where words are Moses' tokens, otherwise ``none``.
        is_prepared: whether a manifest says so, of our ``data-prep``.
        is_lowercased: whether capitals are gone.
        is_truecased: whether sentences begin in the case that their first word has elsewhere.
    """

    pieces: Pieces
    tokenizer: str
    is_prepared: bool
    is_lowercased: bool
    is_truecased: bool

    @property
    def is_known(self) -> bool:
        """Whether anything in the folder tells it."""
        return self.is_prepared or self.pieces.kind != "none"

    def text(self, language: str) -> Text:
        """Return what makes text in a language of the symbols of a hypothesis."""
        join = self.pieces.join
        if self.tokenizer == "none":
            return lambda symbols: join(symbols).strip()
        detokenizer = MosesDetokenizer(lang=language)
        if not self.is_truecased:
            return lambda symbols: str(detokenizer.detokenize(join(symbols).split()))
        detruecaser = MosesDetruecaser()
        return lambda symbols: str(
            detokenizer.detokenize(detruecaser.detruecase(join(symbols)) if symbols else [])
        )


def text_form(folders: Sequence[Path], bpe: str = "auto", tokenizer: str = "auto") -> TextForm:
    """Find the form of a text.

    Args:
        folders: where the files may be that tell ``auto`` what to do; see ``Pieces``.
        bpe: how pieces make up words; see ``Pieces``.
        tokenizer: *moses* undoes what Moses' tokeniser did to text; *auto* does so where the
            manifest says that it was used, or none says anything and pieces are subword-nmt's.
    """
    pieces = Pieces(None, bpe, folders)
    found = next((p for folder in folders if (p := read_preparation(folder))), None)
    if tokenizer == "auto":
        is_split = found.has_moses_tokens if found else pieces.kind == "subword_nmt"
        tokenizer = "moses" if is_split else "none"
    return TextForm(
        *(pieces, tokenizer, found is not None),
        is_lowercased=found is not None and found.is_lowercased,
        is_truecased=found is not None and found.is_truecased,
    )
