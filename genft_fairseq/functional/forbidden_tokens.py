"""Forbidding tokens to a search, of which something must be left to choose."""

import torch
from torch import Tensor


def forbid_tokens(scores: Tensor, forbidden: Tensor) -> Tensor:
    """Give forbidden tokens the score minus infinity, but for rows that would have no other left.

    Such a row keeps its scores: a rule about what may come next does not apply where a prefix, a
    limit or an earlier rule has decided already.

    The naive formula, for one row::

        left = [s if not f else -inf for s, f in zip(row, forbidden)]
        return left if any(s > -inf for s in left) else row

    Args:
        scores: (..., V), logits or log-probabilities.
        forbidden: bool, of a shape that can be expanded to that of ``scores``.

    Returns:
        (..., V), in the unit of ``scores``.
    """
    left = scores.masked_fill(forbidden, -torch.inf)
    return torch.where(left.isneginf().all(dim=-1, keepdim=True), scores, left)
