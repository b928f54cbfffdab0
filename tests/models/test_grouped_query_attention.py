"""Grouped heads against loops over heads, and a cache as small as they promise."""

import math

import pytest
import torch
from fairseq.modules import MultiheadAttention
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses

from genft_fairseq.models.fid.attention import GroupedQueryAttention, pooled_heads

D, H, K = 16, 4, 12  # width, heads, width of what is read


def attention(kv_heads, cross=True, **keywords):
    torch.manual_seed(3)
    kind = {"encoder_decoder_attention": True, "kdim": K, "vdim": K} if cross else {}
    kind = kind or {"self_attention": True}
    module = GroupedQueryAttention(D, H, kv_heads, **kind, **keywords).double()
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def by_loops(module, query, source, padding=None, mask=None):
    """The definition: head h reads the keys and values of head h // (H / kv_heads)."""
    T, R, _ = query.shape
    S, size = source.size(0), D // H
    q, k, v = module.q_proj(query), module.k_proj(source), module.v_proj(source)
    rows, weights = [], {}
    for r in range(R):
        columns = []
        for h in range(H):
            g = h // (H // module.kv_heads)
            mine = q[:, r, h * size :][:, :size]
            other = k[:, r, g * size :][:, :size]
            scores = torch.stack(
                [torch.stack([(mine[t] * other[s]).sum() for s in range(S)]) for t in range(T)]
            ) / math.sqrt(size)
            if padding is not None:
                scores = scores.masked_fill(padding[r], -math.inf)
            scores = scores if mask is None else scores + mask
            weights[h, r] = scores.softmax(dim=-1)
            columns.append(weights[h, r] @ v[:, r, g * size :][:, :size])
        rows.append(torch.cat(columns, dim=-1))
    weights = torch.stack([torch.stack([weights[h, r] for r in range(R)]) for h in range(H)])
    return module.out_proj(torch.stack(rows, dim=1)), weights


