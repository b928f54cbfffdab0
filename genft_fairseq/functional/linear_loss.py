"""Output projection and loss together, some positions at a time.

The logits of a batch, (B, T, V), are the largest thing that training a model of text holds: for
4,096 positions of GPT-2's vocabulary 785 MiB, and as much again for each of the log-probabilities
and the two gradients that a cross entropy makes of them.  Nothing of that is wanted but one number
a position and the gradients of the features, (B, T, D), and of the matrix, (V, D).  So a chunk of
positions is projected, its loss taken, and the logits overwritten by their gradient, before the
next chunk uses the same memory.  Derived in docs/mathematics.md, "Loss in chunks".

Two ways, which differ in when the gradient is made:

- ``linear_loss`` makes it in the forward pass, where the logits are at hand, for a loss that is a
  sum over positions.  Three matrix products, as many as without chunks.
- ``linear_lprobs`` returns log-probabilities, for any function of them, and computes the logits
  again in the backward pass: four products.

Each chunk goes through the whole matrix, and its gradient, once: some hundred positions are fast.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from genft_fairseq.functional.selective_log_softmax import (
    SelectedLprobs,
    logits_gradient,
    masked,
    select_lprobs,
)
from genft_fairseq.functional.token_loss import Positions, Targets

# A tuple of (n, 1) tensors, or None, whose ``loss`` is summed.
Terms = TypeVar("Terms", bound=Any)


class Projection(NamedTuple):
    """The output layer: ``logits = features @ weight.T + bias``.

    Attributes:
        weight: (V, D).
        bias: (V,), or None.
    """

    weight: Tensor
    bias: Tensor | None = None


class Wanted(NamedTuple):
    """What a loss needs besides the log-probabilities of targets and seen tokens."""

    total: bool = False
    argmax: bool = False
    complement: bool = False


def linear_loss(
    features: Tensor,
    projection: Projection,
    targets: Targets,
    index: Tensor,
    loss: Callable[[SelectedLprobs, Positions], Terms],
    chunk_size: int,
    wanted: Wanted = Wanted(),  # noqa: B008 (it cannot change)
) -> tuple[Tensor, Terms]:
    """Project features, and sum a loss over the positions, in chunks.

    The naive formula::

        logits = F.linear(features, *projection)
        terms = loss(selective_log_softmax(logits, ...), targets.whole())
        total = terms.loss.sum()

    In half precision each chunk's share of the matrix's gradient is rounded once, and summed with
    the others in float32.  In float16 the
    gradient waits for the backward pass: it is too small for that type until it is multiplied by
    the scale that the optimizer chooses (``--fp16-init-scale``).

    Args:
        features: (n, D), of the positions in ``index``.
        projection: what makes logits of them.
        targets: of the batch.
        index: (n,), which of the batch's B * T' scored positions these are.
        loss: computes the terms of some positions, each a row of its own; called with a gradient.
        chunk_size: at least 1, how many positions' logits are held at a time.
        wanted: what else ``loss`` reads.

    Returns:
        the sum, whose gradient is that of features, weight and bias; and the terms of all
        positions, (n, 1), without a gradient.

    Raises:
        RuntimeError: a second backward pass: the gradient has been given away by the first.
    """
    with _of_one_type(features, projection) as (features, projection):
        later = features.dtype == torch.float16 or not torch.is_grad_enabled()
        if later or len(features) == 0:
            lprobs = linear_lprobs(features, projection, targets, index, chunk_size, wanted)
            terms = loss(lprobs, targets.at(index))
            return terms.loss.sum(), _detached(terms)
        parts: list[Terms] = []

        def chunk_loss(lprobs: SelectedLprobs, at: Positions) -> Tensor:
            terms = loss(lprobs, at)
            parts.append(_detached(terms))
            return terms.loss.sum()

        chunks = _Chunks(features, projection, targets, index, chunk_size)
        total = _LinearLoss.apply(features, *projection, chunks, chunk_loss, wanted)
        return total, _joined(parts)


def linear_lprobs(
    features: Tensor,
    projection: Projection,
    targets: Targets,
    index: Tensor,
    chunk_size: int,
    wanted: Wanted = Wanted(),  # noqa: B008
) -> SelectedLprobs:
    """Project features, and compute the log-probabilities that a loss needs, in chunks.

    The arguments are those of ``linear_loss``.

    Returns:
        of (n, 1) positions; minus infinity for a token that has not been seen.
    """
    with _of_one_type(features, projection) as (features, projection):
        chunks = _Chunks(features, projection, targets, index, chunk_size)
        lprobs = SelectedLprobs(*_LinearLprobs.apply(features, *projection, chunks, wanted))
    return masked(lprobs, targets.at(index).seen_mask)


class _Chunks:
    """The positions, some at a time, whose logits share one piece of memory."""

    def __init__(
        self,
        features: Tensor,
        projection: Projection,
        targets: Targets,
        index: Tensor,
        size: int,
    ):
        self.features = features.detach()
        self.weight = projection.weight.detach()
        self.bias = None if projection.bias is None else projection.bias.detach()
        self.targets, self.index = targets, index
        self.size = max(1, min(size, len(features)))

    def __iter__(self) -> Iterator[tuple[slice, Positions, Tensor]]:
        """Yield which positions they are, what is known of them, and their logits (n, 1, V)."""
        memory = self.features.new_empty(self.size, len(self.weight))
        for start in range(0, len(self.features), self.size):
            chunk = slice(start, start + self.size)
            x = self.features[chunk]
            logits = memory[: len(x)]
            torch.mm(x, self.weight.t(), out=logits)
            if self.bias is not None:
                logits += self.bias
            yield chunk, self.targets.at(self.index[chunk]), logits.unsqueeze(1)


class _Gradients:
    """What the chunks' gradients add up to; None for what needs no gradient."""

    def __init__(self, chunks: _Chunks, needed: tuple[bool, ...]):
        self._chunks = chunks
        wide = torch.promote_types(chunks.weight.dtype, torch.float32)
        self.features = torch.empty_like(chunks.features) if needed[0] else None
        self.weight = torch.zeros_like(chunks.weight, dtype=wide) if needed[1] else None
        self.bias = (
            torch.zeros_like(chunks.bias, dtype=wide)
            if chunks.bias is not None and needed[2]
            else None
        )

    def add(self, chunk: slice, logits_grad: Tensor) -> None:
        """Add a chunk's, (n, 1, V)."""
        gradient = logits_grad.squeeze(1)
        x = self._chunks.features[chunk]
        if self.features is not None:
            torch.mm(gradient, self._chunks.weight, out=self.features[chunk])
        if self.weight is not None:
            if self.weight.dtype == gradient.dtype:
                self.weight.addmm_(gradient.t(), x)
            else:
                self.weight += gradient.t() @ x
        if self.bias is not None:
            self.bias += gradient.sum(0, dtype=self.bias.dtype)

    def result(self, factor: Tensor | None = None) -> tuple[Tensor | None, ...]:
        """Return all, in the types of what they are the gradients of."""
        found = (self.features, self.weight, self.bias)
        # On a GPU, asking for its value would wait for the device.
        if factor is not None and not (factor.device.type == "cpu" and factor == 1):
            for gradient in found:
                if gradient is not None:
                    gradient.mul_(factor)
        dtype = self._chunks.weight.dtype
        return tuple(None if gradient is None else gradient.to(dtype) for gradient in found)


