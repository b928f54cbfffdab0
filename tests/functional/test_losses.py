"""Every loss against its slow loop: value, gradient, and the cases that break such code."""

import math

import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses
from torch import Tensor

from genft_fairseq.functional import selective_log_softmax as engine
from genft_fairseq.functional.first_token import first_token_loss
from genft_fairseq.functional.scalegrad import scalegrad_loss
from genft_fairseq.functional.seen_tokens import first_occurrence_mask, seen_mask, seen_mass
from genft_fairseq.functional.selective_log_softmax import selective_log_softmax
from genft_fairseq.functional.unlikelihood import (
    log1mexp,
    repeated_token_loss,
    unlikelihood_loss,
)

PAD = 1


def nll_loss(logits: Tensor, target: Tensor) -> Tensor:
    lprobs = selective_log_softmax(logits, target)
    return (-lprobs.target).masked_fill(target.eq(PAD), 0.0)


def repeats(logits: Tensor, text: Tensor) -> Tensor:
    """Every token repeats."""
    lprobs = selective_log_softmax(logits, text, with_complement=True)
    return repeated_token_loss(lprobs.complement, text.ne(PAD))


LOSSES = {
    "nll": (nll_loss, lambda z, y: reference.nll(z, y, PAD)),
    "scalegrad": (
        lambda z, y: scalegrad_loss(z, y, 0.2, PAD),
        lambda z, y: reference.scalegrad(z, y, 0.2, PAD),
    ),
    "unlikelihood": (
        lambda z, y: unlikelihood_loss(z, y, PAD),
        lambda z, y: reference.unlikelihood(z, y, PAD),
    ),
    "sequence unlikelihood": (
        repeats,
        lambda z, y: reference.sequence_unlikelihood(z, y, PAD),
    ),
}

TARGETS = {
    "right padding": [[5, 6, 5, 7, 6], [4, 4, 4, PAD, PAD], [8, PAD, PAD, PAD, PAD]],
    "left padding": [[5, 6, 5, 7, 6], [PAD, PAD, 4, 4, 4], [PAD, PAD, PAD, PAD, 8]],
    "rows of length one": [[3], [PAD], [7]],
    "one token repeated": [[6] * 7, [6] * 7],
    "all padding": [[PAD, PAD], [PAD, PAD]],
    "all distinct": [[2, 3, 4, 5, 6, 7, 8, 0]],
}


@pytest.fixture(params=LOSSES, ids=str)
def pair(request):
    return LOSSES[request.param]


def random_logits(target: Tensor, vocabulary: int = 9, scale: float = 2.0) -> Tensor:
    z = scale * torch.randn(*target.shape, vocabulary, dtype=torch.float64)
    return z.requires_grad_()


