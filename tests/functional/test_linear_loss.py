"""Projection and loss in chunks against projection, then loss: value, gradient, memory."""

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from genft_fairseq.functional.linear_loss import Projection, Wanted, linear_loss, linear_lprobs
from genft_fairseq.functional.selective_log_softmax import selective_log_softmax
from genft_fairseq.functional.token_loss import Targets, TokenLoss

PAD = 1
V, D = 19, 5
ALL = TokenLoss(V, smoothing=0.1, gamma=0.2, alpha=0.7, with_correct=True)
PLAIN = TokenLoss(V)
LOSSES = {
    "plain": PLAIN,
    "smoothed": TokenLoss(V, smoothing=0.1),
    "scalegrad": TokenLoss(V, gamma=0.2),
    "unlikelihood": TokenLoss(V, alpha=1.0),
    "all": ALL,
    "figures alone": TokenLoss(V, with_seen_mass=True, with_unlikelihood=True),
}
EXACT = {"rtol": 1e-10, "atol": 1e-12}


class Problem(NamedTuple):
    features: Tensor  # (B, T, D)
    projection: Projection
    targets: Targets
    index: Tensor  # of all positions that are no padding


def problem(
    loss: TokenLoss,
    B: int = 3,
    T: int = 7,
    *,
    bias: bool = True,
    prefix: int = 0,
    dtype=torch.float64,
) -> Problem:
    generator = torch.Generator().manual_seed(B * T)
    draw = lambda *size: torch.randn(*size, generator=generator, dtype=torch.float64).to(dtype)  # noqa: E731
    features = draw(B, T, D).requires_grad_()
    projection = Projection(draw(V, D).requires_grad_(), draw(V).requires_grad_() if bias else None)
    sequence = torch.randint(2, 9, (B, T), generator=generator)
    for row in range(1, B):  # each row shorter than the one before, the last of padding alone
        sequence[row, max(0, T - 2 * row) if row < B - 1 else 0 :] = PAD
    weight = torch.rand(B, T - prefix, generator=generator)
    targets = Targets(sequence, PAD, prefix, loss.needs_seen, weight)
    return Problem(features, projection, targets, targets.scored.ne(PAD).flatten().nonzero()[:, 0])


def naive(p: Problem, loss: TokenLoss):
    logits = F.linear(p.features[:, p.targets.prefix :], *p.projection)
    at = p.targets.whole()
    wanted = (loss.smoothing > 0, loss.with_correct)
    return loss(selective_log_softmax(logits, at.target, at.seen, at.seen_mask, *wanted), at)


def chunked(p: Problem, loss: TokenLoss, size: int, index: Tensor | None = None):
    index = p.index if index is None else index
    features = p.features[:, p.targets.prefix :].flatten(0, 1)[index]
    wanted = Wanted(loss.smoothing > 0, loss.with_correct)
    return linear_loss(features, p.projection, p.targets, index, loss, size, wanted)


def leaves(p: Problem) -> list[Tensor]:
    return [p.features, *(part for part in p.projection if part is not None)]


def assert_equal(p: Problem, loss: TokenLoss, size: int, **tolerance) -> None:
    total, terms = chunked(p, loss, size)
    want = naive(p, loss)
    torch.testing.assert_close(total, want.loss.sum(), **tolerance)
    got = torch.autograd.grad(3 * total, leaves(p))
    wanted = torch.autograd.grad(3 * want.loss.sum(), leaves(p), materialize_grads=True)
    for ours, theirs in zip(got, wanted, strict=True):
        assert ours.dtype == theirs.dtype
        torch.testing.assert_close(ours, theirs, **tolerance)
    for ours, theirs in zip(terms, want, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours[:, 0], theirs.detach().flatten()[p.index], **tolerance)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_equals_projection_then_loss(loss, size):
    assert_equal(problem(loss), loss, size, **EXACT)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("prefix", [0, 2])
def test_with_and_without_bias_and_prefix(bias, prefix):
    assert_equal(problem(ALL, bias=bias, prefix=prefix), ALL, 3, **EXACT)


