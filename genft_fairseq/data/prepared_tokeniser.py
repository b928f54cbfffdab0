"""``--tokenizer prepared``: the words of a data folder of ``data-prep``, for fairseq's commands.

Where punctuation was normalised, capitals were taken away or sentences truecased, the words of a
typed text are those of the data only if the same is done to it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fairseq.data.encoders import register_tokenizer
from fairseq.dataclass import FairseqDataclass

from genft_fairseq.data.manifest import NAME, Preparation, read_preparation
from genft_fairseq.errors import UserError, require_regular

TRUECASE_MODEL = "truecase-model"


@dataclass
class PreparedTokenizerConfig(FairseqDataclass):
    source_lang: str = field(default="en", metadata={"help": "source language"})
    target_lang: str = field(default="en", metadata={"help": "target language"})
    prepared_data: str = field(
        default="", metadata={"help": f"data folder whose {NAME} says how text became words"}
    )


@register_tokenizer("prepared", dataclass=PreparedTokenizerConfig)
class PreparedTokenizer:
    """Splits what the model reads into words, and makes text of those that it writes."""

    def __init__(self, cfg: PreparedTokenizerConfig):
        folder = Path(cfg.prepared_data)
        preparation = read_preparation(folder) if cfg.prepared_data else None
        if preparation is None:
            raise UserError(
                f"--tokenizer prepared needs --prepared-data DIR, which holds {NAME} of data-prep, "
                f"but was given {cfg.prepared_data!r}"
            )
        self._split = _splitter(preparation, folder, cfg.source_lang)
        self._join = joiner(preparation, cfg.target_lang)

    def encode(self, x: str) -> str:
        """Return the words of a text, between spaces."""
        return self._split(x)

    def decode(self, x: str) -> str:
        """Return the text of words."""
        return self._join(x)


def joiner(preparation: Preparation, language: str) -> Callable[[str], str]:
    """Return what makes text in a language of words between spaces."""
    if not preparation.has_moses_tokens:
        return str.strip
    from sacremoses import MosesDetokenizer, MosesDetruecaser

    detokenise = MosesDetokenizer(lang=language).detokenize
    if not preparation.is_truecased:
        return lambda words: str(detokenise(words.split()))
    detruecase = MosesDetruecaser().detruecase
    return lambda words: str(detokenise(detruecase(words)))


def _splitter(preparation: Preparation, folder: Path, language: str) -> Callable[[str], str]:
    if not preparation.has_moses_tokens:
        return lambda text: " ".join(text.split())
    from sacremoses import MosesPunctNormalizer, MosesTokenizer

    normalise = MosesPunctNormalizer(language).normalize if preparation.is_normalised else str
    tokenise = MosesTokenizer(language).tokenize

    def split(text: str) -> str:
        tokens = tokenise(normalise(text), aggressive_dash_splits=True, escape=False)
        words = " ".join(tokens)
        return words.lower() if preparation.is_lowercased else words

    if not preparation.is_truecased:
        return split
    truecase = _truecasing(folder / f"{TRUECASE_MODEL}.{language}")
    return lambda text: " ".join(truecase(words) if (words := split(text)) else [])


def _truecasing(path: Path) -> Callable[[str], list[str]]:
    from sacremoses import MosesTruecaser

    class Truecaser(MosesTruecaser):
        MAX_MODEL_ENTRIES = 1 << 40  # of any text

    require_regular(path)
    try:
        found: Callable[[str], list[str]] = Truecaser(str(path)).truecase
        return found
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a truecasing model: {error}") from error
