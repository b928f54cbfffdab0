"""n-grams that a text already holds, found by comparing whole tensors, and forbidding them.

Derived in docs/mathematics.md, "Sequence unlikelihood".
"""

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


def forbid_repeated_ngrams(scores: Tensor, tokens: Tensor, n: int) -> Tensor:
    """Forbid the tokens of ``repeating_token_mask`` to rows that may go on with another one.

    Args:
        scores: (B, V), logits or log-probabilities of what comes next.
        tokens: (B, T), token ids in [0, V); all of a row is text, so no padding.
        n: the length of an n-gram; 0: nothing is forbidden.

    Returns:
        (B, V), in the unit of ``scores``; see ``forbid_tokens``.

    Raises:
        ValueError: n is negative.
    """
    if n == 0:
        return scores
    return forbid_tokens(scores, repeating_token_mask(tokens, n, scores.size(-1)))


def repeated_ngram_starts(tokens: Tensor, n: int, padding_idx: int) -> Tensor:
    """Mark the n-grams that occurred earlier in the same row.

    The naive formula, for one row without padding::

        seen = set()
        for i in range(len(row) - n + 1):
            ngram = tuple(row[i : i + n])
            mask[i] = ngram in seen
            seen.add(ngram)

    Deviation from the code of S. Welleck et al. (ICLR 2020, arXiv:1908.04319), whose loop ends one
    n-gram early and so never finds the last one.

    Args:
        tokens: (B, T), token ids; an n-gram that holds padding is none.
        n: the length of an n-gram, at least 1.
        padding_idx: the id of padding.

    Returns:
        (B, M), bool, of the M = max(T - n + 1, 0) n-grams.

    Raises:
        ValueError: n is smaller than 1.
    """
    if n < 1:
        raise ValueError(f"an n-gram has at least one token, but n is {n}")
    B, T = tokens.shape
    M = T - n + 1
    if M < 1:
        return tokens.new_zeros((B, 0), dtype=torch.bool)
    same_token = tokens[:, :, None] == tokens[:, None, :]  # (B, T, T)
    text = tokens.ne(padding_idx)
    same = same_token[:, :M, :M].tril(-1)  # (B, M, M): with each earlier one
    whole = text[:, :M]
    for i in range(1, n):
        same &= same_token[:, i : i + M, i : i + M]
        whole = whole & text[:, i : i + M]
    return same.any(dim=-1) & whole


def repeated_ngram_mask(tokens: Tensor, n: int, padding_idx: int) -> Tensor:
    """Mark the tokens that lie inside an n-gram which occurred earlier in the same row.

    S. Welleck et al., ICLR 2020, arXiv:1908.04319: the negative candidates of sequence-level
    unlikelihood.

    Args:
        tokens: (B, T), token ids, with or without padding.
        n: the length of an n-gram, at least 1.
        padding_idx: the id of padding, never marked.

    Returns:
        (B, T), bool.

    Raises:
        ValueError: n is smaller than 1.
    """
    starts = repeated_ngram_starts(tokens, n, padding_idx)  # (B, M)
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    M = starts.size(1)
    if M > 0:
        for i in range(n):
            mask[:, i : i + M] |= starts
    return mask


def ngram_repetition(tokens: Tensor, n: int, padding_idx: int) -> Tensor:
    """Compute the share of a row's n-grams that occurred earlier in it, 1 - distinct / all.

    Args:
        tokens: (B, T), token ids, with or without padding.
        n: the length of an n-gram, at least 1.
        padding_idx: the id of padding.

    Returns:
        (B,), float64, in [0, 1); 0 for a row shorter than n.

    Raises:
        ValueError: n is smaller than 1.
    """
    repeated = repeated_ngram_starts(tokens, n, padding_idx).sum(dim=1)
    number = tokens.ne(padding_idx).sum(dim=1) - (n - 1)
    return repeated.double() / number.clamp(min=1)
