"""Expected risk over candidate sequences.

S. Shen et al., *Minimum Risk Training for Neural Machine Translation*, ACL 2016, arXiv:1512.02433;
S. Edunov et al., *Classical Structured Prediction Losses for Sequence to Sequence Learning*, NAACL
2018, arXiv:1711.04956.

Derived in docs/mathematics.md, "Minimum risk".
"""

import torch
from torch import Tensor


def expected_risk(
    sequence_lprobs: Tensor, rewards: Tensor, valid: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """Compute the risk of each source under the model's distribution over its candidates.

    The naive formula, for one source with K candidates (Shen et al., the objective and the
    distribution Q sharpened by alpha)::

        Q = softmax(alpha * sequence_lprobs)
        risk = sum(Q[k] * (1 - rewards[k]) for k in range(K))

    Deviation from two public implementations, which apply the softmax to exp(mean log p): that
    makes Q nearly uniform, so that the loss hardly depends on the model.

    Args:
        sequence_lprobs: (B, K), the sum over a candidate's tokens of log p, nats.
        rewards: (B, K), a candidate's score, the more the better; at most 1.
        valid: (B, K), bool; a candidate that is False counts for nothing.
        alpha: the sharpness of Q, positive.

    Returns:
        (B,) the risk, and (B, K) the distribution Q, in the dtype of the log-probabilities; both
        0, with a gradient of 0, for a source without any candidate.
    """
    some = valid.any(dim=-1, keepdim=True)
    # A row of nothing but minus infinity has a softmax of nan; let it be uniform, and count 0.
    scores = (alpha * sequence_lprobs).masked_fill(~valid & some, -torch.inf)
    q = torch.softmax(scores, dim=-1).masked_fill(~valid, 0.0)
    cost = (1 - rewards.to(q)).masked_fill(~valid, 0.0)
    return (q * cost).sum(dim=-1), q


def first_of_equal(candidates: Tensor) -> Tensor:
    """Mark each candidate that no earlier one of the same source equals.

    Args:
        candidates: (B, K, T), token ids, padded alike.

    Returns:
        (B, K), bool.
    """
    same = (candidates[:, :, None] == candidates[:, None]).all(dim=-1)  # (B, K, K)
    return ~same.tril(-1).any(dim=-1)
