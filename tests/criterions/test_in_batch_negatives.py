"""The criterion of retrieval: sums in nats, what it logs, and tasks that it is not for."""

import math
from types import SimpleNamespace

import pytest
import torch
from fairseq.logging import metrics
from refusals import refuses

from genft_fairseq.criterions.in_batch_negatives import (
    InBatchNegativesCriterion,
    InBatchNegativesCriterionConfig,
)

TASK = SimpleNamespace(ranks_passages=True)
# Odds 1 : 3 and 1 : 1 : 2, the third passage left out for the first question.
SCORES = torch.tensor([[1.0, 3.0, 9.0], [1.0, 1.0, 2.0]], dtype=torch.float64).log()
SAMPLE = {
    "ntokens": 40,
    "nsentences": 2,
    "net_input": {"question_tokens": None, "passage_tokens": None},
    "target": torch.tensor([1, 0]),
    "ignored": torch.tensor([[False, False, True], [False, False, False]]),
}


def criterion():
    return InBatchNegativesCriterion(InBatchNegativesCriterionConfig(), TASK)


def model(question_tokens, passage_tokens):
    return SCORES


def test_by_hand():
    """-ln(3 / 4) - ln(1 / 4) = ln(16 / 3), of two questions."""
    loss, sample_size, log = criterion()(model, SAMPLE)
    assert loss.item() == pytest.approx(math.log(16 / 3))
    assert sample_size == 2
    assert {key: float(value) for key, value in log.items()} == pytest.approx(
        {
            **{"loss": math.log(16 / 3), "ntokens": 40, "nsentences": 2, "sample_size": 2},
            **{"correct": 1, "choices": 5},
        }
    )
    single, _, _ = criterion()(model, SAMPLE, reduce=False)
    torch.testing.assert_close(single, torch.tensor([4 / 3, 4]).double().log())


def test_figures_are_means_over_all_questions():
    """Of updates of different sizes, in bits: (ln(16 / 3) + ln 2) / 3 questions / ln 2."""
    other = {"loss": math.log(2), "ntokens": 9, "nsentences": 1, "sample_size": 1}
    logs = [criterion()(model, SAMPLE)[2], {**other, "correct": 1, "choices": 4}]
    with metrics.aggregate(new_root=True) as found:
        InBatchNegativesCriterion.reduce_metrics(logs)
    values = found.get_smoothed_values()
    assert values["loss"] == pytest.approx(math.log2(32 / 3) / 3, abs=1e-3)
    assert values["accuracy"] == pytest.approx(2 / 3, abs=1e-4)
    assert values["passages"] == 3
    assert InBatchNegativesCriterion.logging_outputs_can_be_summed()


def test_another_task_is_refused():
    with refuses("--task retrieval", "SimpleNamespace"):
        InBatchNegativesCriterion(InBatchNegativesCriterionConfig(), SimpleNamespace())