def inputs(R=3, T=4, S=5):
    torch.manual_seed(5)
    query = torch.randn(T, R, D, dtype=torch.double, requires_grad=True)
    source = torch.randn(S, R, K, dtype=torch.double, requires_grad=True)
    padding = torch.arange(S)[None] >= torch.tensor([[5], [2], [3]])[:R]
    return query, source, padding


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_reads_as_the_definition_says(kv_heads):
    module = attention(kv_heads)
    query, source, padding = inputs()
    want, weights = by_loops(module, query, source, padding)
    got, nothing = module(query, source, source, padding, need_weights=False)
    assert nothing is None
    torch.testing.assert_close(got, want)
    leaves = [query, source, *module.parameters()]
    gradient = torch.randn_like(want)
    # (the bias of the keys shifts all scores alike: its gradient is 0 but for rounding)
    for mine, its in zip(
        torch.autograd.grad(got, leaves, gradient, retain_graph=True),
        torch.autograd.grad(want, leaves, gradient, retain_graph=True),
        strict=True,
    ):
        torch.testing.assert_close(mine, its, atol=1e-12, rtol=1e-9)
    if kv_heads == H:  # fairseq's own, which averages them here
        return
    got, of_heads = module(query, source, source, padding, need_head_weights=True)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(of_heads, weights)


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_step_by_step_as_all_at_once(kv_heads):
    module = attention(kv_heads, cross=False)
    query, _, _ = inputs()
    T, R, _ = query.shape
    future = torch.full((T, T), -math.inf, dtype=torch.double).triu(1)
    want, _ = module(query, query, query, attn_mask=future)
    torch.testing.assert_close(want, by_loops(module, query, query, mask=future)[0])
    state: dict = {}
    for t in range(T):
        step = query[t : t + 1]
        got, _ = module(step, step, step, incremental_state=state)
        torch.testing.assert_close(got[0], want[t])
    (held,) = state.values()
    assert held["prev_key"].shape == held["prev_value"].shape == (R, kv_heads, T, D // H)


def test_padding_enters_the_cache_with_its_step():
    module = attention(2, cross=False)
    query, _, _ = inputs(R=2)
    T = len(query)
    padding = torch.tensor([[False, False, True, False], [False] * 4])
    future = torch.full((T, T), -math.inf, dtype=torch.double).triu(1)
    want, _ = by_loops(module, query, query, padding, future)
    state: dict = {}
    for t in range(T):
        step, here = query[t : t + 1], padding[:, t : t + 1]
        got, _ = module(step, step, step, here if here.any() else None, incremental_state=state)
        if t != 2:  # what padding itself reads does not matter
            torch.testing.assert_close(got[0], want[t])


@pytest.mark.parametrize("cross", [True, False])
def test_as_many_heads_are_fairseqs_own(cross):
    module = attention(H, cross)
    kind = {"encoder_decoder_attention": True, "kdim": K, "vdim": K} if cross else {}
    its = MultiheadAttention(D, H, **(kind or {"self_attention": True})).double()
    its.load_state_dict(module.state_dict())
    query, source, padding = inputs()
    source = source if cross else query
    padding = padding if cross else None
    for weights in (False, True):
        got = module(query, source, source, padding, need_weights=weights)
        want = its(query, source, source, padding, need_weights=weights)
        assert torch.equal(got[0], want[0])
        assert (got[1] is None and want[1] is None) or torch.equal(got[1], want[1])


@settings(deadline=None, max_examples=40)
@given(
    kv_heads=st.sampled_from([1, 2, 4]),
    shared=st.integers(1, 3),
    orders=st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=6), max_size=3),
    regular=st.lists(st.lists(st.integers(0, 100), min_size=1, max_size=2), max_size=2),
)
def test_hypotheses_share_the_cache_whatever_order_they_go_on_in(kv_heads, shared, orders, regular):
    """Against a cache with a row of its own for each hypothesis."""
    module = attention(kv_heads).eval()
    _, source, padding = inputs(R=2)
    B, mine, its = 2, {}, {}
    R = B * shared
    copies = torch.arange(B).repeat_interleave(shared)
    # First the orders of a beam, that keep the hypotheses of a question together; then any.
    steps = [
        torch.cat(
            [
                (kept % (R // shared)) * shared + torch.arange(shared)
                for kept in map(torch.tensor, order)
            ]
        )
        for order in regular
    ][: 1 if len(regular) else 0] + [torch.tensor(order) for order in orders]
    for order in [None, *steps]:
        if order is not None:
            order = order % R
            R = len(order)
            module.reorder_incremental_state(mine, order)
            (held,) = its.values()
            for name, tensor in held.items():
                held[name] = None if tensor is None else tensor.index_select(0, order)
            copies = copies[order]
        query = torch.randn(1, R, D, dtype=torch.double)
        wide = (source[:, copies], padding[copies])
        got, _ = module(query, source, source, padding, incremental_state=mine, static_kv=True)
        want, _ = module(query, wide[0], wide[0], wide[1], incremental_state=its, static_kv=True)
        torch.testing.assert_close(got, want)
    (held,) = mine.values()
    if not steps:
        assert len(held["prev_key"]) == B  # not a row for each of R hypotheses


def test_a_finished_question_leaves_the_cache():
    module = attention(1).eval()
    _, source, padding = inputs(R=3)
    state: dict = {}
    query = torch.randn(1, 6, D, dtype=torch.double)
    module(query, source, source, padding, incremental_state=state, static_kv=True)
    (held,) = state.values()
    module.reorder_incremental_state(state, torch.tensor([1, 0, 4, 4]))
    assert held["prev_key"].shape == (2, 1, 5, D // H)
    assert torch.equal(held["prev_key_padding_mask"].bool(), padding[[0, 2]])


def test_conversion_averages_each_group():
    # Heads of two rows, grouped in pairs: the mean of rows 0 and 2, of 1 and 3, and so on.
    projection = torch.tensor([[1.0, 2], [3, 4], [5, 6], [7, 8], [0, 0], [1, 1], [2, 4], [3, 5]])
    want = torch.tensor([[3.0, 4], [5, 6], [1, 2], [2, 3]])
    assert torch.equal(pooled_heads(projection, 4, 2), want)
    assert torch.equal(pooled_heads(projection[:, 0], 4, 2), want[:, 0])
    assert torch.equal(pooled_heads(projection.half(), 4, 2), want.half())
    assert pooled_heads(projection, 8, 2) is projection
    assert pooled_heads(projection, 6, 2) is projection  # no such groups: loading it will fail


def test_the_checkpoint_of_more_heads_is_converted_on_loading():
    many, few = attention(4), attention(2)
    state = {f"decoder.attn.{key}": value for key, value in many.state_dict().items()}
    few.upgrade_state_dict_named(state, "decoder.attn")
    few.load_state_dict({key.removeprefix("decoder.attn."): value for key, value in state.items()})
    size = D // H
    by_head = many.k_proj.weight.view(H, size, K)
    want = torch.cat([(by_head[0] + by_head[1]) / 2, (by_head[2] + by_head[3]) / 2])
    torch.testing.assert_close(few.k_proj.weight, want)
    assert torch.equal(few.q_proj.weight, many.q_proj.weight)


def test_dropout_of_the_weights():
    module = attention(1, dropout=0.5)
    query, source, padding = inputs()
    given = (query, source, source, padding)
    torch.manual_seed(1)
    first = module(*given)[0]
    assert not torch.allclose(first, module(*given)[0])
    torch.manual_seed(1)
    assert torch.equal(first, module(*given)[0])
    module.eval()
    torch.testing.assert_close(module(*given)[0], by_loops(module, query, source, padding)[0])


def test_heads_that_cannot_be_grouped():
    with refuses(4, 3, error=ValueError):
        attention(3)
    with refuses("bias_k", error=ValueError):
        attention(2, add_bias_kv=True)
    query, source, _ = inputs()
    with refuses("before_softmax", error=ValueError):
        attention(2)(query, source, source, before_softmax=True)
