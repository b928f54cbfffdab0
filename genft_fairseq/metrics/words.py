"""Words of a text by language, where they stand, and marks around those that repeat."""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import regex

from genft_fairseq.metrics.repetition import inside_repeated

# The first seven are MLQA's.  ``other``: words between spaces, no articles (French, Russian, ...).
LANGUAGES = (
    *("en", "de", "es", "vi", "ar", "hi", "zh"),
    *("ko", "ja", "th", "lo", "km", "my", "other"),
)

# Languages whose words are characters: no spaces between words, or endings attached to them.
BY_CHARACTER = frozenset({"ko", "zh", "ja", "th", "lo", "km", "my"})

WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")

CHARACTER = regex.compile(r"[\p{L}\p{M}\p{N}]")

# A word, a sign of punctuation, or the end of a line.
_WORD = re.compile(r"\w+|[^\w\s]|\n")

OPEN, CLOSE = "⟦", "⟧"

# Marks of a text's own would be taken for ours.
NO_MARKS = str.maketrans({OPEN: "[", CLOSE: "]"})


class Word(NamedTuple):
    """A word as it is compared, and its place in the text."""

    word: str
    begin: int
    end: int


def words(text: str) -> list[str]:
    """Split text into words and signs of punctuation, each a word of its own.

    S. Welleck et al. (ICLR 2020, arXiv:1908.04319) count the words of GPT-2's text so.
    """
    return _WORD.findall(text)


def word_spans(text: str, by_character: bool = False) -> list[Word]:
    """Find the words of a text: letters, marks and digits in a row, in lower case.

    Args:
        text: composed (NFC).
        by_character: each letter or digit is a word, as in ``BY_CHARACTER``.
    """
    pattern = CHARACTER if by_character else WORD
    return [
        Word(composed(found[0], by_character).lower(), found.start(), found.end())
        for found in pattern.finditer(text)
    ]


def words_of(text: str, by_character: bool = False) -> list[str]:
    """Return the words of a text as they are compared; see ``word_spans``."""
    return [found.word for found in word_spans(composed(text, False), by_character)]


def composed(text: str, by_character: bool) -> str:
    """Compose letters with their marks: NFC, or NFKC of text that is compared by characters."""
    return unicodedata.normalize("NFKC" if by_character else "NFC", text)


def mark_repeated(text: str, n: int = 3, by_character: bool = False) -> str:
    """Return a text with the words of n-grams that occurred before between marks.

    The text is composed; marks of its own become square brackets.
    """
    text = composed(text, False).translate(NO_MARKS)
    found = word_spans(text, by_character)
    repeated = inside_repeated([word.word for word in found], n)
    return mark_spans(text, _runs(found, repeated))


def mark_spans(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Put ``OPEN`` and ``CLOSE`` around parts of a text.

    Args:
        text: without marks.
        spans: where each part begins and ends; in order, apart from each other.
    """
    marked, done = "", 0
    for begin, end in spans:
        marked += text[done:begin] + OPEN + text[begin:end] + CLOSE
        done = end
    return marked + text[done:]


def _runs(found: Sequence[Word], repeated: Sequence[bool]) -> list[tuple[int, int]]:
    """The places of repeated words, those of neighbours as one."""
    runs: list[tuple[int, int]] = []
    before = False
    for word, again in zip(found, repeated, strict=True):
        if again:
            begin = runs.pop()[0] if before else word.begin
            runs.append((begin, word.end))
        before = again
    return runs
