"""Changes to fairseq's data sets and batches, each on its own."""

import sys

import numpy as np
import pytest
from fairseq.data import (
    bucket_pad_length_dataset,
    data_utils,
    language_pair_dataset,
    token_block_dataset,
)

from genft_fairseq.patches.registry import ModuleView


@pytest.mark.parametrize("module", [token_block_dataset, language_pair_dataset])
def test_numpy_compat_is_back_in_two_modules(module):
    assert module.np.compat.long(7) == 7
    assert module.np.compat.long is np.int64
    assert module.np.array is np.array


def test_numpy_itself_is_untouched():
    assert np is sys.modules["numpy"]
    assert not isinstance(np, ModuleView)
    assert not hasattr(np, "compat")
    assert data_utils.np is np


def test_buckets_worked_by_hand():
    # Ten sizes, four buckets: percentiles 25, 50, 75, 100 of nine gaps, rounded down to an element:
    # places 2.25, 4.5, 6.75 and 9 -> the elements at 2, 4, 6 and 9.
    sizes = np.array([30, 1, 9, 2, 8, 3, 7, 4, 6, 5])  # sorted: 1 .. 9, 30
    assert data_utils.get_buckets(sizes, 4).tolist() == [3, 5, 7, 30]
    # Buckets that coincide are one.
    assert data_utils.get_buckets(np.array([4, 4, 4, 9]), 3).tolist() == [4, 9]
    assert bucket_pad_length_dataset.get_buckets is data_utils.get_buckets


SIZES = np.array([3, 5, 7, 9, 9, 9, 2, 3, 4, 5, 6])


def batches(indices, **settings):
    settings = {"max_sentences": 8, "required_batch_size_multiple": 8, **settings}
    found = data_utils.batch_by_size(indices, num_tokens_fn=lambda i: int(SIZES[i]), **settings)
    return [[int(i) for i in batch] for batch in found]


AS_GIVEN = [np.arange(11), list(range(11)), range(11)]


@pytest.mark.parametrize("indices", AS_GIVEN, ids=["array", "list", "range"])
@pytest.mark.parametrize("vector", [None, SIZES], ids=["function", "vector"])
def test_the_last_batch_is_kept(indices, vector):
    """11 sentences in batches of 8: the last 3 count too, in their order."""
    want = [[*range(8)], [8, 9, 10]]
    assert batches(indices, num_tokens_vec=vector) == want


def test_the_last_batch_of_a_generator_is_kept():
    assert batches(i for i in range(11)) == [[*range(8)], [8, 9, 10]]


def test_the_order_of_indices_is_kept():
    order = np.argsort(SIZES, kind="stable")
    found = batches(order, max_tokens=40, max_sentences=None)
    assert [i for batch in found for i in batch] == order.tolist()
    assert len(found) > 1


def test_nothing_is_kept_twice():
    assert batches(range(8)) == [[*range(8)]]
    assert batches(range(11), required_batch_size_multiple=1, max_sentences=4) == [
        *([0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10])
    ]
    # Fewer sentences than the multiple: fairseq drops them all.
    assert batches(range(3)) == [[0, 1, 2]]


@pytest.mark.parametrize("nothing", [np.array([], dtype=np.int64), [], iter(())])
def test_no_indices_give_no_batches(nothing):
    assert batches(nothing) == []


def test_fixed_shapes_are_fairseqs_own():
    """They fill shapes out of order and drop nothing."""
    shapes = [(2, 4), (4, 5), (2, 10)]
    found = batches(np.argsort(SIZES, kind="stable"), fixed_shapes=shapes)
    assert sorted(i for batch in found for i in batch) == list(range(11))
    for batch in found:
        assert any(len(batch) <= rows and max(SIZES[batch]) <= length for rows, length in shapes)
