"""Repetition on texts short enough to count by hand."""

import pytest

from genft_fairseq.evaluation.repetition import mean_repetition, repetition


@pytest.mark.parametrize(
    ("text", "n", "expected"),
    [
        ("a b c d", 1, 0.0),
        ("a a a a", 1, 3 / 4),
        ("a b a b", 2, 1 / 3),  # ab, ba, ab
        ("a b a b a b", 4, 1 / 3),  # abab, baba, abab: the last n-gram counts
        ("a a", 2, 0.0),  # a single n-gram repeats nothing
        ("a", 2, None),
        ("", 1, None),
    ],
)
def test_repetition(text, n, expected):
    assert repetition(text.split(), n) == pytest.approx(expected)


def test_mean_leaves_out_what_is_too_short():
    texts = ["a a a".split(), "a b c".split(), "a".split()]
    figure = mean_repetition(texts, 2)
    assert figure.mean == pytest.approx((1 / 2 + 0) / 2)
    assert figure.too_short == 1
    assert mean_repetition([["a"]], 2).mean is None
