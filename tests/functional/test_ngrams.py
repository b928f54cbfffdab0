"""Tokens that would repeat an n-gram, against the sentence in the docstring."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses

from genft_fairseq.functional.ngrams import (
    forbid_repeated_ngrams_,
    forbid_tokens,
    forbid_tokens_,
    ngram_completions,
    ngram_repetition,
    repeated_ngram_mask,
)

V = 4


def naive(row, n):
    seen = {tuple(row[i : i + n]) for i in range(len(row) - n + 1)}
    return {v for v in range(V) if (*row[len(row) - n + 1 :], v) in seen}


def repeating(rows, n):
    found = zip(*ngram_completions(rows, n), strict=True)
    return [set(ends[repeats].tolist()) for ends, repeats in found]


@given(st.data(), st.integers(1, 4), st.integers(1, 5), st.integers(0, 12))
def test_equals_the_naive_formula(data, n, B, T):
    rows = data.draw(
        st.lists(st.lists(st.integers(0, V - 1), min_size=T, max_size=T), min_size=B, max_size=B)
    )
    assert repeating(torch.tensor(rows).view(B, T), n) == [naive(row, n) for row in rows]


def test_by_hand():
    """After 1 2 3 1 2, a 3 would repeat 1 2 3; before its end, 2 1 stands before 3 and 0."""
    assert repeating(torch.tensor([[1, 2, 3, 1, 2]]), 3) == [{3}]
    assert repeating(torch.tensor([[2, 1, 3, 2, 1, 0, 2, 1]]), 3) == [{0, 3}]


def test_an_ngram_has_a_token():
    with refuses("n", 0, error=ValueError):
        ngram_completions(torch.tensor([[1]]), 0)


SCORE = st.one_of(st.floats(-9, 9, width=32), st.just(-math.inf))


def naively_forbidden(row, forbidden):
    left = [-math.inf if f else s for s, f in zip(row, forbidden, strict=True)]
    return left if any(s > -math.inf for s in left) else row


@given(st.data(), st.integers(0, 4))
def test_forbidden_tokens_equal_the_naive_formula(data, B):
    rows = data.draw(st.lists(st.lists(SCORE, min_size=V, max_size=V), min_size=B, max_size=B))
    masks = data.draw(
        st.lists(st.lists(st.booleans(), min_size=V, max_size=V), min_size=B, max_size=B)
    )
    scores, mask = torch.tensor(rows).view(B, V), torch.tensor(masks, dtype=torch.bool).view(B, V)
    got = forbid_tokens(scores, mask)
    assert got.tolist() == [naively_forbidden(*pair) for pair in zip(rows, masks, strict=True)]
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


@settings(deadline=None)
@given(st.data(), st.integers(0, 4), st.integers(0, 6))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_ids_forbid_as_a_mask_does(dtype, data, B, M):
    rows = data.draw(st.lists(st.lists(SCORE, min_size=V, max_size=V), min_size=B, max_size=B))
    given = st.lists(st.integers(0, V - 1), min_size=M, max_size=M)
    ids = torch.tensor(data.draw(st.lists(given, min_size=B, max_size=B))).view(B, M).long()
    given = st.lists(st.booleans(), min_size=M, max_size=M)
    forbidden = torch.tensor(data.draw(st.lists(given, min_size=B, max_size=B))).view(B, M).bool()
    scores = torch.tensor(rows).view(B, V).to(dtype)
    mask = torch.zeros(B, V, dtype=torch.int).scatter_add_(1, ids, forbidden.int()) > 0
    want = forbid_tokens(scores, mask)
    got = forbid_tokens_(scores, ids, forbidden)
    assert got is scores and torch.equal(got, want)


def test_forbidding_by_hand():
    """After 0 1 2 3 0 a second 0 1 is forbidden; 0 0 1 1 0 may neither repeat 0 0 nor 0 1."""
    tokens = torch.tensor([[0, 1, 2, 3, 0], [0, 0, 1, 1, 0]])
    nothing = -torch.inf
    scores = torch.arange(8.0).view(2, 4)
    assert forbid_repeated_ngrams_(scores.clone(), tokens, 0).tolist() == scores.tolist()
    got = forbid_repeated_ngrams_(scores.clone(), tokens, 2)
    assert got.tolist() == [[0, nothing, 2, 3], [nothing, nothing, 6, 7]]
    # Where every token has been used, none is forbidden; the other row has one left.
    tokens = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 2]])
    got = forbid_repeated_ngrams_(scores.clone(), tokens, 1)
    assert got.tolist() == [[0, 1, 2, 3], [nothing, nothing, nothing, 7]]


def naive_mask(row, n):
    """Places inside an n-gram that occurred before; padding (0 here) ends a row."""
    text = row[: row.index(0)] if 0 in row else row
    seen, inside = set(), set()
    for i in range(len(text) - n + 1):
        ngram = tuple(text[i : i + n])
        if ngram in seen:
            inside.update(range(i, i + n))
        seen.add(ngram)
    share = 1 - len(seen) / (len(text) - n + 1) if len(text) >= n else 0.0
    return [place in inside for place in range(len(row))], share


@given(st.data(), st.integers(1, 4), st.integers(1, 5), st.integers(0, 14))
def test_repeats_equal_the_naive_loop(data, n, B, T):
    rows = []
    for _ in range(B):
        length = data.draw(st.integers(0, T))
        text = data.draw(st.lists(st.integers(1, 3), min_size=length, max_size=length))
        rows.append(text + [0] * (T - length))
    tokens = torch.tensor(rows).view(B, T)
    want = [naive_mask(row, n) for row in rows]
    assert repeated_ngram_mask(tokens, n, 0).tolist() == [mask for mask, _ in want]
    assert ngram_repetition(tokens, n, 0).tolist() == pytest.approx([share for _, share in want])


def test_the_last_ngram_counts():
    """Which the authors' loop leaves out: 5 6 5 6 ends with the repeated 5 6."""
    mask = repeated_ngram_mask(torch.tensor([[5, 6, 5, 6, 1]]), 2, padding_idx=1)
    assert mask.tolist() == [[False, False, True, True, False]]


@pytest.mark.parametrize("function", [repeated_ngram_mask, ngram_repetition])
def test_a_repeated_ngram_has_a_token(function):
    with refuses("n", 0, error=ValueError):
        function(torch.tensor([[1]]), 0, 1)
