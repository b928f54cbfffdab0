"""The first token's own share of the loss, inside real fairseq models."""

import pytest
import reference
import torch
from criterions.tiny_fairseq import (
    KINDS,
    PAD,
    assert_same,
    gradients,
    reference_loss,
    tiny_criterion,
    tiny_model,
    tiny_sample,
    tiny_task,
)


def expected(logits, sample, weight, prefix, sentence_avg, **knobs):
    """``(1 - w) * token loss + w * ratio * first-token nll``, summed."""
    target = sample["target"]
    ntokens, nsentences = int(target.ne(PAD).sum()), len(target)
    ratio = 1.0 if sentence_avg else ntokens / nsentences
    nll = reference.nll(logits, target, PAD)[:, prefix:]
    first = reference.first_token(nll, target[:, prefix:], PAD)
    token_loss = reference_loss(logits, target, prefix=prefix, **knobs)
    return (1 - weight) * token_loss.sum() + weight * ratio * first.sum(), first


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sentence_avg", [False, True])
@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("composed", [False, True], ids=["alone", "composed"])
def test_equals_the_formula(kind, sentence_avg, prefix, weight, composed):
    """The first token is the first scored one, and its loss neither smoothed nor rescaled."""
    task = tiny_task(kind)
    model, sample = tiny_model(task), tiny_sample(task)
    knobs = {"label_smoothing": 0.1, "gamma": 0.2} if composed else {}
    alpha = 0.7 if composed else 0.0
    criterion = tiny_criterion(
        *("first_token_auxiliary", task, sentence_avg),
        first_token_weight=weight,
        ignore_prefix_size=prefix,
        unlikelihood_alpha=alpha,
        **knobs,
    )
    loss, sample_size, log = criterion(model, sample)
    logits = model(**sample["net_input"])[0]
    want, first = expected(logits, sample, weight, prefix, sentence_avg, alpha=alpha, **knobs)
    assert_same(loss, want)
    assert sample_size == (len(sample["target"]) if sentence_avg else sample["ntokens"])
    assert_same(gradients(loss, model), gradients(want, model))
    assert_same(log["first_token_nll"], first.sum())
    # One row holds a single token, which is nothing once a prefix of one is ignored.
    assert log["first_tokens"] == 4 - prefix


@pytest.mark.parametrize("sentence_avg", [False, True])
def test_the_trained_loss_is_a_mean_over_sentences(sentence_avg):
    """What fairseq makes of it, loss / sample_size, at weight 1: F of METHODS itself."""
    task = tiny_task("translation")
    model, sample = tiny_model(task), tiny_sample(task)
    criterion = tiny_criterion("first_token_auxiliary", task, sentence_avg, first_token_weight=1.0)
    loss, sample_size, _ = criterion(model, sample)
    nll = reference.nll(model(**sample["net_input"])[0], sample["target"], PAD)
    assert_same(loss / sample_size, nll[:, 0].mean())


def test_without_reduction_the_positions_sum_to_the_loss():
    """And only the first position of every row differs from the token loss."""
    task = tiny_task("translation")
    model, sample = tiny_model(task), tiny_sample(task)
    criterion = tiny_criterion("first_token_auxiliary", task, first_token_weight=0.3)
    loss, _, _ = criterion(model, sample)
    positions, _, _ = criterion(model, sample, reduce=False)
    assert_same(positions.sum(), loss)
    nll = reference.nll(model(**sample["net_input"])[0], sample["target"], PAD)
    positions = positions.view_as(nll)
    assert_same(positions[:, 1:], 0.7 * nll[:, 1:])
    ratio = sample["ntokens"] / len(nll)
    assert_same(positions[:, 0], (0.7 + 0.3 * ratio) * nll[:, 0])


SHORT, LONG = [[5, 5, 2], [6, 7, 2]], [[8, 9, 8, 9, 2], [4, 4, 4, 4, 2]]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("halves", [(SHORT, LONG), (SHORT[:1] + LONG[:1], SHORT[1:] + LONG[1:])])
def test_splitting_a_batch(name, halves):
    """The ratio is each micro-batch's own: only equal ratios add up to the whole batch."""
    task = tiny_task(name)
    model = tiny_model(task)
    criterion = tiny_criterion("first_token_auxiliary", task, first_token_weight=0.3)
    whole, _, whole_log = criterion(model, tiny_sample(task, halves[0] + halves[1]))
    parts = [criterion(model, tiny_sample(task, half)) for half in halves]
    total = sum(loss for loss, _, _ in parts)
    firsts = [log["first_token_nll"] for _, _, log in parts]
    assert_same(sum(firsts), whole_log["first_token_nll"])
    ratios = [log["ntokens"] / log["nsentences"] for _, _, log in parts]
    if ratios[0] == ratios[1]:
        assert_same(total, whole)
    else:
        mean = whole_log["ntokens"] / whole_log["nsentences"]
        difference = sum(0.3 * (r - mean) * first for r, first in zip(ratios, firsts, strict=True))
        assert abs(float(difference)) > 1e-3  # they do differ
        assert_same(total - whole, difference)


def test_padding_rows_have_no_first_token():
    task = tiny_task("language")
    model, sample = tiny_model(task), tiny_sample(task)
    sample["target"][1] = PAD
    criterion = tiny_criterion("first_token_auxiliary", task)
    _, _, log = criterion(model, sample)
    assert log["first_tokens"] == 3
    nll = reference.nll(model(**sample["net_input"])[0], sample["target"], PAD)
    assert_same(log["first_token_nll"], torch.stack([nll[0, 0], nll[2, 0], nll[3, 0]]).sum())


def test_padding_on_the_left_is_skipped():
    """The first token is the first that is no padding, in every row."""
    task = tiny_task("language")
    model, sample = tiny_model(task), tiny_sample(task)
    for tokens in (sample["target"], sample["net_input"]["src_tokens"]):
        for row in tokens:
            row.copy_(row.roll(int(row.eq(PAD).sum())))
    assert sample["target"][:3, 0].eq(PAD).all()
    knobs = {"gamma": 0.2, "label_smoothing": 0.1}
    criterion = tiny_criterion(
        *("first_token_auxiliary", task),
        **{"first_token_weight": 0.3, "unlikelihood_alpha": 0.7, **knobs},
    )
    loss, _, log = criterion(model, sample)
    logits = model(**sample["net_input"])[0]
    want, first = expected(logits, sample, 0.3, 0, False, alpha=0.7, **knobs)
    assert_same(loss, want)
    assert_same(log["first_token_nll"], first.sum())
