"""Attention for models of transformers': against the formula; what it keeps for its gradient."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from genft_fairseq.models.huggingface import attention as linear_memory_attention
from genft_fairseq.models.huggingface.attention import (
    RelativeBias,
    attention,
    attention_of_module,
    padding_alone,
)


def naive(query, key, value, keep, bias, causal, scale) -> Tensor:
    """The formula, with a copy of its key and value for every query."""
    R, H, T, _ = query.shape
    B, K, S, _ = key.shape
    keys = key.repeat_interleave(R // B, 0).repeat_interleave(H // K, 1)
    values = value.repeat_interleave(R // B, 0).repeat_interleave(H // K, 1)
    scores = scale * torch.einsum("bhtd,bhsd->bhts", query, keys)
    if bias is not None:
        for t in range(T):
            for k in range(S):
                scores[:, :, t, k] = scores[:, :, t, k] + bias.values[:, T - 1 - t + k]
    if keep is not None:
        hidden = ~keep.repeat_interleave(R // B, 0)[:, None, None]
        scores = scores.masked_fill(hidden, -torch.inf)
    if causal:
        for t in range(T):
            scores[:, :, t, S - T + t + 1 :] = -torch.inf
    return torch.einsum("bhts,bhsd->bhtd", scores.softmax(-1), values)


def given_tensors(R=4, H=4, T=5, B=4, K=4, S=5, padding=False, bias=False):
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.double)

    keep = torch.rand(B, S, generator=generator) < 0.7 if padding else None
    if keep is not None:
        keep[:, 0] = True
    return {
        "query": draw(R, H, T, 3).requires_grad_(),
        "key": draw(B, K, S, 3).requires_grad_(),
        "value": draw(B, K, S, 3).requires_grad_(),
        "keep": keep,
        "bias": RelativeBias(draw(H, T + S - 1).requires_grad_(), T) if bias else None,
    }


def learned(x: dict) -> list[Tensor]:
    bias = [x["bias"].values] if x["bias"] is not None else []
    return [x["query"], x["key"], x["value"], *bias]


@settings(deadline=None, max_examples=60)
@given(
    rows=st.sampled_from([(2, 2), (4, 2), (3, 1)]),
    heads=st.sampled_from([(4, 4), (4, 2), (4, 1)]),
    T=st.integers(1, 6),
    more=st.integers(0, 3),
    padding=st.booleans(),
    bias=st.booleans(),
    causal=st.booleans(),
    at_once=st.sampled_from([1, 40, 10**6]),
)
def test_it_is_the_formula(rows, heads, T, more, padding, bias, causal, at_once):
    """With its gradients, whatever is shared, masked, added, and in whatever parts."""
    (R, B), (H, K) = rows, heads
    x = given_tensors(R, H, T, B, K, T + more, padding, bias)
    before, linear_memory_attention.SCORES_AT_ONCE = linear_memory_attention.SCORES_AT_ONCE, at_once
    try:
        found = attention(**x, causal=causal, dropout=0.0, scale=0.7)
        wanted = learned(x)
        gradients = torch.autograd.grad(found.sin().sum(), wanted)
    finally:
        linear_memory_attention.SCORES_AT_ONCE = before
    expected = naive(**x, causal=causal, scale=0.7)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected.sin().sum(), wanted))


@pytest.mark.parametrize("case", ["bias", "dropout", "plain"])
def test_no_matrix_of_all_scores_is_kept(case, monkeypatch):
    """Nothing larger than a part of the scores is saved for the gradient."""
    monkeypatch.setattr(linear_memory_attention, "SCORES_AT_ONCE", 2 * 2 * 8 * 64)
    x = given_tensors(2, 2, 64, 2, 2, 64, padding=True, bias=case == "bias")
    held: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        held.append(tensor.untyped_storage().nbytes() // 8)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        found = attention(**x, causal=False, dropout=0.5 if case == "dropout" else 0.0, scale=1.0)
    assert held and max(held) <= 2 * 2 * 64 * 64 // 8
    found.sum().backward()


def test_dropout_is_the_same_in_the_backward_pass(monkeypatch):
    """In parts the scores are computed again: with the same draws."""
    monkeypatch.setattr(linear_memory_attention, "SCORES_AT_ONCE", 1)
    x = given_tensors(2, 2, 6, 2, 2, 6)
    torch.manual_seed(3)
    found = attention(**x, causal=True, dropout=0.4, scale=1.0)
    # Linear in the values: the gradient is the weights, whose product with them is the result.
    (gradient,) = torch.autograd.grad(found.sum(), x["value"])
    torch.testing.assert_close((gradient * x["value"]).sum(), found.sum())
    torch.manual_seed(4)
    other = attention(**x, causal=True, dropout=0.4, scale=1.0)
    assert not torch.equal(found, other)


def test_half_precision_is_summed_in_single():
    x = given_tensors(2, 2, 6, 2, 2, 6, bias=True)
    half: dict = {n: x[n].detach().to(torch.bfloat16) for n in ("query", "key", "value")}
    half |= {"keep": None, "bias": RelativeBias(x["bias"].values.detach().to(torch.bfloat16), 6)}
    found = attention(**half, causal=False, dropout=0.0, scale=1.0)
    assert found.dtype == torch.bfloat16
    exact: dict = {n: half[n].double() for n in ("query", "key", "value")}
    exact["bias"] = RelativeBias(half["bias"].values.double(), 6)
    expected = naive(**exact, keep=None, causal=False, scale=1.0)
    torch.testing.assert_close(found.double(), expected, atol=2e-2, rtol=2e-2)


def test_what_transformers_hands_over():
    """The mask of keys alone; no mask of a decoder's own text; the module says what it is."""
    from transformers.masking_utils import bidirectional_mask_function, causal_mask_function

    mask = torch.tensor([[True, False]])
    given_mask = {"attention_mask": mask}
    assert padding_alone(mask_function=bidirectional_mask_function, **given_mask) is mask
    assert padding_alone(mask_function=causal_mask_function, **given_mask) is None
    x = {n: t for n, t in given_tensors(2, 2, 4, 2, 2, 4).items() if n in ("query", "key", "value")}
    module = SimpleNamespace(is_causal=True)
    found, weights = attention_of_module(module, **x, attention_mask=None)
    expected = naive(**x, keep=None, bias=None, causal=True, scale=3**-0.5)
    assert weights is None
    torch.testing.assert_close(found, expected.transpose(1, 2))
    bias = RelativeBias(torch.arange(14, dtype=torch.double).view(2, 7), 4)
    plain, _ = attention_of_module(module, **x, attention_mask=None, position_bias=bias)
    assert not torch.equal(plain, found)
    module.without_position_bias = True
    same, _ = attention_of_module(module, **x, attention_mask=None, position_bias=bias)
    torch.testing.assert_close(same, found)
