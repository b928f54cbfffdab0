"""Words, and where in a text they stand."""

from collections.abc import Sequence
from typing import NamedTuple

import regex

from genft_fairseq.evaluation.pieces import NO_MARKS, mark_spans
from genft_fairseq.evaluation.question_answering import composed
from genft_fairseq.evaluation.repetition import inside_repeated

WORD = regex.compile(r"[\p{L}\p{M}\p{N}]+")
CHARACTER = regex.compile(r"[\p{L}\p{M}\p{N}]")


class Word(NamedTuple):
    """A word as it is compared, and its place in the text."""

    word: str
    begin: int
    end: int


def word_spans(text: str, by_character: bool = False) -> list[Word]:
    """Find the words of a text: letters, marks and digits in a row, in lower case.

    Args:
        text: composed (NFC).
        by_character: each letter or digit is a word, as in ``BY_CHARACTER`` of
            ``question_answering``.
    """
    pattern = CHARACTER if by_character else WORD
    return [
        Word(composed(found[0], by_character).lower(), found.start(), found.end())
        for found in pattern.finditer(text)
    ]


def words_of(text: str, by_character: bool = False) -> list[str]:
    """Return the words of a text as they are compared; see ``word_spans``."""
    return [found.word for found in word_spans(composed(text, False), by_character)]


def mark_repeated(text: str, n: int = 3, by_character: bool = False) -> str:
    """Return a text with the words of n-grams that occurred before between marks.

    The text is composed; marks of its own become square brackets.
    """
    text = composed(text, False).translate(NO_MARKS)
    found = word_spans(text, by_character)
    repeated = inside_repeated([word.word for word in found], n)
    return mark_spans(text, _runs(found, repeated))


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
