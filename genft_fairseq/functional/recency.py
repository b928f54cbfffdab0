"""How long ago a text last held a token.

Derived in docs/mathematics.md, "Measures of repetition".
"""

import torch
from torch import Tensor


def steps_since(tokens: Tensor, queries: Tensor, padding_idx: int) -> Tensor:
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
