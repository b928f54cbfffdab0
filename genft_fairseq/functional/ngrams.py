"""n-grams that a text already holds, found by comparing whole tensors."""

import torch
from torch import Tensor


def repeating_token_mask(tokens: Tensor, n: int, vocabulary: int) -> Tensor:
    """Mark the tokens that would complete an n-gram which the text already holds.

    R. Paulus, C. Xiong and R. Socher, *A Deep Reinforced Model for Abstractive Summarization*, ICLR
    2018, arXiv:1705.04304, forbid such tokens when decoding (there, n = 3).

    The naive formula, for one row::

        seen = {tuple(row[i : i + n]) for i in range(len(row) - n + 1)}
        mask = [(*row[len(row) - n + 1 :], v) in seen for v in range(vocabulary)]

    Args:
        tokens: (B, T), token ids in [0, vocabulary); all of a row is text, so no padding.
        n: the length of an n-gram, at least 1.
        vocabulary: V.

    Returns:
        (B, V), bool.

    Raises:
        ValueError: n is smaller than 1.
    """
    if n < 1:
        raise ValueError(f"an n-gram has at least one token, but n is {n}")
    B, T = tokens.shape
    mask = tokens.new_zeros((B, vocabulary), dtype=torch.bool)
    if n > T:
        return mask
    last = tokens[:, T - n + 1 :]  # (B, n-1): what the next token would complete
    begun = tokens.unfold(1, n, 1)  # (B, T-n+1, n)
    repeats = (begun[..., :-1] == last[:, None]).all(dim=-1)  # (B, T-n+1)
    # Counted, because a token that follows one occurrence may fail to follow another.
    counts = torch.zeros((B, vocabulary), dtype=torch.int32, device=tokens.device)
    return counts.scatter_add_(1, begun[..., -1], repeats.int()) > 0
