"""Which tokens have been seen before a position, and how long ago.

Which tokens of a sequence have been seen before a position.

Everything here works on the target ``y`` of shape (B, T), one sequence a row, padded on either
side.  The set of seen tokens is ``C_t = {y_1 .. y_{t-1}}`` without padding: the previous-context
candidates of Welleck et al. (2020, arXiv:1908.04319), the complement of the novel tokens of Lin et
al. (2021, arXiv:2106.07207).  A set holds a token once, so each token is represented by its
**first occurrence**: a sum over ``C_t`` is a sum over the first occurrences at positions ``s < t``.
That is what keeps the losses at (B, T, T) numbers where a mask over the vocabulary would hold
(B, T, V).

Derived in docs/mathematics.md, "Tokens already seen".

How long ago a text last held a token.

Derived in docs/mathematics.md, "Measures of repetition".
"""

import torch
from torch import Tensor


def first_occurrence_mask(target: Tensor, padding_idx: int) -> Tensor:
    """Mark the positions that hold a token for the first time in their row.

    ``mask[b, t] = target[b, t] != padding_idx and target[b, t] not in target[b, :t]``; in other
    words, ``y_t`` is *novel* at t.

    Args:
        target: (B, T), integer token ids.
        padding_idx: the id of padding, which is never an occurrence of anything.

    Returns:
        (B, T), bool.
    """
    # A stable sort puts equal tokens side by side with the earliest one first: O(T log T) a row,
    # and no (B, T, T) comparison.
    tokens, position = target.sort(dim=-1, stable=True)
    first = torch.ones_like(tokens, dtype=torch.bool)
    first[:, 1:] = tokens[:, 1:] != tokens[:, :-1]
    first = torch.empty_like(first).scatter_(-1, position, first)
    return first & target.ne(padding_idx)


def seen_mask(target: Tensor, padding_idx: int) -> Tensor:
    """Mark, for each position, the positions that represent the tokens seen before it.

    ``mask[b, t, s]`` is true where ``s < t`` and s is the first occurrence of ``target[b, s]``, so
    that ``{target[b, s] : mask[b, t, s]}`` lists ``C_t`` with every token once.

    Args:
        target: (B, T), integer token ids.
        padding_idx: the id of padding, which never belongs to ``C_t``.

    Returns:
        (B, T, T), bool, indexed (row, position t, earlier position s).
    """
    length = target.size(-1)
    earlier = torch.ones(length, length, dtype=torch.bool, device=target.device).tril(-1)
    return first_occurrence_mask(target, padding_idx)[:, None, :] & earlier


def seen_mass(seen_lprobs: Tensor) -> Tensor:
    """Sum the probability that the model gives to the tokens already seen, ``r_t``.

    ``r_t = sum over v in C_t of p_t(v)``.

    Args:
        seen_lprobs: (B, T, K), the log-probabilities (nats) of the seen tokens at each position,
            minus infinity in the places that do not stand for a seen token.

    Returns:
        (B, T), a probability: 0 where nothing has been seen.
    """
    return seen_lprobs.exp().sum(dim=-1)


def token_distance(tokens: Tensor, queries: Tensor, padding_idx: int) -> Tensor:
    """Return how many steps before each position a token was last seen.

    With the argmax predictions as queries, those at most l are counted by rep/l of S. Welleck et
    al., *Neural Text Generation with Unlikelihood Training*, ICLR 2020, arXiv:1908.04319; with the
    tokens themselves, by its human counterpart.

    The naive formula, for one row::

        steps[t] = min((t - s for s in range(t) if tokens[s] == queries[t]), default=0)

    Args:
        tokens: (B, T), token ids, padded or not.
        queries: (B, T), token ids.
        padding_idx: the id of padding, which is never seen.

    Returns:
        (B, T), at least 1, or 0 for a token that was not seen before.
    """
    T = tokens.size(1)
    places = torch.arange(T, device=tokens.device)
    # A place counts from 1, so that 0 says "never".
    last = torch.zeros_like(tokens)
    for row, (text, asked) in enumerate(zip(tokens, queries, strict=True)):
        seen = (asked[:, None] == text).tril(-1) & text.ne(padding_idx)  # (T, T)
        last[row] = (seen * (places + 1)).amax(dim=1)
    return torch.where(last > 0, places + 1 - last, 0)
