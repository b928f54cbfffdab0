"""Paired bootstrap: large differences are significant, none is not, and noise rarely is."""

import numpy as np
import pytest
from refusals import refuses
from sacrebleu.metrics import BLEU, CHRF

from genft_fairseq.metrics.significance import (
    bleu_p_values,
    mean_interval,
    mean_p_value,
    ratio_interval,
    sacrebleu_interval,
)

REFERENCES = [f"der {animal} läuft heute {n} mal um den See" for n in range(20) for animal in "abc"]


def test_bleu():
    worse = [line.replace("läuft heute", "ging einmal") for line in REFERENCES]
    p_values = bleu_p_values(REFERENCES, {"same": REFERENCES, "worse": worse}, REFERENCES)
    assert p_values["worse"] < 0.01
    assert p_values["same"] > 0.5
    assert bleu_p_values(REFERENCES, {}, REFERENCES) == {}
    with refuses("other", 1, 60):
        bleu_p_values(REFERENCES, {"other": ["x"]}, REFERENCES)


def test_mean():
    random = np.random.default_rng(0)
    values = random.normal(size=50)
    assert mean_p_value(values, values + 0.5 + 0.1 * random.normal(size=50)) == 1 / 1001
    assert mean_p_value(values, values) == 1.0
    assert mean_p_value(values, -values) > 0.05
    with refuses(3, 50):
        mean_p_value(values, [1.0, 2.0, 3.0])
    with refuses():
        mean_p_value([1.0], [2.0])
    with refuses():
        mean_p_value([1.0, 2.0], [float("nan"), 2.0])


def test_a_ratio_counts_texts_by_their_units():
    """Of equal lengths it is the mean's; else a long text draws the ratio towards its own."""
    values = np.random.default_rng(0).normal(size=50)
    low, high = mean_interval(values)
    assert low < values.mean() < high
    assert ratio_interval(values * 7, [7] * 50) == pytest.approx([low, high])
    sums, counts = np.array([1.0, 0.0, 90.0]), np.array([1, 2, 100])
    random, ratios = np.random.default_rng(12345), []
    for _ in range(1000):
        drawn = [int(i) for i in random.integers(3, size=3)]
        ratios.append(sum(sums[i] for i in drawn) / sum(counts[i] for i in drawn))
    assert ratio_interval(sums, counts) == pytest.approx(np.percentile(ratios, [2.5, 97.5]))
    assert ratio_interval([1.0], [2]) is None


def test_the_interval_of_a_corpus_score_holds_it():
    written = [line.replace("See", "Teich") if n % 3 else line for n, line in enumerate(REFERENCES)]
    for metric in (BLEU(), CHRF()):
        low, high = sacrebleu_interval(metric, written, REFERENCES)
        assert low < metric.corpus_score(written, [REFERENCES]).score < high
    assert sacrebleu_interval(BLEU(), written[:1], REFERENCES[:1]) is None


def test_mean_without_a_difference_is_significant_as_often_as_announced():
    random = np.random.default_rng(1)
    pairs = random.normal(size=(400, 2, 40))
    shares = np.mean([mean_p_value(*pair) < 0.05 for pair in pairs])
    assert 0.02 < shares < 0.09
