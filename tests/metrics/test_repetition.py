"""Repetition on texts short enough to count by hand."""

import json

import pytest

from genft_fairseq.metrics.language_modeling import CompletionMetrics
from genft_fairseq.metrics.repetition import Diversity, mean_repetition, repetition


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
    assert mean_repetition(texts, 2) == pytest.approx((1 / 2 + 0) / 2)
    assert mean_repetition([["a"]], 2) is None


def diversity(texts, peer_compatible=False):
    measures = Diversity(peer_compatible)
    for text in texts:
        measures.add(text.split())
    return measures.metrics()


# What simctg/evaluation.py (yxuansu/SimCTG, 3a91449) and metrics.py (bloomberg/MixCE-acl2023,
# 5b41409) compute of these texts; ``clean`` is their definition without a lost n-gram or rounding.
TEXTS = [
    "w7 w31 w38 w23 w3 w18 w32",
    "w33 w38 w6 w39 w0 w11 w28",
    "w19 w5 w18 w34 w30 w30 w3 w29",
    "w1 w2 w3 w1 w2 w3 w1 w2 w3 w1 w2 w3 w1 w2 w3 w1 w2 w3",
]
AUTHORS = {
    "simctg_diversity_from_rounded": 0.18379735824400006,
    "mixce_diversity_per_text": [1.0, 1.0, 0.9615384615384616, 0.18181818181818182],
    "clean_corpus_diversity": 0.20734126984126985,
    "clean_per_text_diversity_mean": 0.7516544117647059,
}


def assert_diversity(texts, authors):
    mixce = authors["mixce_diversity_per_text"]
    want = {
        "diversity_corpus": authors["clean_corpus_diversity"],
        "diversity_per_text": authors["clean_per_text_diversity_mean"],
        "diversity_mixce": sum(mixce) / len(mixce),
    }
    assert diversity(texts) == pytest.approx(want, rel=1e-12)
    theirs = {**want, "diversity_corpus": authors["simctg_diversity_from_rounded"]}
    assert diversity(texts, peer_compatible=True) == pytest.approx(theirs, rel=1e-12)


def test_diversity_of_the_published_code():
    assert_diversity(TEXTS, AUTHORS)


@pytest.mark.realdata
def test_diversity_of_all_recorded_cases(realdata):
    file = realdata.parent / "oracles" / "diversity.json"
    if not file.exists():
        pytest.skip(f"{file} is not there")
    cases = json.loads(file.read_text())["cases"]
    assert cases
    for case in cases:
        assert_diversity(case["texts"], case)


def test_diversity_by_hand():
    """The definitions differ: sums over texts, means over texts, n-grams pooled."""
    found = diversity(["a b a b a", "c d e f", "g g g"])
    assert found["diversity_corpus"] == pytest.approx((6 / 9) * (5 / 6) * (3 / 3))
    assert found["diversity_per_text"] == pytest.approx(((2 / 4) * (2 / 3) * (2 / 2) + 1) / 2)
    # g g g: one word, one bigram twice; its trigram is one word repeated.
    assert found["diversity_mixce"] == pytest.approx((8 / 14 + 10 / 10 + 2 / 5) / 3)


def test_texts_too_short_for_diversity():
    assert diversity([]) == dict.fromkeys(diversity(["a b c d"]))
    assert diversity([""]) == diversity([])
    short = diversity(["a b c", "d"])
    assert short == {"diversity_corpus": None, "diversity_per_text": None, "diversity_mixce": 1.0}
    # The published code loses the last n-gram: four words have no 4-gram there.
    assert diversity(["a b c d"])["diversity_corpus"] == 1
    assert diversity(["a b c d"], peer_compatible=True)["diversity_corpus"] is None


def test_diversity_beside_that_of_dictionary_tokens():
    """Of words as spaces part them, whatever the subwords are; the older key keeps its meaning."""
    metrics = CompletionMetrics()
    for ids, text in (([5, 6, 5, 6, 5], "a,b a,b c. c. d"), ([5, 6, 7, 8, 9], "e f g h")):
        metrics.add(ids, text, [False] * len(ids))
    found = metrics.metrics()
    assert found["diversity"] == pytest.approx((1 - 0.5 / 2) * (1 - (1 / 3) / 2) * 1)
    assert {name: found[name] for name in diversity([])} == diversity(
        ["a,b a,b c. c. d", "e f g h"]
    )