def value_and_gradient(loss, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and the gradient of a weighted sum, which gives every position its own weight."""
    value = loss(logits, target)
    weights = torch.linspace(-1, 2, value.numel(), dtype=torch.float64).view_as(value)
    if not value.requires_grad:  # a loop over nothing but padding never touched the logits
        return value, torch.zeros_like(logits)
    (gradient,) = torch.autograd.grad((value * weights).sum(), logits)
    return value, gradient


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_equals_the_loop_in_float64(pair, target):
    ours, loop = pair
    target = torch.tensor(target)
    logits = random_logits(target)
    got, got_gradient = value_and_gradient(ours, logits, target)
    want, want_gradient = value_and_gradient(loop, logits, target)
    assert got.dtype == torch.float64
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got_gradient, want_gradient, rtol=1e-11, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    B=st.integers(1, 3),
    T=st.integers(1, 7),
    V=st.integers(3, 12),
    gamma=st.sampled_from([1e-3, 0.2, 0.5, 0.999, 1.0]),
    block=st.sampled_from([1, 20, 10**6]),
    seed=st.integers(0, 2**31),
)
def test_equals_the_loop_for_any_shape_and_block(B, T, V, gamma, block, seed):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, V, (B, T), generator=generator)  # padding may lie anywhere
    logits = torch.randn(B, T, V, generator=generator, dtype=torch.float64).requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "CPU_BLOCK_ELEMENTS", block)
        got, got_gradient = value_and_gradient(
            lambda z, y: scalegrad_loss(z, y, gamma, PAD) + unlikelihood_loss(z, y, PAD),
            logits,
            target,
        )
    want, want_gradient = value_and_gradient(
        lambda z, y: reference.scalegrad(z, y, gamma, PAD) + reference.unlikelihood(z, y, PAD),
        logits,
        target,
    )
    torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(got_gradient, want_gradient, rtol=1e-10, atol=1e-11)


def test_gradcheck(pair):
    target = torch.tensor([[2, 3, 2, 4], [0, 0, PAD, PAD]])
    assert torch.autograd.gradcheck(lambda z: pair[0](z, target), random_logits(target, 5))


def test_scalegrad_worked_by_hand():
    # V = 4, uniform p = 1/4, gamma = 1/2, y = (2, 3, 2).
    # t=1: nothing seen: q = p, loss log 4.
    # t=2: C = {2}: weights (1/2, 1/2, 1, 1/2), normaliser 5/8, q(3) = (1/8)/(5/8) = 1/5.
    # t=3: C = {2, 3}: weights (1/2, 1/2, 1, 1), normaliser 6/8, q(2) = (1/4)/(3/4) = 1/3.
    logits = torch.zeros(1, 3, 4, dtype=torch.float64, requires_grad=True)
    loss = scalegrad_loss(logits, torch.tensor([[2, 3, 2]]), 0.5, PAD)
    torch.testing.assert_close(loss.exp(), torch.tensor([[4.0, 5.0, 3.0]], dtype=torch.float64))
    # dL/dz = q - onehot: at t=3, q = (1/6, 1/6, 1/3, 1/3).
    loss.sum().backward()
    want = torch.tensor([1 / 6, 1 / 6, 1 / 3 - 1, 1 / 3], dtype=torch.float64)
    torch.testing.assert_close(logits.grad[0, 2], want)


def test_unlikelihood_worked_by_hand():
    # V = 4, uniform: each candidate costs -log(3/4); y = (2, 3, 2, 2): 0, {2}, {3}, {3}.
    loss = unlikelihood_loss(torch.zeros(1, 4, 4), torch.tensor([[2, 3, 2, 2]]), PAD)
    each = -math.log(3 / 4)
    torch.testing.assert_close(loss, torch.tensor([[0.0, each, each, each]]))


def test_scalegrad_gradient_is_the_closed_form():
    """dL/dz = p (1 - a r) + a p|C - onehot(y), METHODS' formula, written out densely."""
    gamma, target = 0.3, torch.tensor([[5, 6, 5, 7], [4, 4, 2, PAD]])
    logits = random_logits(target)
    scalegrad_loss(logits, target, gamma, PAD).sum().backward()
    p = logits.detach().softmax(-1)
    seen = torch.zeros_like(p)
    for b, t, s in seen_mask(target, PAD).nonzero().tolist():
        seen[b, t, target[b, s]] = 1
    r = (seen * p).sum(-1, keepdim=True)
    a = (1 - gamma) / (gamma + (1 - gamma) * r)
    onehot = torch.nn.functional.one_hot(target, p.size(-1))
    want = (p * (1 - a * r) + a * seen * p - onehot) * target.ne(PAD)[..., None]
    torch.testing.assert_close(logits.grad, want)


def test_gamma_one_is_cross_entropy():
    target = torch.tensor([[5, 6, 5, 7], [4, 4, PAD, PAD]])
    logits = random_logits(target)
    got = scalegrad_loss(logits, target, 1.0, PAD)
    want = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), target, ignore_index=PAD, reduction="none"
    )
    torch.testing.assert_close(got, want, rtol=1e-14, atol=0)


