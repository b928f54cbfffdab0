"""First-token auxiliary: give the first target token of every sequence a weight of its own.

The first token decides much of what follows and is the one that a decoder predicts from the source
alone (it has read only the beginning-of-sentence symbol).  Under teacher forcing its loss is
already part of the token loss, so that the auxiliary task is a reweighting of position 0 and needs
no second pass through the decoder.

Derived in docs/mathematics.md, "First-token auxiliary".
"""

import torch
from torch import Tensor


def first_token_mask(target: Tensor, padding_idx: int) -> Tensor:
    """Mark the first unpadded position of every row.

    Args:
        target: (B, T), token ids, padded on either side.
        padding_idx: the id of padding.

    Returns:
        (B, T), bool, with one true entry a row, and none in a row that is all padding.
    """
    scored = target.ne(padding_idx)
    return scored & (scored.cumsum(dim=-1) == 1)


def first_token_loss(nll: Tensor, target: Tensor, padding_idx: int) -> Tensor:
    """Pick the negative log-likelihood of the first token of every row.

    Naively::

        for b in range(B):
            loss[b] = next((nll[b, t] for t in range(T) if target[b, t] != padding_idx), 0)

    Args:
        nll: (B, T), nats, of the model's own distribution (neither smoothed nor rescaled).
        target: (B, T), token ids, padded on either side.
        padding_idx: the id of padding.

    Returns:
        (B,), nats; 0 for a row that is all padding.
    """
    first = first_token_mask(target, padding_idx)
    # where(), not a product: padding may hold anything, and 0 * nan is nan.
    return torch.where(first, nll, 0.0).sum(dim=-1)
