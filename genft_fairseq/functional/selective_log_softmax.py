"""The log-softmax at the few tokens a loss asks for.

Every token-level loss of this package is a function of three things at a position: the
log-probability of the target, those of the tokens already seen, and (label smoothing only) the sum
over the vocabulary.  This module computes just these from the logits, and sends their gradients
back.  With ``L`` any function of them,

    dL/dz_v = sum over selected tokens u of dL/dlog p_u * (1[u = v] - p_v),

one softmax scaled by a number per position, plus a sparse part.  So a cross entropy's second dense
pass (a gradient of the log-softmax that is zero but for one entry a row) never happens, and
nothing of size (B, T, V) is kept for the backward pass except the logits, which the model holds
anyway.

Both passes go through the logits in blocks of rows that fit the processor's cache, so that
temporaries (among them the float32 copy of half-precision logits) are small.

Derived in docs/mathematics.md, "Log-probabilities of a few tokens".
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Elements of the logits handled at a time.  On a CPU a block's temporaries should stay in the
# second-level cache; on a GPU a block must be large enough to hide the cost of launching kernels.
CPU_BLOCK_ELEMENTS = 2**20
GPU_BLOCK_ELEMENTS = 2**26


class SelectedLprobs(NamedTuple):
    """Log-probabilities in nats, in at least float32.

    Attributes:
        target: (B, T), of the target token.
        candidates: (B, T, K), of the candidate tokens, minus infinity where the mask excludes
            them; None when no candidates were given.
        total: (B, T), summed over the vocabulary; None unless asked for.
        likeliest: (B, T), int64, the token of the largest logit; None unless asked for.
        complement: (B, T), ``log(1 - p)`` of the target; None unless asked for.
    """

    target: Tensor
    candidates: Tensor | None
    total: Tensor | None
    argmax: Tensor | None = None
    complement: Tensor | None = None


def selective_log_softmax(
    logits: Tensor,
    target: Tensor,
    candidates: Tensor | None = None,
    candidate_mask: Tensor | None = None,
    with_total: bool = False,
    with_argmax: bool = False,
    with_complement: bool = False,
) -> SelectedLprobs:
    """Compute the log-softmax of the logits at selected tokens.

    The naive formula, which holds (B, T, V) numbers that this function does not::

        lprobs = logits.log_softmax(-1)
        target_lprobs = lprobs.gather(-1, target[..., None])[..., 0]
        candidate_lprobs = lprobs.gather(-1, candidates[:, None, :].expand(-1, T, -1))
        total = lprobs.sum(-1)
        likeliest = lprobs.argmax(-1)
        complement = (1 - target_lprobs.exp()).log()

    The complement keeps its digits, and a gradient in [-1, 1], where p comes so close to 1 that
    1 - p would round to 0: it is a sum over the other tokens.

    Args:
        logits: (B, T, V), any floating dtype.  Half precision is raised to float32 inside, float64
            stays float64; the gradient has the dtype of the logits.
        target: (B, T), int64 ids in [0, V).
        candidates: (B, K), int64 ids in [0, V), the same for all positions of a row.
        candidate_mask: (B, T, K), bool: which candidates count at which position.
        with_total: also sum the log-probabilities over the vocabulary.
        with_likeliest: also find the likeliest token.
        with_complement: also compute the logarithm of 1 minus the target's probability.

    Returns:
        ``SelectedLprobs``, in nats.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    if logits.dim() != 3 or target.shape != logits.shape[:2]:
        raise ValueError(
            f"logits must be (B, T, V) and target (B, T), but they are {tuple(logits.shape)} "
            f"and {tuple(target.shape)}"
        )
    if (candidates is None) != (candidate_mask is None):
        raise ValueError("candidates and candidate_mask are given together or not at all")
    selected = SelectedLprobs(
        *_SelectiveLogSoftmax.apply(
            *(logits, target, candidates, with_total, with_argmax, with_complement)
        )
    )
    return masked(selected, candidate_mask)


def masked(lprobs: SelectedLprobs, candidate_mask: Tensor | None) -> SelectedLprobs:
    """Give minus infinity to the candidates that the mask, (B, T, K), excludes."""
    if candidate_mask is None or lprobs.candidates is None:
        return lprobs
    return lprobs._replace(candidates=lprobs.candidates.masked_fill(~candidate_mask, -torch.inf))


class _SelectiveLogSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        target: Tensor,
        candidates: Tensor | None,
        *wanted: bool,
    ) -> SelectedLprobs:
        selected = select_lprobs(logits, target, candidates, *wanted)
        if selected.argmax is not None:
            ctx.mark_non_differentiable(selected.argmax)
        ctx.save_for_backward(logits, target, candidates)
        return tuple(selected)  # type: ignore[return-value]  # autograd knows no other kind

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        logits, target, candidates = ctx.saved_tensors
        gradient = logits_gradient(logits, target, candidates, SelectedLprobs(*grads))
        return gradient, None, None, None, None, None


