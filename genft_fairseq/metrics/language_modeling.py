"""Metrics of language models: of each token on gold prefixes, and of completions.

S. Welleck et al., *Neural Text Generation with Unlikelihood Training*, ICLR 2020, arXiv:1908.04319,
section 6: perplexity, accuracy, rep/l, wrep/l, uniq; seq-rep-n, uniq-seq.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from genft_fairseq.errors import UserError
from genft_fairseq.functional.ngrams import repeated_ngram_mask
from genft_fairseq.functional.seen_tokens import token_distance
from genft_fairseq.metrics.repetition import DIVERSITY_NGRAMS, Diversity, repetition
from genft_fairseq.metrics.significance import ratio_interval
from genft_fairseq.metrics.words import words

# l of rep/l.
LENGTHS = (16, 32, 128, 512)

NGRAMS = (1, 2, 3, 4)

# The n-grams of which the share of repeated tokens is counted, and which are marked in the texts.
MARKED = 4

# Scores handled at a time: temporaries should stay small beside the logits.
_BLOCK_ELEMENTS = 2**22


@dataclass
class TokenMetrics:
    """Sums over a split, to which one batch after the other is added.

    A token's context is its own block, as in the papers: where blocks are shorter than l, rep/l
    counts what is there.

    Attributes:
        vocabulary: V.
        padding_idx: the id of padding.
        unknown_idx: the id of what the dictionary does not know; None: not counted.
    """

    vocabulary: int
    padding_idx: int
    unknown_idx: int | None = None
    tokens: int = 0
    unknown: int = 0
    nll: float = 0.0
    # How often the gold token had each rank; on the processor, V numbers.
    ranks: Tensor = field(init=False)
    predicted: Tensor = field(init=False)
    gold: Tensor = field(init=False)
    repeats: dict[str, int] = field(default_factory=dict)
    # The median rank of each row, for metrics as the authors' code computes them.
    row_medians: list[int] = field(default_factory=list)
    # Of each row its tokens, their summed negative log-likelihood, and how many were predicted.
    row_sums: list[tuple[int, float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ranks = torch.zeros(self.vocabulary + 1, dtype=torch.long)
        self.predicted = torch.zeros(self.vocabulary, dtype=torch.bool)
        self.gold = torch.zeros(self.vocabulary, dtype=torch.bool)

    def add(self, scores: Tensor, target: Tensor) -> int:
        """Add a batch.

        Args:
            scores: (B, T, V), logits or log-probabilities.
            target: (B, T), gold tokens, padded on the right.

        Returns:
            the number of tokens added.

        Raises:
            UserError: the scores are no numbers.
        """
        nll, prediction, rank = _scored(scores, target)
        real = target.ne(self.padding_idx)
        if not nll[real].isfinite().all():
            raise UserError("the model gives some tokens a probability that is no positive number")
        added = int(real.sum())
        self.tokens += added
        if self.unknown_idx is not None:
            self.unknown += int(target.eq(self.unknown_idx).sum())
        self.nll += nll[real].double().sum().item()
        self.ranks += torch.bincount(rank[real].cpu(), minlength=self.vocabulary + 1)
        self.predicted[prediction[real].cpu()] = True
        self.gold[target[real].cpu()] = True
        self._add_repeats(prediction, target, real)
        for row, kept in zip(rank, real, strict=True):
            if kept.any():
                self.row_medians.append(int(row[kept].median()))
        losses = nll.double().where(real, 0.0)
        parts = (real.long(), losses, (rank.eq(1) & real).long())
        sums = zip(*(part.sum(dim=1).tolist() for part in parts), strict=True)
        self.row_sums += [row for row in sums if row[0]]
        return added

    def _add_repeats(self, prediction: Tensor, target: Tensor, real: Tensor) -> None:
        since = token_distance(target, prediction, self.padding_idx)
        human = token_distance(target, target, self.padding_idx)
        wrong = prediction.ne(target)
        for length in LENGTHS:
            again = since.gt(0) & since.le(length) & real
            human_again = human.gt(0) & human.le(length) & real
            counts = {"rep": again, "wrep": again & wrong, "human_rep": human_again}
            for name, mask in counts.items():
                key = f"{name}_{length}"
                self.repeats[key] = self.repeats.get(key, 0) + int(mask.sum())

    def metrics(self, peer_compatible: bool = False) -> dict[str, Any]:
        """Return the metrics by name.

        ``perplexity`` a token, None beyond what a number holds, and ``nll``, its logarithm (nats);
        ``accuracy``; ``perplexity_interval`` and ``accuracy_interval``, [low, high], the 95 %
        interval of a bootstrap over the rows, None for a single one; ``mean_rank`` and
        ``median_rank`` of the gold token, 1 being the best;
        ``rep_l``, ``wrep_l``, ``human_rep_l``, shares of the tokens; ``uniq`` and
        ``human_uniq``, different tokens; ``tokens``, and of these ``unknown``.  The authors' code
        counts ranks from 0, and reports the mean of the blocks' medians.
        """
        places = torch.arange(len(self.ranks), dtype=torch.double)
        mean = float((self.ranks * places).sum()) / self.tokens
        median: float = int((self.ranks.cumsum(0) * 2 >= self.tokens).int().argmax())
        if peer_compatible:
            mean -= 1
            median = sum(self.row_medians) / len(self.row_medians) - 1
        nll = self.nll / self.tokens
        tokens, losses, right = zip(*self.row_sums, strict=True)
        nll_interval = ratio_interval(losses, tokens)
        return {
            "perplexity": _exp(nll),
            "nll": nll,
            "perplexity_interval": nll_interval and [_exp(bound) for bound in nll_interval],
            "accuracy": int(self.ranks[1]) / self.tokens,
            "accuracy_interval": ratio_interval(right, tokens),
            "mean_rank": mean,
            "median_rank": median,
            **{name: count / self.tokens for name, count in self.repeats.items()},
            "uniq": int(self.predicted.sum()),
            "human_uniq": int(self.gold.sum()),
            "tokens": self.tokens,
            "unknown": self.unknown,
        }


@dataclass
class CompletionMetrics:
    """Sums over continuations, to which one after the other is added.

    Attributes:
        peer_compatible: as the authors' code computes them: a text of fewer than four words is left
            out of all repetition of words, and different words are what spaces part; see also
            ``Diversity``.
    """

    peer_compatible: bool = False
    count: int = 0
    lengths: dict[str, int] = field(default_factory=dict)
    # By name and n: the sum of the shares, and how many texts were long enough.
    shares: dict[str, tuple[float, int]] = field(default_factory=dict)
    distinct: dict[str, set] = field(default_factory=lambda: {"seq": set(), "word": set()})
    repeated: int = 0
    diversity: Diversity = field(init=False)

    def __post_init__(self) -> None:
        self.diversity = Diversity(self.peer_compatible)

    def add(self, ids: list[int], text: str, repeated: list[bool]) -> None:
        """Add a continuation, as token ids and as text, and what ``repeated_tokens`` says of it."""
        self.count += 1
        self.repeated += sum(repeated)
        self.diversity.add(text.split())
        both: dict[str, Sequence[int | str]] = {"seq": ids, "word": words(text)}
        for name, units in both.items():
            self.lengths[name] = self.lengths.get(name, 0) + len(units)
            self.distinct[name].update(
                text.split(" ") if self.peer_compatible and name == "word" else units
            )
            if self.peer_compatible and name == "word" and len(units) < max(NGRAMS):
                continue
            for n in NGRAMS:
                share = repetition(units, n)
                total, counted = self.shares.get(f"{name}_rep_{n}", (0.0, 0))
                if share is not None:
                    self.shares[f"{name}_rep_{n}"] = (total + share, counted + 1)

    def metrics(self) -> dict[str, float | int | None]:
        """Return the metrics by name.

        ``seq_rep_n`` and ``word_rep_n``, the mean share of n-grams (of dictionary tokens, of
        words) that repeat an earlier one of the same text, with ``..._too_short_n``, the number of
        texts shorter than n, if any; ``diversity``, the product of 1 - seq_rep_n over n = 2 to 4,
        of dictionary tokens; ``diversity_...`` of the published tables, of words (``Diversity``);
        ``repeated_tokens``, the share of tokens inside a repeated 4-gram; ``uniq_seq`` and
        ``uniq_words``, different ones; ``length`` and ``word_length``, means; ``continuations``.
        """
        found: dict[str, float | int | None] = {}
        for name in ("seq", "word"):
            for n in NGRAMS:
                total, counted = self.shares.get(f"{name}_rep_{n}", (0.0, 0))
                found[f"{name}_rep_{n}"] = total / counted if counted else None
                if counted < self.count:
                    found[f"{name}_too_short_{n}"] = self.count - counted
        diversity: float | None = 1.0
        for n in DIVERSITY_NGRAMS:
            share = found[f"seq_rep_{n}"]
            diversity = None if share is None or diversity is None else diversity * (1 - share)
        tokens = self.lengths.get("seq", 0)
        return {
            **found,
            "diversity": diversity,
            **self.diversity.metrics(),
            "repeated_tokens": self.repeated / tokens if tokens else None,
            "uniq_seq": len(self.distinct["seq"]),
            "uniq_words": len(self.distinct["word"]),
            "length": tokens / self.count if self.count else None,
            "word_length": self.lengths.get("word", 0) / self.count if self.count else None,
            "continuations": self.count,
        }


def repeated_tokens(ids: list[int], peer_compatible: bool = False) -> list[bool]:
    """Tell of each token whether it lies inside a 4-gram that occurred earlier in the text.

    As the authors' code computes it, the last 4-gram never did.
    """
    if not ids:
        return []
    text = torch.tensor([ids])
    mask = repeated_ngram_mask(text, MARKED, -1)[0]
    if peer_compatible and len(ids) >= MARKED:
        # Their loop ends before the last n-gram.
        shorter = repeated_ngram_mask(text[:, :-1], MARKED, -1)[0]
        mask = torch.cat([shorter, torch.zeros(1, dtype=torch.bool)])
    return mask.tolist()


def _exp(nll: float) -> float | None:
    return math.exp(nll) if nll < 700 else None


def _scored(scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The NLL in nats, the prediction and the rank of every target, each (B, T)."""
    V = scores.size(-1)
    rows = max(1, _BLOCK_ELEMENTS // V)
    parts = []
    flat = zip(scores.flatten(0, 1).split(rows), target.flatten().split(rows), strict=True)
    for block, gold in flat:
        block = block.float()
        own = block.gather(1, gold[:, None])  # (rows, 1)
        nll = block.logsumexp(dim=1) - own[:, 0]
        parts.append((nll, block.argmax(dim=1), (block > own).sum(dim=1) + 1))
    nll, prediction, rank = (torch.cat(part).view_as(target) for part in zip(*parts, strict=True))
    return nll, prediction, rank
