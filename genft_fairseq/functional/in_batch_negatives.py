"""In-batch negatives: a question's passage among all passages of the batch.

Karpukhin et al. (2020), "Dense Passage Retrieval for Open-Domain Question Answering",
arXiv:2004.04906, equation 2.

Derived in docs/mathematics.md, "In-batch negatives".
"""

import torch
from torch import Tensor


def in_batch_negatives_loss(
    scores: Tensor, target: Tensor, ignored: Tensor
) -> tuple[Tensor, Tensor]:
    """Score how likely each question picks its own passage, and tell whether it does.

    Naively::

        for b in range(B):
            others = [scores[b, p] for p in range(P) if p != target[b] and not ignored[b, p]]
            loss[b] = -log(exp(scores[b, target[b]])
                           / (exp(scores[b, target[b]]) + sum(exp(s) for s in others)))
            correct[b] = all(scores[b, target[b]] > s for s in others)

    Unlike in the authors' code, passages can be left out: those that also answer the question are
    no negatives.  A tie is not correct, so that a model that gives all passages the same score has
    an accuracy of 0.

    Args:
        scores: (B, P), of every question with every passage; computed with in float32 or better.
        target: (B,), the column of each question's own passage.
        ignored: (B, P), bool, passages that do not count for a question; that of ``target`` does,
            whatever stands there.

    Returns:
        (B,) nats and (B,) bool.
    """
    if scores.dtype in (torch.float16, torch.bfloat16):
        scores = scores.float()
    own = torch.zeros_like(ignored).scatter(1, target[:, None], True)
    # Not the least finite number: a masked score must not move the maximum of the softmax.
    scores = scores.masked_fill(ignored & ~own, -torch.inf)
    wanted = scores.gather(1, target[:, None]).squeeze(1)
    others = scores.masked_fill(own, -torch.inf)
    return scores.logsumexp(dim=1) - wanted, (wanted[:, None] > others).all(dim=1)