def select_lprobs(
    logits: Tensor,
    target: Tensor,
    candidates: Tensor | None,
    with_total: bool = False,
    with_argmax: bool = False,
    with_complement: bool = False,
) -> SelectedLprobs:
    """Compute what ``selective_log_softmax`` does, without a mask and without autograd."""
    B, T, _ = logits.shape
    dtype = torch.promote_types(logits.dtype, torch.float32)
    target = target.unsqueeze(-1)  # (B, T, 1)
    target_lprobs = logits.new_empty(B, T, 1, dtype=dtype)
    candidate_lprobs = total = argmax = complement = None
    if candidates is not None:
        candidates = candidates.unsqueeze(1).expand(-1, T, -1)  # (B, K) -> (B, T, K), a view
        candidate_lprobs = logits.new_empty(candidates.shape, dtype=dtype)
    if with_total:
        total = logits.new_empty(B, T, dtype=dtype)
    if with_argmax:
        argmax = torch.empty_like(target)
    if with_complement:
        complement = logits.new_empty(B, T, dtype=dtype)

    for block in _blocks(logits):
        lprobs = torch.log_softmax(logits[block], dim=-1, dtype=dtype)
        target_lprobs[block] = lprobs.gather(-1, target[block])
        if candidates is not None and candidate_lprobs is not None:
            candidate_lprobs[block] = lprobs.gather(-1, candidates[block])
        if total is not None:
            total[block] = lprobs.sum(-1)
        if argmax is not None:
            # Of the logits: rounding can make two of their log-probabilities equal.
            argmax[block] = logits[block].argmax(-1, keepdim=True)
        if complement is not None:
            others = lprobs.scatter_(-1, target[block], -torch.inf).logsumexp(-1)
            lprob = target_lprobs[block].squeeze(-1)
            # Each where it keeps its digits: the sum where 1 - p cancels, log1p where it is near 1.
            complement[block] = torch.where(lprob > -math.log(2), others, torch.log1p(-lprob.exp()))
    return SelectedLprobs(
        *(target_lprobs.squeeze(-1), candidate_lprobs, total),
        None if argmax is None else argmax.squeeze(-1),
        complement,
    )


def logits_gradient(
    logits: Tensor,
    target: Tensor,
    candidates: Tensor | None,
    grads: SelectedLprobs,
    out: Tensor | None = None,
) -> Tensor:
    """Compute the gradient with respect to the logits from that of the selected lprobs.

    Args:
        logits: (B, T, V).
        target: (B, T).
        candidates: (B, K); None if none were selected.
        grads: the gradient of each; None for one that has none.
        out: (B, T, V), where the result goes, which may be the logits themselves; None: new memory.

    Returns:
        (B, T, V), in the dtype of the logits.
    """
    target = target.unsqueeze(-1)
    if candidates is not None:
        candidates = candidates.unsqueeze(1).expand(-1, logits.size(1), -1)
    grad_target = grads.target.unsqueeze(-1)
    # What multiplies the softmax: minus the sum of the gradients of the selected tokens.
    scale = -grad_target
    if grads.candidates is not None:
        scale = scale - grads.candidates.sum(-1, keepdim=True)
    grad_total = None if grads.total is None else grads.total.unsqueeze(-1)
    if grad_total is not None:
        scale = scale - grad_total * logits.size(-1)

    result = torch.empty_like(logits) if out is None else out
    # Otherwise through a block of memory: half precision is rounded once, at the end, and no kernel
    # is asked to write what it reads.
    directly = logits.dtype == scale.dtype and out is None
    for block in _blocks(logits):
        into = result[block] if directly else None
        grad = torch.softmax(logits[block], dim=-1, dtype=scale.dtype, out=into)
        if grads.complement is None:
            grad.mul_(scale[block])
        else:
            _complement_gradient(grad, target[block], grads.complement[block], scale[block])
        if candidates is not None and grads.candidates is not None:
            grad.scatter_add_(-1, candidates[block], grads.candidates[block])
        grad.scatter_add_(-1, target[block], grad_target[block])
        if grad_total is not None:
            grad.add_(grad_total[block])
        if not directly:
            result[block] = grad
    return result


def _complement_gradient(probs: Tensor, target: Tensor, grad: Tensor, scale: Tensor) -> None:
    """Multiply probabilities, (b, t, V), by ``scale``, and add the gradient of the complement.

    ``log(1 - p_y)`` has the gradient ``-p_y`` with respect to the target's logit, and
    ``p_y p_v / (1 - p_y)`` with respect to any other, where 1 - p_y is the sum of these p_v.
    """
    own = probs.gather(-1, target)  # (b, t, 1)
    through = grad.unsqueeze(-1) * own
    others = probs.scatter_(-1, target, 0.0).sum(-1, keepdim=True)
    # Where all of them are too small for this type, they have no gradient.
    others = others.clamp(min=torch.finfo(others.dtype).tiny)
    probs.mul_(scale + through / others)
    probs.scatter_(-1, target, scale * own - through)


def _blocks(logits: Tensor) -> Iterator[tuple[slice, slice]]:
    """Cut (B, T, V) into blocks of whole rows of at most ``*_BLOCK_ELEMENTS`` elements.

    Yields:
        (batch slice, time slice): several whole sequences, or a stretch of a single one.
    """
    B, T, V = logits.shape
    elements = CPU_BLOCK_ELEMENTS if logits.device.type == "cpu" else GPU_BLOCK_ELEMENTS
    positions = max(1, elements // max(1, V))
    sequences = max(1, positions // max(1, T))
    for b in range(0, B, sequences):
        for t in range(0, T, positions):
            yield slice(b, min(b + sequences, B)), slice(t, min(t + positions, T))
