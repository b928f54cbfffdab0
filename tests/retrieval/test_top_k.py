"""The best of many scores, ties and all."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genft_fairseq.retrieval.dense import best_first, top_k


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 30), st.integers(1, 35), st.integers(1, 5), st.integers(0))
def test_equals_a_stable_sort(Q, P, k, different, seed):
    """With so few different scores, ties lie across every place, the last one too."""
    generator = torch.Generator().manual_seed(seed % 2**31)
    scores = torch.randint(different, (Q, P), generator=generator).float()
    values, columns = scores.sort(dim=1, descending=True, stable=True)
    got_values, got_columns = top_k(scores, k)
    assert torch.equal(got_values, values[:, :k])
    assert torch.equal(got_columns, columns[:, :k])


def test_equal_values_are_ordered_by_number():
    values, numbers = best_first(torch.tensor([[1.0, 3.0, 1.0, 3.0]]), torch.tensor([[9, 8, 2, 4]]))
    assert values.tolist() == [[3, 3, 1, 1]] and numbers.tolist() == [[4, 8, 2, 9]]
