"""In-batch negatives: against a slow loop, and where a score says nothing."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genft_fairseq.functional.in_batch_negatives import in_batch_negatives_loss


def by_loops(scores, target, ignored):
    losses, correct = [], []
    for b, row in enumerate(scores):
        own = row[target[b]]
        others = [row[p] for p in range(len(row)) if p != target[b] and not bool(ignored[b, p])]
        total = own.exp() + sum((other.exp() for other in others), torch.zeros(()).double())
        losses.append(-(own.exp() / total).log())
        correct.append(all(bool(own > other) for other in others))
    return torch.stack(losses), torch.tensor(correct)


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 10_000))
def test_equals_the_slow_loop_in_value_and_gradient(B, P, seed):
    generator = torch.Generator().manual_seed(seed)
    # Few different scores, so that some are equal.
    scores = torch.randint(-3, 4, (B, P), generator=generator).double().requires_grad_()
    target = torch.randint(P, (B,), generator=generator)
    ignored = torch.rand(B, P, generator=generator) < 0.3
    loss, correct = in_batch_negatives_loss(scores, target, ignored)
    want, want_correct = by_loops(scores, target, ignored)
    torch.testing.assert_close(loss, want)
    assert torch.equal(correct, want_correct)
    weights = torch.linspace(-1, 2, B).double()
    got = torch.autograd.grad((loss * weights).sum(), scores)[0]
    torch.testing.assert_close(got, torch.autograd.grad((want * weights).sum(), scores)[0])


def test_by_hand():
    """Scores ln 1, ln 2 and ln 5: 2 / (1 + 2 + 5), and without the last 2 / (1 + 2)."""
    scores = torch.tensor([[1.0, 2.0, 5.0]] * 2).log()
    ignored = torch.tensor([[False] * 3, [False, False, True]])
    loss, correct = in_batch_negatives_loss(scores, torch.tensor([1, 1]), ignored)
    torch.testing.assert_close(loss, torch.tensor([math.log(4), math.log(1.5)]))
    assert correct.tolist() == [False, True]


def test_the_own_passage_counts_even_if_it_is_marked():
    scores, target = torch.tensor([[1.0, 3.0]]), torch.tensor([0])
    marked = in_batch_negatives_loss(scores, target, torch.tensor([[True, False]]))
    plain = in_batch_negatives_loss(scores, target, torch.tensor([[False, False]]))
    assert torch.equal(marked[0], plain[0])


def test_a_model_that_tells_nothing_apart_is_never_correct():
    _, correct = in_batch_negatives_loss(
        torch.ones(2, 3), torch.tensor([0, 2]), torch.zeros(2, 3, dtype=torch.bool)
    )
    assert correct.tolist() == [False, False]


def test_what_is_ignored_may_be_anything_and_gets_no_gradient():
    scores = torch.tensor([[2.0, 1.0, 1e30]], requires_grad=True)
    ignored = torch.tensor([[False, False, True]])
    loss, correct = in_batch_negatives_loss(scores, torch.tensor([0]), ignored)
    loss.sum().backward()
    assert correct.item()
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))
    assert scores.grad[0, 2] == 0
    assert scores.grad.isfinite().all()


def test_alone_there_is_nothing_to_learn():
    scores = torch.tensor([[3.0]], requires_grad=True)
    loss, correct = in_batch_negatives_loss(scores, torch.tensor([0]), torch.tensor([[False]]))
    loss.sum().backward()
    assert loss.item() == 0 and correct.item() and scores.grad.item() == 0


def test_half_precision_is_computed_in_float32():
    scores = torch.tensor([[300.0, 299.0, 1.0]], dtype=torch.float16)
    loss, _ = in_batch_negatives_loss(
        scores, torch.tensor([0]), torch.zeros(1, 3, dtype=torch.bool)
    )
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-5)


def test_gradcheck():
    scores = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    ignored = torch.zeros(3, 4, dtype=torch.bool)
    ignored[0, 3] = True
    target = torch.tensor([0, 1, 1])
    assert torch.autograd.gradcheck(
        lambda given: in_batch_negatives_loss(given, target, ignored)[0], scores
    )
