"""n-grams that a text already holds, found by comparing whole tensors, and forbidding them.

Derived in docs/mathematics.md, "Sequence unlikelihood".
"""

import torch
from torch import Tensor


def ngram_completions(tokens: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Find the tokens that would complete an n-gram which the text already holds.

    R. Paulus, C. Xiong and R. Socher, *A Deep Reinforced Model for Abstractive Summarization*, ICLR
    2018, arXiv:1705.04304, forbid such tokens when decoding (there, n = 3).

    The naive formula, for one row::

        last = row[len(row) - n + 1 :]
        ends = [row[i + n - 1] for i in range(len(row) - n + 1)]
        repeats = [row[i : i + n - 1] == last for i in range(len(row) - n + 1)]

    Args:
        tokens: (B, T), token ids; all of a row is text, so no padding.
        n: the length of an n-gram, at least 1.

    Returns:
        (B, M), the last tokens of the M = max(T - n + 1, 0) n-grams; (B, M), bool, whether such a
        token would repeat its n-gram.

    Raises:
        ValueError: n is smaller than 1.
    """
    if n < 1:
        raise ValueError(f"an n-gram has at least one token, but n is {n}")
    T = tokens.size(1)
    if n > T:
        return tokens[:, :0], torch.zeros_like(tokens[:, :0], dtype=torch.bool)
    last = tokens[:, T - n + 1 :]  # (B, n-1): what the next token would complete
    begun = tokens.unfold(1, n, 1)  # (B, T-n+1, n)
    return begun[..., -1], (begun[..., :-1] == last[:, None]).all(dim=-1)


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
    return torch.where(left.amax(dim=-1, keepdim=True).isneginf(), scores, left)


def forbid_tokens_(scores: Tensor, ids: Tensor, forbidden: Tensor) -> Tensor:
    """Forbid tokens by their ids, as ``forbid_tokens`` does, in place.

    Without a mask of the vocabulary, and so in a tenth of its time.

    Args:
        scores: (B, V), changed.
        ids: (B, M), token ids, which may occur several times in a row.
        forbidden: (B, M), bool, whether this occurrence forbids the token.

    Returns:
        the scores.
    """
    own = scores.gather(1, ids)
    # The minimum, because one occurrence may forbid a token that another does not.
    bounds = torch.full_like(own, torch.inf).masked_fill(forbidden, -torch.inf)
    scores.scatter_reduce_(1, ids, bounds, reduce="amin")
    nothing_left = scores.amax(dim=1, keepdim=True).isneginf()
    return scores.scatter_(1, ids, torch.where(nothing_left, own, scores.gather(1, ids)))


def forbid_repeated_ngrams_(scores: Tensor, tokens: Tensor, n: int) -> Tensor:
    """Forbid the tokens that would repeat an n-gram to rows that may go on with another one.

    Args:
        scores: (B, V), logits or log-probabilities of what comes next; changed.
        tokens: (B, T), token ids in [0, V); all of a row is text, so no padding.
        n: the length of an n-gram; 0: nothing is forbidden.

    Returns:
        the scores; see ``forbid_tokens``.

    Raises:
        ValueError: n is negative.
    """
    return forbid_tokens_(scores, *ngram_completions(tokens, n)) if n else scores


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
