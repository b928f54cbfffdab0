"""How much of a summary is taken from its source.

Novel n-grams: A. See et al., *Get To The Point: Summarization with Pointer-Generator Networks*, ACL
2017, arXiv:1704.04368, figure 6; S. Narayan et al., *Don't Give Me the Details, Just the Summary!*,
EMNLP 2018, arXiv:1808.08745, table 1.

Extractive fragments: M. Grusky et al., *Newsroom: A Dataset of 1.3 Million Summaries with Diverse
Extractive Strategies*, NAACL 2018, arXiv:1804.11283, section 4.
"""

from collections.abc import Sequence
from functools import cached_property

LENGTHS = (1, 2, 3, 4)


def ngrams(words: Sequence[str], n: int) -> set[tuple[str, ...]]:
    """Return the distinct n-grams of words in a row."""
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


class Source:
    """The words of what is summarised, and where they stand.

    Args:
        words: in order.
    """

    def __init__(self, words: Sequence[str]):
        self.words = words

    @cached_property
    def ngrams(self) -> dict[int, set[tuple[str, ...]]]:
        """Its n-grams by n."""
        return {n: ngrams(self.words, n) for n in LENGTHS}

    @cached_property
    def places(self) -> dict[str, list[int]]:
        """Where each word stands."""
        found: dict[str, list[int]] = {}
        for place, word in enumerate(self.words):
            found.setdefault(word, []).append(place)
        return found


def novel_ngrams(words: Sequence[str], source: Source, n: int) -> float | None:
    """Return the share of a text's distinct n-grams that its source does not have.

    An n-gram counts once, however often the text has it: repetition is no novelty.

    Args:
        words: of the summary.
        source: what it summarises.
        n: of ``LENGTHS``.

    Returns:
        a share in [0, 1], or None for a text shorter than n.
    """
    own = ngrams(words, n)
    return len(own - source.ngrams[n]) / len(own) if own else None


def fragments(words: Sequence[str], source: Source) -> list[int]:
    """Return the lengths of the fragments of the source that a text is made of.

    Greedy, as in figure 3 of the paper: from the first word on, the longest run of words that the
    source has, then on behind it. As there, occurrences in the source that overlap with one already
    tried are not looked at.
    """
    found = []
    begin = 0
    while begin < len(words):
        longest = untried = 0
        for place in source.places.get(words[begin], ()):
            if place < untried:
                continue
            length = _shared(words, begin, source.words, place)
            longest, untried = max(longest, length), place + length
        if longest:
            found.append(longest)
        begin += max(longest, 1)
    return found


def _shared(words: Sequence[str], begin: int, others: Sequence[str], place: int) -> int:
    length = 0
    room = min(len(words) - begin, len(others) - place)
    while length < room and words[begin + length] == others[place + length]:
        length += 1
    return length


def fragment_figures(words: Sequence[str], source: Source) -> dict[str, float | None]:
    """Compute what the fragments of a text tell.

    Returns:
        ``coverage``, the share of its words that stand in a fragment; ``density``, the mean length
        (words) of the fragment that a word stands in, 0 outside; ``compression``, the words of the
        source for each of its own. All are None for a text without words.
    """
    if not words:
        return dict.fromkeys(("coverage", "density", "compression"))
    lengths = fragments(words, source)
    return {
        "coverage": sum(lengths) / len(words),
        "density": sum(length**2 for length in lengths) / len(words),
        "compression": len(source.words) / len(words),
    }
