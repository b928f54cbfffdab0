"""How the text of a prepared data folder became words, and how to do and undo it.

``MANIFEST.json`` of a folder of ``data-prep`` tells.  Where punctuation was normalised, capitals
were taken away or sentences truecased, the words of a typed text are those of the data only if the
same is done to it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from genft_fairseq.errors import UserError, require_regular

NAME = "MANIFEST.json"

# The steps of data-prep that split text into Moses' tokens.
_MOSES = ("moses_tokenise.py", "fid_words.py")


@dataclass(frozen=True)
class Preparation:
    """How text became words, before these were split into subwords.

    Attributes:
        has_moses_tokens: whether words are Moses' tokens; otherwise they stand between spaces.
        is_normalised: whether punctuation is Moses' normal one.
        is_lowercased: whether capitals are gone.
        is_truecased: whether sentences begin in the case that their first word has elsewhere.
    """

    has_moses_tokens: bool
    is_normalised: bool = False
    is_lowercased: bool = False
    is_truecased: bool = False


def read_recipe(folder: Path) -> tuple[str, list[str]] | None:
    """Return the command that prepared a data folder, and those that it ran.

    None where no manifest says it: a folder of another make, or its files alone.
    """
    if not (folder / NAME).is_file():
        return None
    try:
        manifest = json.loads((folder / NAME).read_text(encoding="utf-8"))
        ran = [str(command) for command in manifest.get("commands") or []]
        return str(manifest["recipe"]["command"]), ran
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def read_preparation(folder: Path) -> Preparation | None:
    """Return how the text of a data folder was prepared; None where no manifest says it."""
    found = read_recipe(folder)
    if found is None:
        return None
    recipe, commands = found
    if not commands and "--tokenise none" not in recipe:
        return None
    words = " ".join(command for command in commands if command.startswith(_MOSES))
    return Preparation(
        has_moses_tokens=bool(words),
        is_normalised="punctuation normalised" in words,
        is_lowercased="--lowercase" in words,
        is_truecased="--truecase on" in recipe,
    )


TRUECASE_MODEL = "truecase-model"


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


def splitter(preparation: Preparation, folder: Path, language: str) -> Callable[[str], str]:
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
