"""The token-level loss that every criterion of this package shares.

At each scored position, in nats, with the model's own distribution p,

    s * ((1 - eps - eps_i) * (-log p(y) + scalegrad correction(gamma)) + eps_i * (-sum_v log p(v))
         + alpha * unlikelihood)  +  w_t * (-log p(y)),                 eps_i = eps / (V - 1).

It is a function of a few log-probabilities a position, wherever these come from: logits
(``selective_log_softmax``) or the decoder's features (``linear_loss``).

Derived in docs/mathematics.md, "The token loss".
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from genft_fairseq.functional.scalegrad import scalegrad_correction
from genft_fairseq.functional.seen_tokens import first_occurrence_mask, seen_mass
from genft_fairseq.functional.selective_log_softmax import SelectedLprobs
from genft_fairseq.functional.unlikelihood import negative_candidates_loss


class Positions(NamedTuple):
    """What the loss must know of the positions it scores: (B, T) of them, or (n, 1).

    Attributes:
        target: (B, T), token ids.
        padding: (B, T), bool, the positions that do not count.
        seen: (B, K), token ids among which are those seen before a position; None if not needed.
        seen_mask: (B, T, K), bool, which of them were seen, each token once.
        novel: (B, T), bool, whether the target is seen for the first time.
        nll_weight: (B, T), ``w_t``; None for 0.
    """

    target: Tensor
    padding: Tensor
    seen: Tensor | None = None
    seen_mask: Tensor | None = None
    novel: Tensor | None = None
    nll_weight: Tensor | None = None


@dataclass(frozen=True)
class Targets:
    """The targets of a batch, of which all positions are scored, or some at a time.

    Attributes:
        sequence: (B, T), token ids, padded on either side.
        padding_idx: the id of padding.
        prefix: how many positions of a row are seen, but not scored; T' = T - prefix are.
        with_seen: whether the loss needs what has been seen before a position.
        nll_weight: (B, T'), see ``Positions``.
    """

    sequence: Tensor
    padding_idx: int
    prefix: int = 0
    with_seen: bool = False
    nll_weight: Tensor | None = None

    @cached_property
    def scored(self) -> Tensor:
        """(B, T'), token ids."""
        return self.sequence[:, self.prefix :]

    @cached_property
    def _first(self) -> Tensor:
        return first_occurrence_mask(self.sequence, self.padding_idx)  # (B, T)

    def whole(self) -> Positions:
        """Return all positions, (B, T')."""
        padding = self.scored.eq(self.padding_idx)
        if not self.with_seen:
            return Positions(self.scored, padding, nll_weight=self.nll_weight)
        T = self.sequence.size(1)
        earlier = torch.ones(T, T, dtype=torch.bool, device=self.sequence.device).tril(-1)
        mask = self._first[:, None, :] & earlier[self.prefix :]  # (B, T', T)
        novel = self._first[:, self.prefix :]
        return Positions(self.scored, padding, self.sequence, mask, novel, self.nll_weight)

    def at(self, index: Tensor) -> Positions:
        """Return some positions, each a row of its own.

        Args:
            index: (n,), into the B * T' scored positions.

        Returns:
            (n, 1) positions.
        """
        target = self.scored.flatten()[index, None]
        padding = target.eq(self.padding_idx)
        weight = None if self.nll_weight is None else self.nll_weight.flatten()[index, None]
        if not self.with_seen:
            return Positions(target, padding, nll_weight=weight)
        length = max(1, self.scored.size(1))
        row, position = index // length, index % length + self.prefix
        earlier = torch.arange(self.sequence.size(1), device=index.device) < position[:, None]
        mask = (self._first[row] & earlier)[:, None, :]  # (n, 1, T)
        novel = self._first[row, position, None]
        return Positions(target, padding, self.sequence[row], mask, novel, weight)


class TokenTerms(NamedTuple):
    """The parts of the token loss, each of the shape of its ``Positions``.

    In nats and 0 at padding; ``seen_mass`` is a probability, ``correct`` is bool: whether the
    target is the likeliest token.  What was not asked for is None.
    """

    loss: Tensor
    nll: Tensor
    seen_mass: Tensor | None = None
    unlikelihood: Tensor | None = None
    correct: Tensor | None = None


@dataclass(frozen=True)
class TokenLoss:
    """Label-smoothed likelihood, rescaled by ScaleGrad, plus unlikelihood.

    Attributes:
        vocabulary: V, which smoothing needs.
        smoothing: eps, in [0, 1).
        gamma: ScaleGrad's, in (0, 1]; 1 means no rescaling.
        alpha: of unlikelihood, at least 0.
        share: s, by which the whole is multiplied, but for what ``nll_weight`` adds.
        with_seen_mass: compute it even where gamma is 1.
        with_unlikelihood: compute it even where alpha is 0.
        with_correct: also tell where the target is the likeliest token.
    """

    vocabulary: int = 0
    smoothing: float = 0.0
    gamma: float = 1.0
    alpha: float = 0.0
    share: float = 1.0
    with_seen_mass: bool = False
    with_unlikelihood: bool = False
    with_correct: bool = False

    def __call__(self, lprobs: SelectedLprobs, at: Positions) -> TokenTerms:
        """Compute the loss of each position.

        Args:
            lprobs: of the targets, of the seen tokens (minus infinity where ``seen_mask`` is
                False), of the vocabulary in total (if smoothed), and the likeliest tokens (if asked
                for).
            at: the positions.
        """
        nll = (-lprobs.target).masked_fill(at.padding, 0.0)
        loss, mass, unlikelihood = nll, None, None
        if self.gamma < 1 or self.with_seen_mass:
            mass = seen_mass(_present(lprobs.candidates)).masked_fill(at.padding, 0.0)
            if self.gamma < 1:
                correction = scalegrad_correction(mass, _present(at.novel), self.gamma)
                loss = loss + correction.masked_fill(at.padding, 0.0)
        if self.smoothing > 0:
            eps_i = self.smoothing / (self.vocabulary - 1)
            smooth = (-_present(lprobs.total)).masked_fill(at.padding, 0.0)
            loss = (1 - self.smoothing - eps_i) * loss + eps_i * smooth
        if self.alpha > 0 or self.with_unlikelihood:
            seen_lprobs, seen = _present(lprobs.candidates), _present(at.seen)
            unlikelihood = negative_candidates_loss(seen_lprobs, seen, at.target)
            unlikelihood = unlikelihood.masked_fill(at.padding, 0.0)
            if self.alpha > 0:
                loss = loss + self.alpha * unlikelihood
        if self.share != 1:
            loss = self.share * loss
        if at.nll_weight is not None:
            loss = loss + at.nll_weight.to(nll) * nll
        correct = None
        if self.with_correct:
            correct = _present(lprobs.argmax).eq(at.target) & ~at.padding
        return TokenTerms(loss, nll, mass, unlikelihood, correct)

    @property
    def needs_seen(self) -> bool:
        """Whether the log-probabilities of the seen tokens are needed."""
        rescaled = self.gamma < 1 or self.with_seen_mass
        return rescaled or self.alpha > 0 or self.with_unlikelihood


def _present(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor
