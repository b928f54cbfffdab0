"""The loss is divided by the targets that are scored, whatever the task counts as tokens."""

import math

import pytest
import torch
from criterions.tiny_fairseq import (
    KINDS,
    PAD,
    assert_same,
    gradients,
    tiny_criterion,
    tiny_model,
    tiny_sample,
    tiny_task,
)
from fairseq.logging import metrics

CRITERIONS = {
    "scalegrad": {},
    "unlikelihood": {},
    "first_token_auxiliary": {},
    "generative_rollout": {"rollout_rate": 1.0},
    "sequence_unlikelihood": {
        "sequence_rate": 1.0,
        "sequence_prefix_length": 2,
        "sequence_completion_length": 4,
    },
    "minimum_risk": {"risk_max_len_a": 0.0, "risk_max_len_b": 4},
}
CASES = [
    (kind, name)
    for kind in KINDS
    for name in CRITERIONS
    if (kind, name) != (KINDS[1], "minimum_risk")
]


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("training", [True, False], ids=["training", "validation"])
def test_what_the_batch_counts_changes_nothing(kind, name, training):
    """Every second target is masked out; the batch counts all tokens, or those of a source."""
    torch.manual_seed(4)
    task = tiny_task(kind)
    model, criterion = tiny_model(task), tiny_criterion(name, task, **CRITERIONS[name])
    criterion.train(training)
    sample = tiny_sample(task)
    sample["target"][:, 1::2] = PAD
    number = int(sample["target"].ne(PAD).sum())
    want = None
    for ntokens in (number, 1000):
        sample["ntokens"] = ntokens
        torch.manual_seed(1)
        loss, sample_size, logged = criterion(model, sample)
        found = [loss, sample_size, logged, gradients(loss, model)]
        if want is not None:
            assert_same(found[0], want[0])
            assert int(found[1]) == int(want[1])
            assert_same(found[2], want[2])
            assert_same(found[3], want[3])
        want = found
    assert want[2]["ntokens"] == number


@pytest.mark.parametrize("kind", KINDS)
def test_the_perplexity_is_that_of_the_scored_targets(kind):
    task = tiny_task(kind)
    model, criterion = tiny_model(task), tiny_criterion("scalegrad", task, gamma=1.0)
    sample = {**tiny_sample(task), "ntokens": 1000}
    sample["target"][:, 1::2] = PAD
    nll = criterion(model, sample, reduce=False)[0].sum()
    with metrics.aggregate(new_root=True) as figures:
        criterion.reduce_metrics([criterion(model, sample)[2]])
    shown = figures.get_smoothed_values()
    mean = float(nll / sample["target"].ne(PAD).sum())
    assert shown["nll_loss"] == pytest.approx(mean / math.log(2), abs=6e-4)
    assert shown["ppl"] == pytest.approx(math.exp(mean), rel=1e-3)
