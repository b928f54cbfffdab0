"""Unlikelihood: lower the probability of tokens already seen.

S. Welleck, I. Kulikov, S. Roller, E. Dinan, K. Cho and J. Weston, *Neural Text Generation with
Unlikelihood Training*, ICLR 2020, arXiv:1908.04319: the token-level objective with
previous-context candidates, and a token's term of the sequence-level one.

Derived in docs/mathematics.md, "Unlikelihood".
"""

import math

import torch
from torch import Tensor

from genft_fairseq.functional.seen_tokens import seen_mask
from genft_fairseq.functional.selective_log_softmax import selective_log_softmax

# The authors clamp 1 - p from below, so that a token costs at most -log(1e-5) = 11.5 nats as a
# candidate of the token-level loss, and -log(1e-20) = 46.1 nats in the sequence-level one, and has
# no gradient where the bound is reached.  Kept, because both are part of the published methods.
MIN_ONE_MINUS_P = 1e-5
SEQUENCE_MIN_ONE_MINUS_P = 1e-20


def unlikelihood_loss(logits: Tensor, target: Tensor, padding_idx: int) -> Tensor:
    """Compute the unlikelihood of the negative candidates, per position.

    The candidates are the tokens seen before t in the same row, each once, without the target
    itself.  Naively, for one sequence::

        for t in range(T):
            candidates = set(target[:t]) - {target[t]}
            loss[t] = sum(-log(max(1 - p[t, c], 1e-5)) for c in candidates)

    Deviations from the authors' code, which takes candidates from the flattened mini-batch: rows
    do not see each other's tokens, and padding is never a candidate.

    Args:
        logits: (B, T, V), any floating dtype.
        target: (B, T), token ids, padded on either side.
        padding_idx: the id of padding.

    Returns:
        (B, T), nats, in at least float32; 0 at padding.  This is the term that alpha multiplies,
        without the likelihood.

    Raises:
        ValueError: shapes that do not fit.
    """
    mask = seen_mask(target, padding_idx)
    lprobs = selective_log_softmax(logits, target, target, mask)
    assert lprobs.candidates is not None
    return negative_candidates_loss(lprobs.candidates, target, target).masked_fill(
        target.eq(padding_idx), 0.0
    )


def negative_candidates_loss(seen_lprobs: Tensor, seen: Tensor, target: Tensor) -> Tensor:
    """Sum ``-log(1 - p_t(c))`` over the candidates that are not the target.

    Args:
        seen_lprobs: (B, T, K), nats, minus infinity where a candidate does not count.
        seen: (B, K), the candidates' token ids.
        target: (B, T), the tokens that are never penalised at their own position.

    Returns:
        (B, T), nats.
    """
    is_target = seen[:, None, :] == target[:, :, None]  # (B, T, K)
    return -log1mexp(seen_lprobs.masked_fill(is_target, -torch.inf)).sum(dim=-1)


def repeated_token_loss(log_one_minus_p: Tensor, repeated: Tensor) -> Tensor:
    """Compute the sequence-level term ``-log(max(1 - p, 1e-20))`` of the tokens that repeat.

    Deviation from the authors' code, which computes 1 - p from p: in float32 it is 0 from
    p = 1 - 3e-8 on, where their loss jumps to its bound and has no gradient.  Here the loss and its
    gradient are exact up to the bound.

    Args:
        log_one_minus_p: any shape, nats (``SelectedLprobs.complement``).
        repeated: the same shape, bool; other tokens cost nothing.

    Returns:
        the same shape, nats.
    """
    kept = log_one_minus_p.masked_fill(~repeated, 0.0)
    return -kept.clamp(min=math.log(SEQUENCE_MIN_ONE_MINUS_P))


def log1mexp(lprobs: Tensor) -> Tensor:
    """Compute ``log(max(1 - exp(x), 1e-5))`` for x <= 0, exactly at both ends.

    Near x = 0 the difference 1 - exp(x) cancels, so expm1 is used; for very negative x the
    logarithm of nearly 1 cancels, so log1p is (Maechler 2012, *Accurately computing log(1 -
    exp(-|a|))*).

    Args:
        lprobs: any shape, nats; minus infinity gives 0, with a gradient of 0.

    Returns:
        the same shape, nats, at most 0.
    """
    # Bounding x itself, before either branch, keeps both finite: a where() whose unused branch is
    # infinite has a gradient of nan.
    bounded = lprobs.clamp(max=math.log1p(-MIN_ONE_MINUS_P))
    return torch.where(
        bounded > -math.log(2),
        torch.log(-torch.expm1(bounded)),
        torch.log1p(-torch.exp(bounded)),
    )
