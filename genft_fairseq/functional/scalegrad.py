"""ScaleGrad: raise the share of novel tokens in the gradient.

X. Lin, S. Han and S. Joty, *Straight to the Gradient: Learning to Use Novel Tokens for Neural Text
Generation*, ICML 2021, arXiv:2106.07207: the rescaled distribution and its gradient.

Derived in docs/mathematics.md, "ScaleGrad".
"""

import math

import torch
from torch import Tensor

from genft_fairseq.functional.seen_tokens import first_occurrence_mask, seen_mask, seen_mass
from genft_fairseq.functional.selective_log_softmax import selective_log_softmax


def check_gamma(gamma: float) -> float:
    """Return gamma if it lies in (0, 1].

    Raises:
        ValueError: it does not, or is not a number.
    """
    if not 0 < gamma <= 1:  # also false for nan
        raise ValueError(f"gamma must lie in (0, 1], but is {gamma}")
    return gamma


def scalegrad_loss(logits: Tensor, target: Tensor, gamma: float, padding_idx: int) -> Tensor:
    """Compute the negative log-likelihood of the rescaled distribution, per position.

    With ``p`` the softmax of the logits, ``C_t`` the tokens seen before t, and ``w_t(v) = gamma``
    for a novel token (not in ``C_t``) and 1 otherwise, the rescaled distribution is
    ``q_t(v) = w_t(v) p_t(v) / sum_u w_t(u) p_t(u)`` and the loss ``-log q_t(y_t)``.  Naively, for
    one sequence::

        for t in range(T):
            w = torch.full((V,), gamma)
            w[target[:t]] = 1
            q = w * p[t] / (w * p[t]).sum()
            loss[t] = -q[target[t]].log()

    Here only the probabilities of seen tokens are needed (see ``scalegrad_correction``): (B, T, T)
    numbers, never a mask over the vocabulary.  Deviation from the authors' code: no 1e-8 is added
    before renormalising; in log space nothing needs it.

    Args:
        logits: (B, T, V), any floating dtype.
        target: (B, T), token ids, padded on either side.
        gamma: in (0, 1]; 1 is the plain negative log-likelihood.
        padding_idx: the id of padding.

    Returns:
        (B, T), nats, in at least float32; 0 at padding.

    Raises:
        ValueError: gamma outside (0, 1], or shapes that do not fit.
    """
    mask = seen_mask(target, padding_idx)
    lprobs = selective_log_softmax(logits, target, target, mask)
    novel = first_occurrence_mask(target, padding_idx)
    assert lprobs.candidates is not None
    loss = scalegrad_correction(seen_mass(lprobs.candidates), novel, gamma) - lprobs.target
    return loss.masked_fill(target.eq(padding_idx), 0.0)


def scalegrad_correction(seen_mass: Tensor, novel: Tensor, gamma: float) -> Tensor:
    """Compute what ScaleGrad adds to the negative log-likelihood, in closed form.

    ``sum_u w_t(u) p_t(u) = r_t + gamma (1 - r_t)`` with the seen mass ``r_t``, hence

        -log q_t(y_t) = -log p_t(y_t) + log(gamma + (1 - gamma) r_t) - [y_t novel] log gamma.

    The gradient, written by hand in two steps: here ``d/dr_t = a`` with
    ``a = (1 - gamma) / (gamma + (1 - gamma) r_t)``, and through the softmax

        dL_t/dz_t = p_t (1 - a r_t) + a (p_t restricted to C_t) - onehot(y_t),

    whose dense and sparse parts ``selective_log_softmax`` writes in one pass.

    Args:
        seen_mass: (B, T), ``r_t``, in [0, 1].
        novel: (B, T), bool, whether the target is novel (``first_occurrence_mask``).
        gamma: in (0, 1].

    Returns:
        (B, T), nats, to be added to the negative log-likelihood of the model's own p.

    Raises:
        ValueError: gamma outside (0, 1].
    """
    check_gamma(gamma)
    log_normaliser: Tensor = _LogNormaliser.apply(seen_mass, gamma)
    return log_normaliser - math.log(gamma) * novel.to(log_normaliser.dtype)


class _LogNormaliser(torch.autograd.Function):
    """``log(gamma + (1 - gamma) r)``, keeping only its derivative for the backward pass."""

    @staticmethod
    def forward(ctx, seen_mass, gamma):  # type: ignore[no-untyped-def]
        normaliser = gamma + (1 - gamma) * seen_mass
        ctx.save_for_backward((1 - gamma) / normaliser)
        return normaliser.log()

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        (a,) = ctx.saved_tensors
        return grad * a, None