class _LinearLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        chunks: _Chunks,
        chunk_loss: Callable[[SelectedLprobs, Positions], Tensor],
        wanted: Wanted,
    ) -> Tensor:
        gradients = _Gradients(chunks, ctx.needs_input_grad[:3])
        total = features.new_zeros((), dtype=torch.promote_types(features.dtype, torch.float32))
        for chunk, at, logits in chunks:
            lprobs = select_lprobs(logits, at.target, at.seen, *wanted)
            smooth = lprobs._replace(argmax=None)
            given = [value for value in smooth if value is not None]
            with torch.enable_grad():
                for value in given:
                    value.requires_grad_()
                loss = chunk_loss(masked(lprobs, at.seen_mask), at)
            found = iter(torch.autograd.grad(loss, given, materialize_grads=True))
            grads = SelectedLprobs(*(None if v is None else next(found) for v in smooth))
            total += loss.detach()
            gradients.add(chunk, logits_gradient(logits, at.target, at.seen, grads, out=logits))
        ctx.gradients = gradients
        ctx.save_for_backward(features, weight, bias)  # which notices where one has been changed
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("the gradient of linear_loss can be taken only once")
        _ = ctx.saved_tensors
        gradients, ctx.gradients = ctx.gradients, None
        return (*gradients.result(grad), None, None, None)


class _LinearLprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        chunks: _Chunks,
        wanted: Wanted,
    ) -> tuple[Tensor | None, ...]:
        parts = []
        for _, at, logits in chunks:
            parts.append(select_lprobs(logits, at.target, at.seen, *wanted))
        if not parts:
            at = chunks.targets.at(chunks.index)
            parts.append(
                select_lprobs(weight.new_empty(0, 1, len(weight)), at.target, at.seen, *wanted)
            )
        lprobs = _joined(parts)
        if lprobs.argmax is not None:
            ctx.mark_non_differentiable(lprobs.argmax)
        ctx.chunks = chunks
        ctx.save_for_backward(features, weight, bias)  # which notices where one has been changed
        return tuple(lprobs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        _ = ctx.saved_tensors
        gradients = _Gradients(ctx.chunks, ctx.needs_input_grad[:3])
        for chunk, at, logits in ctx.chunks:
            part = SelectedLprobs(*(None if g is None else g[chunk] for g in grads))
            gradients.add(chunk, logits_gradient(logits, at.target, at.seen, part, out=logits))
        return (*gradients.result(), None, None)


@contextmanager
def _of_one_type(features: Tensor, projection: Projection) -> Iterator[tuple[Tensor, Projection]]:
    """Convert as autocast converts what a matrix product reads, and keep it off inside."""
    kind = features.device.type
    if not torch.is_autocast_enabled(kind) or features.dtype == torch.float64:
        yield features, projection
        return
    dtype = torch.get_autocast_dtype(kind)
    with torch.autocast(kind, enabled=False):
        cast = (None if part is None else part.to(dtype) for part in projection)
        yield features.to(dtype), Projection(*cast)


def _detached(terms: Terms) -> Terms:
    return type(terms)(*(None if term is None else term.detach() for term in terms))


def _joined(parts: list[Terms]) -> Terms:
    """Concatenate the terms of all chunks."""
    columns = zip(*parts, strict=True)
    return type(parts[0])(*(None if c[0] is None else torch.cat(c) for c in columns))