def test_in_float32():
    assert_equal(problem(ALL, dtype=torch.float32), ALL, 3, rtol=1e-5, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(B=st.integers(1, 4), T=st.integers(1, 9), size=st.integers(1, 40), prefix=st.integers(0, 2))
def test_any_shape(B, T, size, prefix):
    assert_equal(problem(ALL, B, T, prefix=min(prefix, T)), ALL, size, **EXACT)


def test_positions_may_be_padding():
    """On a GPU all of them are projected: how many count would have to be waited for."""
    p = problem(ALL)
    everything = torch.arange(p.targets.scored.numel())
    total, terms = chunked(p, ALL, 4, everything)
    torch.testing.assert_close(total, chunked(p, ALL, 4)[0], **EXACT)
    assert (terms.loss[p.targets.scored.flatten() == PAD] == 0).all()


def test_no_position_at_all():
    """A loss of 0 and gradients of 0: a process of several that has nothing to score."""
    p = problem(ALL)
    total, terms = chunked(p, ALL, 4, p.index[:0])
    assert total == 0
    assert terms.loss.shape == (0, 1)
    for gradient in torch.autograd.grad(total, leaves(p)):
        assert (gradient == 0).all()


def test_lprobs_have_a_gradient_position_by_position():
    p = problem(ALL)
    features = p.features.flatten(0, 1)[p.index]
    lprobs = linear_lprobs(features, p.projection, p.targets, p.index, 4, Wanted(total=True))
    loss = TokenLoss(V, smoothing=0.1, gamma=0.2, alpha=0.7)
    terms = loss(lprobs, p.targets.at(p.index))
    want = naive(p, loss).loss.flatten()[p.index]
    weights = torch.linspace(-1, 2, len(want), dtype=torch.float64)
    for ours, theirs in zip(
        torch.autograd.grad((terms.loss[:, 0] * weights).sum(), leaves(p)),
        torch.autograd.grad((want * weights).sum(), leaves(p)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, **EXACT)


def test_gradcheck():
    """Of the log-probabilities: gradcheck asks twice, and ``linear_loss`` answers once."""
    p = problem(ALL, 2, 4)

    def lprobs(features, weight, bias):
        given = (features.flatten(0, 1)[p.index], Projection(weight, bias), p.targets, p.index)
        found = linear_lprobs(*given, 3, Wanted(total=True))
        seen = found.candidates.masked_fill(found.candidates.isneginf(), 0.0)
        return found.target, seen, found.total

    assert torch.autograd.gradcheck(lprobs, leaves(p))


def test_the_gradient_is_there_once():
    p = problem(PLAIN)
    total, _ = chunked(p, PLAIN, 4)
    total.backward(retain_graph=True)
    with refuses(error=RuntimeError):
        total.backward()


def test_what_needs_no_gradient_gets_none():
    p = problem(ALL)
    frozen = p._replace(
        features=p.features.detach(),
        projection=Projection(p.projection.weight.detach(), p.projection.bias),
    )
    total, _ = chunked(frozen, ALL, 4)
    total.backward()
    assert frozen.projection.bias.grad is not None
    with torch.no_grad():
        value, _ = chunked(p, ALL, 4)
    assert not value.requires_grad
    torch.testing.assert_close(value, total.detach(), **EXACT)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_loses_what_projecting_in_it_loses(dtype):
    """The loss in float32; its gradients at most twice as far from exact ones as the naive are."""
    p = problem(ALL, 3, 8, dtype=dtype)
    exact = problem(ALL, 3, 8)
    for part, rounded in zip(leaves(exact), leaves(p), strict=True):
        part.data.copy_(rounded.detach())
    total, _ = chunked(p, ALL, 4)
    assert total.dtype == torch.float32
    want = torch.autograd.grad(naive(exact, ALL).loss.sum(), leaves(exact))
    rough = torch.autograd.grad(naive(p, ALL).loss.sum(), leaves(p))
    for ours, theirs, right in zip(torch.autograd.grad(total, leaves(p)), rough, want, strict=True):
        assert ours.dtype == dtype
        error = (ours.double() - right).norm()
        assert error <= 2 * (theirs.double() - right).norm() + torch.finfo(dtype).eps


def test_tiny_gradients_survive_float16():
    """They vanish in that type unless the loss's scale, known in the backward pass, comes first."""
    p = problem(PLAIN, 1, 2, bias=False, dtype=torch.float16)
    with torch.no_grad():
        p.features.fill_(1.0)
        p.projection.weight.fill_(-4.0)  # probabilities of others around 1e-8
        p.projection.weight[p.targets.sequence.flatten()] = 0.0
    total, _ = chunked(p, PLAIN, 1)
    (gradient,) = torch.autograd.grad(total * 2**15, p.projection.weight)
    others = [v for v in range(V) if v not in p.targets.sequence]
    assert (gradient[others] > 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_reads_the_matrix_in_its_own_type(dtype):
    p = problem(ALL, dtype=torch.float32)
    with torch.autocast("cpu", dtype=dtype):
        total, _ = chunked(p, ALL, 4)
        want = naive(p, ALL).loss.sum()
    assert total.dtype == torch.float32
    tolerance = {"rtol": 0.02, "atol": 0.2}
    torch.testing.assert_close(total, want, **tolerance)
    for ours, theirs in zip(
        torch.autograd.grad(total, leaves(p)), torch.autograd.grad(want, leaves(p)), strict=True
    ):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, **tolerance)


class Largest(TorchDispatchMode):
    """The most elements of any tensor that an operation returns."""

    numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor):
                self.numel = max(self.numel, value.numel())
        return result


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_logits_of_a_chunk_are_the_most_that_is_held(dtype):
    """Among 40 x 5 positions of 19 tokens: chunks of 10, never 200."""
    p = problem(ALL, 40, 5, dtype=dtype)
    with Largest() as largest:
        total, _ = chunked(p, ALL, 10)
        total.backward()
    assert largest.numel <= max(10 * V, p.features.numel())
    with Largest() as largest:
        naive(p, ALL).loss.sum().backward()
    assert largest.numel >= 200 * V
