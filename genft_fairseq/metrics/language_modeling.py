"""How well a language model predicts text, token by token on gold prefixes.

S. Welleck et al., *Neural Text Generation with Unlikelihood Training*, ICLR 2020, arXiv:1908.04319,
section 6: perplexity, accuracy, rep/l, wrep/l, uniq.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from genft_fairseq.errors import UserError
from genft_fairseq.functional.seen_tokens import token_distance
from genft_fairseq.metrics.significance import ratio_interval

LENGTHS = (16, 32, 128, 512)

# Scores handled at a time: temporaries should stay small beside the logits.
_BLOCK_ELEMENTS = 2**22


@dataclass
class TokenFigures:
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
    # The median rank of each row, for figures as the authors' code computes them.
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
        """Return the figures by name.

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
