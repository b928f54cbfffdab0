"""Expected risk against the sum of its definition."""

import torch

from genft_fairseq.functional.risk import expected_risk, first_of_equal

ALPHA = 0.4


def inputs():
    torch.manual_seed(1)
    lprobs = (-5 * torch.rand(3, 4, dtype=torch.float64)).requires_grad_()
    rewards = torch.rand(3, 4, dtype=torch.float64)
    valid = torch.tensor([[True] * 4, [True, False, True, False], [False, True, False, False]])
    return lprobs, rewards, valid


def test_equals_the_definition():
    lprobs, rewards, valid = inputs()
    risk, q = expected_risk(lprobs, rewards, valid, ALPHA)
    for b in range(3):
        rows = [k for k in range(4) if valid[b, k]]
        weights = torch.stack([(ALPHA * lprobs[b, k]).exp() for k in rows])
        want = sum(
            weight / weights.sum() * (1 - rewards[b, k])
            for weight, k in zip(weights, rows, strict=True)
        )
        torch.testing.assert_close(risk[b], want)
    torch.testing.assert_close(q.sum(dim=1), torch.ones(3, dtype=torch.float64))
    assert (q[~valid] == 0).all()
    assert risk[2] == 1 - rewards[2, 1]  # of a single candidate nothing is uncertain
    assert torch.autograd.gradcheck(lambda x: expected_risk(x, rewards, valid, ALPHA), (lprobs,))


def test_by_hand():
    """Two candidates of equal probability: half of each cost, (1 - 1) and (1 - 0.5)."""
    risk, q = expected_risk(
        torch.tensor([[-3.0, -3.0]]),
        torch.tensor([[1.0, 0.5]]),
        torch.tensor([[True, True]]),
        0.005,
    )
    assert q.tolist() == [[0.5, 0.5]]
    assert risk.tolist() == [0.25]


def test_better_candidates_become_more_probable():
    lprobs, rewards, valid = inputs()
    expected_risk(lprobs, rewards, valid, ALPHA)[0].sum().backward()
    best = rewards[0].argmax()
    assert lprobs.grad[0, best] < 0  # less risk the more probable it is
    assert (lprobs.grad[~valid] == 0).all()


def test_the_sum_not_the_mean_of_log_p_matters():
    """Sums of hundreds of nats still tell candidates apart, without under- or overflow."""
    lprobs = torch.tensor([[-900.0, -100.0]], requires_grad=True)
    risk, q = expected_risk(lprobs, torch.tensor([[0.0, 1.0]]), torch.ones(1, 2).bool(), 1.0)
    assert q[0, 1] == 1 and risk[0] == 0
    risk.sum().backward()
    assert lprobs.grad.isfinite().all()


def test_a_source_without_candidates_costs_nothing():
    lprobs = torch.zeros(1, 2, requires_grad=True)
    risk, q = expected_risk(lprobs, torch.ones(1, 2), torch.zeros(1, 2).bool(), 1.0)
    risk.sum().backward()
    assert risk.tolist() == [0] and q.tolist() == [[0, 0]]
    assert lprobs.grad.tolist() == [[0, 0]]


def test_first_of_equal():
    texts = torch.tensor([[[5, 6], [5, 7], [5, 6], [5, 7], [1, 1]]])
    assert first_of_equal(texts).tolist() == [[True, True, False, False, True]]
