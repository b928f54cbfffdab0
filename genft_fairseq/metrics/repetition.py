"""Repetition and variety of texts.

S. Welleck et al., *Neural Text Generation with Unlikelihood Training*, ICLR 2020,
arXiv:1908.04319: seq-rep-n and uniq-seq.  Y. Su et al., *A Contrastive Framework for Neural Text
Generation*, NeurIPS 2022, arXiv:2202.06417: diversity.  S. Zhang et al., *MixCE: Training
Autoregressive Language Models by Mixing Forward and Reverse Cross-Entropies*, ACL 2023,
arXiv:2305.16958: another diversity.

Derived in docs/mathematics.md, "Measures of repetition".
"""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

DIVERSITY_NGRAMS = (2, 3, 4)


def repetition(text: Sequence[Hashable], n: int) -> float | None:
    """Return the share of n-grams that repeat an earlier one, ``1 - distinct / all``.

    Args:
        text: tokens or words.
        n: the length of an n-gram, at least 1.

    Returns:
        a share in [0, 1), or None for a text shorter than n, which has no n-gram.
    """
    ngrams = _ngrams(text, n)
    return 1 - len(set(ngrams)) / len(ngrams) if ngrams else None


def mean_repetition(texts: Iterable[Sequence[Hashable]], n: int) -> float | None:
    """Return seq-rep-n of texts: the mean of ``repetition``, leaving out those shorter than n."""
    values = [repetition(text, n) for text in texts]
    return _mean([value for value in values if value is not None])


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


@dataclass
class Diversity:
    """Three measures that are published under this name; texts are added one by one.

    Attributes:
        peer_compatible: count ``diversity_corpus`` as the code behind Su et al.'s tables does
            (simctg/evaluation.py of yxuansu/SimCTG): without the last n-gram of each text, and
            with rep-n rounded to a hundredth of a per cent.
    """

    peer_compatible: bool = False
    distinct: dict[int, int] = field(default_factory=lambda: dict.fromkeys(DIVERSITY_NGRAMS, 0))
    total: dict[int, int] = field(default_factory=lambda: dict.fromkeys(DIVERSITY_NGRAMS, 0))
    products: list[float] = field(default_factory=list)
    pooled: list[float] = field(default_factory=list)

    def add(self, words: Sequence[Hashable]) -> None:
        """Add a text; in the published tables its words are what spaces part."""
        ngrams = {n: _ngrams(words, n) for n in range(1, 5)}
        for n in DIVERSITY_NGRAMS:
            counted = ngrams[n][:-1] if self.peer_compatible else ngrams[n]
            self.distinct[n] += len(set(counted))
            self.total[n] += len(counted)
        if ngrams[4]:
            shares = [len(set(ngrams[n])) / len(ngrams[n]) for n in DIVERSITY_NGRAMS]
            self.products.append(math.prod(shares))
        varied = [g for n in range(1, 5) for g in ngrams[n] if n <= 2 or len(set(g)) > 1]
        if varied:
            self.pooled.append(len(set(varied)) / len(varied))

    def metrics(self) -> dict[str, float | None]:
        """Return the measures by name, each a share, or None where no text was long enough.

        ``diversity_corpus`` (Su et al.), the product over n = 2 to 4 of distinct / all n-grams,
        each counted text by text and summed over the texts; ``diversity_per_text``, the mean of
        such products over the texts of four words or more; ``diversity_mixce`` (Zhang et al.), the
        mean over texts of distinct / all n-grams of 1 to 4 words together, without those of 3 and 4
        that are one word repeated.
        """
        return {
            "diversity_corpus": self._corpus(),
            "diversity_per_text": _mean(self.products),
            "diversity_mixce": _mean(self.pooled),
        }

    def _corpus(self) -> float | None:
        if not all(self.total.values()):
            return None
        shares = [self.distinct[n] / self.total[n] for n in DIVERSITY_NGRAMS]
        if self.peer_compatible:
            shares = [1 - round((1 - share) * 100, 2) / 100 for share in shares]
        return math.prod(shares)


def _ngrams(text: Sequence[Hashable], n: int) -> list[tuple[Hashable, ...]]:
    return [tuple(text[i : i + n]) for i in range(len(text) - n + 1)]


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
