"""Gold inputs, or the model's own, and in which proportion.

S. Bengio et al., *Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks*, NIPS
2015, arXiv:1506.03099 (the decays over updates). T. Mihaylova and A. Martins, *Scheduled Sampling
for Transformers*, ACL SRW 2019, arXiv:1906.07651 (two decoder passes). Y. Liu et al., *Scheduled
Sampling Based on Decoding Steps for Neural Machine Translation*, EMNLP 2021, arXiv:2108.12963 (by
position, and the composite). Y. Liu et al., *Confidence-Aware Scheduled Sampling for Neural Machine
Translation*, Findings of ACL 2021, arXiv:2107.10427.

Derived in docs/mathematics.md, "Scheduled sampling".
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

DECAYS = ("linear", "exponential", "inverse_sigmoid")
COMPOSITES = ("composite", "inverse_composite")
BY_STEP = ("decoding_step", *COMPOSITES)
SCHEDULES = ("constant", *DECAYS, *BY_STEP, "confidence")


@dataclass(frozen=True)
class GoldSchedule:
    """The probability of reading gold, eps, at update i and input position t (0: the first).

    ====================  =================================================
    constant              eps
    linear                k - c i
    exponential           k^i
    inverse_sigmoid       k / (k + e^(i / k))
    decoding_step         eps^t
    composite             the decay g, at update i (1 - eps^t)
    inverse_composite     eps^(t (1 - g)), g the decay at update i
    confidence            not a probability: see ``confidence_masks``
    ====================  =================================================

    Decays are held in [minimum, 1].  Both composites read gold alone at the first update (where g
    is 1) and at the first position; ``inverse_composite`` is what the code of Liu et al. (EMNLP
    2021) computes.

    Attributes:
        name: one of the above.
        probability: eps.
        k, c: of the decays.
        minimum: the least probability that a decay comes to.
        decay: which decay a composite is made of.
    """

    name: str = "constant"
    probability: float = 0.0
    k: float = 1.0
    c: float = 0.0
    minimum: float = 0.0
    decay: str = "exponential"

    def at(self, update: int, length: int) -> Tensor:
        """Return the probability of reading gold, (length,), float64, at each input position.

        Raises:
            ValueError: a schedule that has no probability.
        """
        positions = torch.arange(length, dtype=torch.float64)
        if self.name == "constant":
            return torch.full_like(positions, self.probability)
        if self.name in DECAYS:
            return self._decayed(self.name, torch.full_like(positions, update))
        eps = torch.as_tensor(self.probability, dtype=torch.float64)
        if self.name == "decoding_step":
            return eps**positions
        if self.name == "composite":
            return self._decayed(self.decay, update * (1 - eps**positions))
        if self.name == "inverse_composite":
            by_update = self._decayed(self.decay, torch.full_like(positions, update))
            return eps ** (positions * (1 - by_update))
        raise ValueError(f"the schedule {self.name} has no probability")

    def _decayed(self, decay: str, i: Tensor) -> Tensor:
        if decay == "linear":
            eps = self.k - self.c * i
        elif decay == "exponential":
            eps = torch.as_tensor(self.k, dtype=torch.float64) ** i
        else:  # k / (k + e^(i/k)) without the power, which overflows
            eps = torch.sigmoid(math.log(self.k) - i / self.k)
        return eps.clamp(self.minimum, 1.0)


def replaceable_mask(tokens: Tensor, padding_idx: int) -> Tensor:
    """Mark the inputs that may be replaced: all but padding and the first token of a row.

    Args:
        tokens: (B, T), what the decoder would read, padded on either side.
        padding_idx: the id of padding.

    Returns:
        (B, T), bool.
    """
    text = tokens.ne(padding_idx)
    after_text = torch.zeros_like(text)
    after_text[:, 1:] = text[:, :-1]
    return text & after_text


def shifted_right(predicted: Tensor, first: Tensor) -> Tensor:
    """Move what was predicted at position t to the input of position t + 1.

    Args:
        predicted: (B, T, ...), what the decoder wrote.
        first: (B, T, ...), what it read; its first position stays.

    Returns:
        (B, T, ...).
    """
    return torch.cat([first[:, :1], predicted[:, :-1]], dim=1)


def confidence_masks(
    gold_probs: Tensor, gold_below: float, random_above: float
) -> tuple[Tensor, Tensor]:
    """Choose inputs by how probable the model finds gold.

    Gold where its probability is at most ``gold_below``, the model's prediction above, and a
    random token of the same target where it exceeds ``random_above``.

    Liu et al. (Findings of ACL 2021) choose what the decoder reads before it predicts ``y_t`` by
    the confidence ``conf(t) = p(y_t)`` of that prediction.

    Args:
        gold_probs: (B, T), the probability of gold that decides about each input.
        gold_below: a probability.
        random_above: a probability, at least ``gold_below``.

    Returns:
        (B, T), bool, where gold is kept; (B, T), bool, where a random token stands.
    """
    return gold_probs <= gold_below, gold_probs > random_above


def random_target_tokens(tokens: Tensor, replaceable: Tensor, draws: Tensor) -> Tensor:
    """Draw for each position a token of the same row's target.

    The paper's noise is wordy text and wrong word order: tokens of the sentence in a wrong place.

    Args:
        tokens: (B, T), what the decoder would read.
        replaceable: (B, T), bool: the tokens to draw from (``replaceable_mask``).
        draws: (B, T), uniform over [0, 1).

    Returns:
        (B, T), token ids; the token itself in a row that has none to draw from.
    """
    number = replaceable.sum(dim=1, keepdim=True)  # (B, 1)
    # The places of the row's tokens come first, in order.
    places = (~replaceable).to(torch.int8).sort(dim=1, stable=True).indices
    drawn = (draws * number).long().clamp(max=tokens.size(1) - 1)
    chosen = tokens.gather(1, places.gather(1, drawn))
    return torch.where(number > 0, chosen, tokens)
