"""Forbidden tokens, against the sentence in the docstring."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from genft_fairseq.functional.forbidden_tokens import forbid_tokens

V = 4
SCORE = st.one_of(st.floats(-9, 9, width=32), st.just(-math.inf))


def naive(row, forbidden):
    left = [-math.inf if f else s for s, f in zip(row, forbidden, strict=True)]
    return left if any(s > -math.inf for s in left) else row


@given(st.data(), st.integers(0, 4))
def test_equals_the_naive_formula(data, B):
    rows = data.draw(st.lists(st.lists(SCORE, min_size=V, max_size=V), min_size=B, max_size=B))
    masks = data.draw(
        st.lists(st.lists(st.booleans(), min_size=V, max_size=V), min_size=B, max_size=B)
    )
    scores, mask = torch.tensor(rows).view(B, V), torch.tensor(masks, dtype=torch.bool).view(B, V)
    got = forbid_tokens(scores, mask)
    assert got.tolist() == [naive(*pair) for pair in zip(rows, masks, strict=True)]
    assert scores.tolist() == rows  # not in place


def test_a_mask_is_expanded():
    """One token for all hypotheses, or all but one for some of them; (2, 2, 3)."""
    scores = torch.zeros(2, 2, 3)
    scores[1, 0, 1:] = -math.inf
    end = torch.tensor([True, False, False])
    assert forbid_tokens(scores, end)[..., 0].tolist() == [[-math.inf, -math.inf], [0, -math.inf]]
    full = torch.tensor([True, False])
    got = forbid_tokens(scores, full[:, None, None] & ~end)
    assert got[0].tolist() == [[0, -math.inf, -math.inf]] * 2
    assert torch.equal(got[1], scores[1])
