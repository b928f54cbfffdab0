"""Tokens that would repeat an n-gram, against the sentence in the docstring."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from genft_fairseq.functional.ngrams import repeating_token_mask

V = 4


def naive(row, n):
    seen = {tuple(row[i : i + n]) for i in range(len(row) - n + 1)}
    return [(*row[len(row) - n + 1 :], v) in seen for v in range(V)]


@given(st.data(), st.integers(1, 4), st.integers(1, 5), st.integers(0, 12))
def test_equals_the_naive_formula(data, n, B, T):
    rows = data.draw(
        st.lists(st.lists(st.integers(0, V - 1), min_size=T, max_size=T), min_size=B, max_size=B)
    )
    got = repeating_token_mask(torch.tensor(rows).view(B, T), n, V)
    assert got.tolist() == [naive(row, n) for row in rows]


def test_by_hand():
    """After 1 2 3 1 2, a 3 would repeat 1 2 3; before its end, 2 1 stands before 3 and 0."""
    mask = repeating_token_mask(torch.tensor([[1, 2, 3, 1, 2]]), 3, V)
    assert mask.nonzero().tolist() == [[0, 3]]
    mask = repeating_token_mask(torch.tensor([[2, 1, 3, 2, 1, 0, 2, 1]]), 3, V)
    assert mask.nonzero().tolist() == [[0, 0], [0, 3]]


def test_an_ngram_has_a_token():
    with pytest.raises(ValueError, match="n is 0"):
        repeating_token_mask(torch.tensor([[1]]), 0, V)
