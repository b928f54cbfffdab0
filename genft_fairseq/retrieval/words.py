"""The words of a text, as BM25 counts them, in any script."""

import unicodedata
from collections.abc import Callable
from functools import lru_cache

import regex

# What Lucene leaves out of English.
STOPWORDS = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with".split()
)

_ATTACHED = r"\p{Hangul}\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
# A stretch of a script whose words are not told apart by spaces alone, or a word of another one.
_STRETCH = regex.compile(
    rf"(?P<attached>[{_ATTACHED}][{_ATTACHED}\p{{M}}ー]*)|[[\p{{L}}\p{{N}}\p{{M}}]--[{_ATTACHED}]]+",
    flags=regex.V1,
)


class Words:
    """A tokeniser: lower-case words, and pairs of characters where words are written together.

    Korean, Chinese, Japanese, Thai and their like have no spaces between words, or endings
    attached to them: their stretches are cut into overlapping pairs of characters, as Lucene's
    analyser for them does; a single character stays one.

    Args:
        stopwords: leave out the words that English is full of.
        stemming: cut the endings of English words off (Porter's stemmer).
    """

    def __init__(self, stopwords: bool = True, stemming: bool = False):
        self._left_out = STOPWORDS if stopwords else frozenset()
        self._stem = _stemmer() if stemming else None

    def __call__(self, text: str) -> list[str]:
        """Return the words of a text, in order."""
        words: list[str] = []
        for match in _STRETCH.finditer(unicodedata.normalize("NFKC", text).lower()):
            found = match.group()
            if match["attached"]:
                words.extend(found[i : i + 2] for i in range(max(1, len(found) - 1)))
            elif found not in self._left_out:
                words.append(self._stem(found) if self._stem and found.isascii() else found)
        return words


def _stemmer() -> Callable[[str], str]:
    from nltk.stem.porter import PorterStemmer  # of rouge-score's; its import takes a while

    return lru_cache(maxsize=1 << 16)(PorterStemmer().stem)
