"""Figures of gold prefixes, against the loops of their definitions."""

import json
import math
import statistics

import pytest
import torch
from refusals import refuses

from genft_fairseq.metrics.language_modeling import LENGTHS, TokenMetrics
from genft_fairseq.metrics.significance import ratio_interval

PAD, V = 1, 40
B, T = 4, 150


@pytest.fixture(scope="module")
def batch():
    """Scores that like what was said before, and gold that says things again; padded rows."""
    generator = torch.Generator().manual_seed(5)
    target = torch.randint(2, V, (B, T), generator=generator)
    target[:, 40:] = target[:, 10 : T - 30]  # said 30 steps ago
    scores = torch.randn(B, T, V, generator=generator)
    scores.scatter_add_(2, target[..., None], torch.rand(B, T, 1, generator=generator) * 3)
    target[1, 100:] = PAD
    target[3, 1:] = PAD
    return scores, target


def by_loops(scores, target):
    """The figures, token by token."""
    nll, ranks, medians, predicted, gold = 0.0, [], [], set(), set()
    counts = {f"{name}_{n}": 0 for n in LENGTHS for name in ("rep", "wrep", "human_rep")}
    for row, text in zip(scores.double(), target.tolist(), strict=True):
        of_row = []
        for t, token in enumerate(text):
            if token == PAD:
                continue
            lprobs = row[t].log_softmax(-1)
            best = int(lprobs.argmax())
            nll -= float(lprobs[token])
            of_row.append(1 + int((lprobs > lprobs[token]).sum()))
            predicted.add(best)
            gold.add(token)
            for n in LENGTHS:
                before = text[max(0, t - n) : t]
                counts[f"rep_{n}"] += best in before
                counts[f"wrep_{n}"] += best in before and best != token
                counts[f"human_rep_{n}"] += token in before
        ranks += of_row
        medians.append(statistics.median_low(of_row))
    metrics = {
        "perplexity": math.exp(nll / len(ranks)),
        "nll": nll / len(ranks),
        "unknown": sum(row.count(3) for row in target.tolist()),
        "accuracy": ranks.count(1) / len(ranks),
        "mean_rank": statistics.mean(ranks),
        "median_rank": statistics.median_low(ranks),
        **{name: count / len(ranks) for name, count in counts.items()},
        **{"uniq": len(predicted), "human_uniq": len(gold), "tokens": len(ranks)},
    }
    return metrics, medians


def without_intervals(metrics):
    return {name: value for name, value in metrics.items() if not name.endswith("_interval")}


def test_equal_the_loops(batch):
    scores, target = batch
    want, medians = by_loops(scores, target)
    sums = TokenMetrics(V, PAD, unknown_idx=3)
    assert sums.add(scores, target) == want["tokens"] == 401
    assert without_intervals(sums.metrics()) == pytest.approx(want, rel=1e-6)
    assert 0 < want["rep_16"] < want["rep_32"] < want["rep_128"]  # the case has something to count
    theirs = sums.metrics(peer_compatible=True)
    assert theirs["mean_rank"] == pytest.approx(want["mean_rank"] - 1)
    assert theirs["median_rank"] == pytest.approx(statistics.mean(medians) - 1)
    assert theirs["median_rank"] != want["median_rank"] - 1
    changed = {name for name in want if theirs[name] != pytest.approx(want[name], rel=1e-6)}
    assert changed == {"mean_rank", "median_rank"}


def test_intervals_are_a_bootstrap_over_rows(batch):
    """Rows count by their tokens: 150, 100, 150 and one."""
    scores, target = batch
    sums = TokenMetrics(V, PAD)
    sums.add(scores, target)
    rows = [by_loops(scores[[i]], target[[i]])[0] for i in range(B)]
    tokens = [row["tokens"] for row in rows]
    losses, right = (
        [row[name] * n for row, n in zip(rows, tokens, strict=True)] for name in ("nll", "accuracy")
    )
    metrics = sums.metrics()
    bounds = [math.exp(bound) for bound in ratio_interval(losses, tokens)]
    assert metrics["perplexity_interval"] == pytest.approx(bounds, rel=1e-6)
    assert metrics["accuracy_interval"] == pytest.approx(ratio_interval(right, tokens))
    low, high = metrics["perplexity_interval"]
    assert low < metrics["perplexity"] < high
    one = TokenMetrics(V, PAD)
    one.add(scores[:1], target[:1])
    assert one.metrics()["perplexity_interval"] is one.metrics()["accuracy_interval"] is None


def test_batches_do_not_matter(batch, monkeypatch):
    scores, target = batch
    whole, parts = TokenMetrics(V, PAD), TokenMetrics(V, PAD)
    whole.add(scores, target)
    # Other block sizes, too: 7 rows of logits at a time.
    monkeypatch.setattr("genft_fairseq.metrics.language_modeling._BLOCK_ELEMENTS", 7 * V)
    for part in ([0], [1, 2], [3]):
        parts.add(scores[part], target[part])
    one, other = parts.metrics(), whole.metrics()
    assert without_intervals(one) == pytest.approx(without_intervals(other), rel=1e-6)
    for name in one.keys() - without_intervals(one).keys():
        assert one[name] == pytest.approx(other[name], rel=1e-6)


def test_half_precision_is_raised(batch):
    scores, target = batch
    half, single = TokenMetrics(V, PAD), TokenMetrics(V, PAD)
    half.add(scores.bfloat16(), target)
    single.add(scores.bfloat16().float(), target)
    assert half.metrics() == single.metrics()


def test_what_is_no_number_or_beyond(batch):
    scores, target = batch
    sums = TokenMetrics(V, PAD)
    with refuses():
        sums.add(torch.where(torch.arange(V) == 7, torch.nan, scores), target)
    impossible = TokenMetrics(V, PAD)
    impossible.add(scores.clone().scatter_(2, target[..., None], -1e4), target)
    metrics = impossible.metrics()
    assert metrics["perplexity"] is None and metrics["nll"] > 9_000
    json.dumps(metrics, allow_nan=False)