def test_rows_do_not_see_each_other(pair):
    target = torch.tensor([[5, 6, 5, 7], [6, 5, 6, 5], [7, 7, 8, PAD]])
    logits = random_logits(target)
    together = pair[0](logits, target)
    alone = torch.cat([pair[0](logits[b : b + 1], target[b : b + 1]) for b in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=0)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(pair[0](logits[order], target[order]), together[order])


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(pair, side):
    target = torch.tensor([[5, 6, 5, 7]])
    logits = random_logits(target)
    pads = torch.full((1, 3), PAD)
    # What a model says at padding is arbitrary.
    noise = 50 * torch.randn(1, 3, 9, dtype=torch.float64)
    parts = [(pads, noise), (target, logits)]
    parts = parts if side == "left" else parts[::-1]
    padded_target = torch.cat([part[0] for part in parts], 1)
    padded_logits = torch.cat([part[1] for part in parts], 1)
    value = pair[0](logits, target)
    padded = pair[0](padded_logits, padded_target)
    torch.testing.assert_close(padded[padded_target.ne(PAD)], value[0], rtol=0, atol=0)
    assert padded[padded_target.eq(PAD)].eq(0).all()


def test_padding_logit_of_minus_infinity_is_harmless(pair):
    """Some models forbid padding by its logit; the gradient must stay finite."""
    target = torch.tensor([[5, 6, 5, PAD]])
    logits = random_logits(target)
    with torch.no_grad():
        logits[..., PAD] = -math.inf
    value, gradient = value_and_gradient(pair[0], logits, target)
    assert value.isfinite().all() and gradient.isfinite().all()
    assert gradient[0, 3].eq(0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_loses_no_more_than_its_rounding(pair, dtype):
    """Inputs in half precision: the loss is that of the rounded logits, computed in float32.

    The gradient comes back in half precision, so it may differ from the exact one by one rounding.
    """
    ours, loop = pair
    target = torch.randint(0, 40, (2, 12))
    rounded = (4 * torch.randn(2, 12, 40)).to(dtype).requires_grad_()
    exact = rounded.detach().double().requires_grad_()
    got, want = ours(rounded, target), loop(exact, target)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), want, rtol=1e-5, atol=1e-5)
    got.sum().backward()
    want.sum().backward()
    assert rounded.grad.dtype == dtype
    epsilon = torch.finfo(dtype).eps
    torch.testing.assert_close(
        rounded.grad.double(), exact.grad, rtol=epsilon, atol=2 * epsilon * 1e-2
    )


def test_extreme_logits_stay_finite(pair):
    """A model that is sure, of a seen token, of a novel one, or of the wrong one."""
    target = torch.tensor([[5, 5, 6, 5]])
    for sure_of in (5, 6, 7):
        logits = torch.zeros(1, 4, 9)
        logits[..., sure_of] = 200.0
        logits.requires_grad_()
        value = pair[0](logits, target)
        value.sum().backward()
        assert value.isfinite().all() and logits.grad.isfinite().all()


def test_log1mexp_is_exact_at_both_ends():
    x = torch.tensor([-1e-3, -0.5, -math.log(2), -5.0, -30.0, -80.0], dtype=torch.float64)
    # expm1 and log1p in float64 are the truth that the float32 result is held to.
    want = torch.where(x > -1, torch.log(-torch.expm1(x)), torch.log1p(-x.exp()))
    torch.testing.assert_close(log1mexp(x.float()).double(), want, rtol=3e-6, atol=0)
    # The bound: nothing costs more than -log(1e-5), and there the gradient ends.
    at_bound = torch.tensor([0.0, -1e-9], dtype=torch.float64, requires_grad=True)
    value = log1mexp(at_bound)
    torch.testing.assert_close(value, torch.full_like(value, math.log(1e-5)), rtol=1e-6, atol=0)
    value.sum().backward()
    assert at_bound.grad.eq(0).all()


