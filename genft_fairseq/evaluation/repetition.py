"""Repetition and variety of texts.

S. Welleck et al., *Neural Text Generation with Unlikelihood Training*, ICLR 2020,
arXiv:1908.04319: seq-rep-n and uniq-seq.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass


def repetition(text: Sequence[Hashable], n: int) -> float | None:
    """Return the share of n-grams that repeat an earlier one, ``1 - distinct / all``.

    Args:
        text: tokens or words.
        n: the length of an n-gram, at least 1.

    Returns:
        a share in [0, 1), or None for a text shorter than n, which has no n-gram.
    """
    ngrams = [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else None


@dataclass
class MeanRepetition:
    """seq-rep-n over a collection: the mean over texts, and how many were too short to count."""

    mean: float | None
    too_short: int


def mean_repetition(texts: Iterable[Sequence[Hashable]], n: int) -> MeanRepetition:
    """Average ``repetition`` over texts, leaving out those shorter than n."""
    values = [repetition(text, n) for text in texts]
    counted = [value for value in values if value is not None]
    mean = sum(counted) / len(counted) if counted else None
    return MeanRepetition(mean, too_short=len(values) - len(counted))


def inside_repeated(text: Sequence[Hashable], n: int) -> list[bool]:
    """Tell of each token whether it lies inside an n-gram that occurred earlier in the text.

    Args:
        text: tokens or words.
        n: the length of an n-gram, at least 1.
    """
    seen: set[tuple[Hashable, ...]] = set()
    inside = [False] * len(text)
    for begin in range(len(text) - n + 1):
        ngram = tuple(text[begin : begin + n])
        if ngram in seen:
            inside[begin : begin + n] = [True] * n
        seen.add(ngram)
    return inside