# How far the repeated token's logit lies above the others': p from 1e-13 to 1 - 4e-20.
GAPS = [-30.0, -5.0, 0.0, 0.7, 3.0, 12.0, 15.9, 20.0, 30.0, 40.0, 46.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sure_repeat_has_its_exact_loss_and_gradient(dtype):
    logits = torch.randn(1, len(GAPS), 9, dtype=torch.float64)
    text = torch.full((1, len(GAPS)), 4)
    logits[0, :, 4] = torch.tensor(GAPS, dtype=torch.float64)
    rounded = logits.to(dtype).requires_grad_()
    exact = rounded.detach().double().requires_grad_()
    got, want = repeats(rounded, text), reference.sequence_unlikelihood(exact, text, PAD)
    epsilon = torch.finfo(dtype).eps
    torch.testing.assert_close(got.double(), want, rtol=8 * epsilon, atol=2 * epsilon)
    got.sum().backward()
    want.sum().backward()
    torch.testing.assert_close(rounded.grad.double(), exact.grad, rtol=64 * epsilon, atol=1e-15)
    assert exact.grad[0, GAPS.index(40.0), 4] == pytest.approx(1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_published_example_of_a_sure_repeat(dtype):
    """p = .999999: 13.8 nats and a gradient of 1, where the token-level bound would give 0."""
    logits = torch.tensor([0.999999, 0.6e-6, 0.4e-6], dtype=torch.float64).log().to(dtype)
    logits = logits[None, None].requires_grad_()
    loss = repeats(logits, torch.tensor([[0]]))
    assert float(loss) == pytest.approx(6 * math.log(10), rel=1e-6)
    loss.sum().backward()
    assert logits.grad[0, 0].tolist() == pytest.approx([0.999999, -0.6, -0.4], rel=1e-5)


def test_the_bound_of_a_repeat_is_1e_20():
    logits = torch.tensor([[[46.0, 0.0], [46.1, 0.0], [500.0, 0.0]]], requires_grad=True)
    loss = repeats(logits, torch.zeros(1, 3, dtype=torch.long))
    assert loss[0].tolist() == pytest.approx([46.0, 20 * math.log(10), 20 * math.log(10)])
    loss.sum().backward()
    assert logits.grad[0].tolist() == [[1.0, -1.0], [0.0, 0.0], [0.0, 0.0]]


def test_all_terms_together_have_the_sum_of_their_gradients():
    """The complement beside the target, the candidates and the total, of one softmax."""
    target = torch.tensor([[5, 6, 5, 7], [4, 4, 4, 2]])
    logits = random_logits(target)
    mask = seen_mask(target, PAD)
    found = selective_log_softmax(logits, target, target, mask, True, True, True)
    lprobs = logits.log_softmax(-1)
    own = lprobs.gather(-1, target[..., None])[..., 0]
    seen = lprobs.gather(-1, target[:, None].expand(-1, 4, -1)).masked_fill(~mask, 0.0)
    weight = torch.rand(4, *target.shape, dtype=torch.float64)
    terms = (found.target, found.candidates.exp().sum(-1), found.total, found.complement)
    wanted = (own, (seen.exp() * mask).sum(-1), lprobs.sum(-1), (1 - own.exp()).log())
    torch.testing.assert_close(terms, wanted)
    got, want = (
        torch.autograd.grad((weight * torch.stack(given)).sum(), logits)[0]
        for given in (terms, wanted)
    )
    torch.testing.assert_close(got, want)


def test_seen_tokens():
    target = torch.tensor([[5, 6, 5, PAD, 7], [PAD, PAD, 4, 4, 5]])
    want = [[1, 1, 0, 0, 1], [0, 0, 1, 0, 1]]
    assert first_occurrence_mask(target, PAD).int().tolist() == want
    mask = seen_mask(target, PAD)
    listed = [[set(target[b][mask[b, t]].tolist()) for t in range(5)] for b in range(2)]
    assert listed[0] == [set(), {5}, {5, 6}, {5, 6}, {5, 6}]
    assert listed[1] == [set(), set(), set(), {4}, {4}]
    assert mask.sum(-1).tolist() == [[len(s) for s in row] for row in listed]  # each once


def test_seen_mass_equals_the_loop():
    target = torch.tensor([[5, 6, 5, 7], [4, 4, PAD, PAD]])
    logits = random_logits(target)
    lprobs = selective_log_softmax(logits, target, target, seen_mask(target, PAD))
    mass = seen_mass(lprobs.candidates).masked_fill(target.eq(PAD), 0.0)
    torch.testing.assert_close(mass, reference.seen_mass(logits, target, PAD))


def test_total_of_the_vocabulary_and_its_gradient():
    target = torch.tensor([[5, 6, 5, 7], [4, 4, PAD, PAD]])

    def ours(z, y):
        return (-selective_log_softmax(z, y, with_total=True).total).masked_fill(y.eq(PAD), 0.0)

    logits = random_logits(target)
    got = value_and_gradient(ours, logits, target)
    want = value_and_gradient(lambda z, y: reference.smooth(z, y, PAD), logits, target)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
def test_first_token(target):
    target = torch.tensor(target)
    nll = torch.rand(target.shape, dtype=torch.float64)
    nll[target.eq(PAD)] = math.nan  # whatever stands at padding must not leak
    got = first_token_loss(nll, target, PAD)
    torch.testing.assert_close(got, reference.first_token(nll, target, PAD))


@pytest.mark.parametrize("gamma", [0.0, -1.0, 1.5, math.nan])
def test_gamma_out_of_range(gamma):
    with refuses("gamma", gamma, error=ValueError):
        scalegrad_loss(torch.zeros(1, 2, 4), torch.tensor([[2, 3]]), gamma, PAD)


def test_shapes_that_do_not_fit():
    with refuses((1, 2, 4), (1, 3), error=ValueError):
        scalegrad_loss(torch.zeros(1, 2, 4), torch.tensor([[2, 3, 3]]), 0.5, PAD)


def test_dense_masks_agree():
    """The benchmark's third column computes the same loss, up to its 1e-8."""
    target = torch.randint(2, 30, (3, 11))
    logits = torch.randn(3, 11, 30)
    got = reference.scalegrad_dense_masks(logits, target, 0.2)
    want = scalegrad_loss(logits, target, 0.2, PAD).sum()
    torch.testing.assert_close(got, want, rtol=1e-5, atol=0)
