"""The formulas of docs/mathematics.md, written out as they stand there, against the code.

Everything on the left of a comparison is the page's, with its letters; gradients on the right are
autograd's, through the code.  One sentence, float64.
"""

import math

import pytest
import torch
from torch import Tensor

from genft_fairseq.experiments.results import half_width
from genft_fairseq.functional.in_batch_negatives import in_batch_negatives_loss
from genft_fairseq.functional.linear_loss import Projection, linear_loss
from genft_fairseq.functional.ngrams import repeated_ngram_mask, repeated_ngram_starts
from genft_fairseq.functional.risk import expected_risk
from genft_fairseq.functional.scalegrad import scalegrad_loss
from genft_fairseq.functional.selective_log_softmax import selective_log_softmax
from genft_fairseq.functional.token_loss import Targets, TokenLoss
from genft_fairseq.functional.token_mixing import GoldSchedule
from genft_fairseq.functional.unlikelihood import repeated_token_loss, unlikelihood_loss
from genft_fairseq.metrics.repetition import repetition

V, PAD = 9, 0
Y = [5, 6, 5, 7, 6, 6, 8]
T = len(Y)
TARGET = torch.tensor([Y])


@pytest.fixture
def z() -> Tensor:
    torch.manual_seed(1)
    return (2 * torch.randn(1, T, V, dtype=torch.float64)).requires_grad_()


def probabilities(z: Tensor) -> list[list[float]]:
    return torch.softmax(z.detach()[0], dim=-1).tolist()


def by_code(total: Tensor, z: Tensor) -> Tensor:
    return torch.autograd.grad(total, z)[0][0]


def table(entry) -> Tensor:
    """(T, V) of a function of position and token."""
    return torch.tensor([[entry(t, v) for v in range(V)] for t in range(T)], dtype=torch.float64)


def rescaled(p: list[float], seen: set[int], gamma: float) -> list[float]:
    weighted = [(1 if v in seen else gamma) * p[v] for v in range(V)]
    return [number / sum(weighted) for number in weighted]


def unlikelihood_gradient(p: list[float], seen: set[int], y: int, v: int) -> float:
    """(6)"""
    odds = {c: p[c] / (1 - p[c]) for c in seen - {y}}
    return odds.get(v, 0.0) - p[v] * sum(odds.values())


@pytest.mark.parametrize("gamma", [0.2, 0.7, 1.0])
def test_scalegrad(z, gamma):
    p = probabilities(z)
    seen = [set(Y[:t]) for t in range(T)]

    def formula_3(t: int) -> float:
        r = sum(p[t][v] for v in seen[t])
        novel = Y[t] not in seen[t]
        return -math.log(p[t][Y[t]]) + math.log(gamma + (1 - gamma) * r) - novel * math.log(gamma)

    def formula_4(t: int, v: int) -> float:
        r = sum(p[t][u] for u in seen[t])
        a = (1 - gamma) / (gamma + (1 - gamma) * r)
        return p[t][v] * (1 - a * r) + a * p[t][v] * (v in seen[t]) - (v == Y[t])

    def formula_5(t: int, v: int) -> float:
        return rescaled(p[t], seen[t], gamma)[v] - (v == Y[t])

    loss = scalegrad_loss(z, TARGET, gamma, PAD)
    want = torch.tensor([formula_3(t) for t in range(T)], dtype=torch.float64)
    torch.testing.assert_close(loss[0], want)
    gradient = by_code(loss.sum(), z)
    torch.testing.assert_close(table(formula_4), gradient)
    torch.testing.assert_close(table(formula_5), gradient)


def test_where_scalegrad_comes_to_rest():
    torch.manual_seed(1)
    gamma, seen = 0.2, {5, 6}
    d = torch.softmax(torch.randn(V, dtype=torch.float64), dim=0).tolist()
    unnormalised = [d[v] / (1 if v in seen else gamma) for v in range(V)]
    z = torch.tensor(unnormalised, dtype=torch.float64).log().requires_grad_()
    # The mean over the data of the gradient after the tokens 5 and 6; nothing is padding.
    rows = torch.tensor([[5, 6, v] for v in range(V)])
    loss = scalegrad_loss(z.expand(V, 3, V), rows, gamma, padding_idx=-1)[:, 2]
    mean = (torch.tensor(d, dtype=torch.float64) * loss).sum()
    torch.testing.assert_close(torch.autograd.grad(mean, z)[0], torch.zeros_like(z))
    p = torch.softmax(z.detach(), dim=0).tolist()
    r, r_d = sum(p[v] for v in seen), sum(d[v] for v in seen)
    assert r / (1 - r) == pytest.approx(gamma * r_d / (1 - r_d))


def test_unlikelihood(z):
    p = probabilities(z)
    loss = unlikelihood_loss(z, TARGET, PAD).sum()
    want = table(lambda t, v: unlikelihood_gradient(p[t], set(Y[:t]), Y[t], v))
    torch.testing.assert_close(want, by_code(loss, z))


def test_what_the_sign_of_unlikelihood_does():
    p = [0.02, 0.1, 0.7, 0.06, 0.06, 0.06, 0.0, 0.0, 0.0]
    seen = {1, 2}
    for c, b in ((1, 2), (2, 1)):
        formula = p[c] * (1 - p[b] / (1 - p[b]))
        assert unlikelihood_gradient(p, seen, 3, c) == pytest.approx(formula)
    assert unlikelihood_gradient(p, seen, 3, 1) < 0 < unlikelihood_gradient(p, seen, 3, 2)
    assert all(unlikelihood_gradient(p, seen, 3, v) < 0 for v in (0, 3, 4, 5))
    # One candidate: p(c) for it, -p(v) o(c) for the others.
    assert unlikelihood_gradient(p, {2}, 3, 2) == pytest.approx(0.7)
    assert unlikelihood_gradient(p, {2}, 3, 1) == pytest.approx(-0.1 * 0.7 / 0.3)


def test_the_token_loss(z):
    epsilon, gamma, alpha = 0.1, 0.3, 0.5
    epsilon_i = epsilon / (V - 1)
    p = probabilities(z)

    def formula_7(t: int, v: int) -> float:
        y, seen = Y[t], set(Y[:t])
        q = rescaled(p[t], seen, gamma)
        return (
            (1 - epsilon - epsilon_i) * (q[v] - (v == y))
            + epsilon_i * (V * p[t][v] - 1)
            + alpha * unlikelihood_gradient(p[t], seen, y, v)
        )

    at = Targets(TARGET, PAD, with_seen=True).whole()
    lprobs = selective_log_softmax(z, at.target, at.seen, at.seen_mask, with_total=True)
    loss = TokenLoss(V, epsilon, gamma, alpha)(lprobs, at).loss.sum()
    torch.testing.assert_close(table(formula_7), by_code(loss, z))


def test_sequence_unlikelihood(z):
    n, x = 2, [5, 6, 5, 6, 7, 5, 6]

    def starts(i: int) -> bool:
        if not 0 <= i <= T - n:
            return False
        return any(all(x[i + k] == x[j + k] for k in range(n)) for j in range(i))

    repeated = [any(starts(t - k) for k in range(n)) for t in range(T)]
    p = probabilities(z)

    def formula_8(t: int, v: int) -> float:
        odds = p[t][x[t]] / (1 - p[t][x[t]])
        return repeated[t] * odds * ((v == x[t]) - p[t][v])

    text = torch.tensor([x])
    mask = repeated_ngram_mask(text, n, PAD)
    assert mask[0].tolist() == repeated and True in repeated and False in repeated
    lprobs = selective_log_softmax(z, text, with_complement=True)
    assert lprobs.complement is not None
    loss = repeated_token_loss(lprobs.complement, mask).sum()
    torch.testing.assert_close(table(formula_8), by_code(loss, z))
    assert repetition(x, n) == pytest.approx(sum(map(starts, range(T))) / (T - n + 1))
    assert repeated_ngram_starts(text, n, PAD)[0].tolist() == [starts(i) for i in range(T - n + 1)]


def test_minimum_risk():
    torch.manual_seed(1)
    K, alpha = 3, 0.7
    h = torch.tensor([[5, 6], [7, 7], [4, 8]])
    rho = [0.9, 0.1, 0.4]
    z = torch.randn(K, 2, V, dtype=torch.float64, requires_grad=True)
    p = torch.softmax(z.detach(), dim=-1)
    s = [sum(math.log(p[k, t, h[k, t]]) for t in range(2)) for k in range(K)]
    q = [math.exp(alpha * s[k]) / sum(math.exp(alpha * number) for number in s) for k in range(K)]
    mean = sum(q[k] * rho[k] for k in range(K))
    formula_10 = [-alpha * q[j] * (rho[j] - mean) for j in range(K)]
    assert sum(formula_10) == pytest.approx(0)
    onehot = torch.nn.functional.one_hot(h, V)
    want = torch.tensor(formula_10, dtype=torch.float64)[:, None, None] * (onehot - p)

    lprobs = selective_log_softmax(z, h).target.sum(dim=1)[None]
    rewards = torch.tensor([rho], dtype=torch.float64)
    risk, found = expected_risk(lprobs, rewards, torch.ones(1, K, dtype=torch.bool), alpha)
    torch.testing.assert_close(found[0].detach(), torch.tensor(q, dtype=torch.float64))
    assert risk.item() == pytest.approx(1 - mean)
    torch.testing.assert_close(want, torch.autograd.grad(risk.sum(), z)[0])


def test_the_loss_in_chunks():
    torch.manual_seed(1)
    D = 4
    x = torch.randn(T, D, dtype=torch.float64, requires_grad=True)
    w = torch.randn(V, D, dtype=torch.float64, requires_grad=True)
    b = torch.randn(V, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        g = torch.softmax(x @ w.T + b, dim=-1)
        g[range(T), Y] -= 1  # (1), a row for each position
        want = (g @ w, sum(g[c].T @ x[c] for c in (slice(0, 3), slice(3, T))), g.sum(0))
    given = (Targets(TARGET, PAD), torch.arange(T), TokenLoss(V))
    total, _ = linear_loss(x, Projection(w, b), *given, 3)
    torch.testing.assert_close(want, torch.autograd.grad(total, (x, w, b)))


def test_in_batch_negatives():
    torch.manual_seed(1)
    q = torch.randn(4, dtype=torch.float64, requires_grad=True)
    d = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    k, left_out = 1, torch.tensor([[False, False, False, True, False]])
    with torch.no_grad():
        pi = torch.softmax((d @ q).masked_fill(left_out[0], -torch.inf), dim=0)
        difference = pi.clone()
        difference[k] -= 1
        want = (pi @ d - d[k], difference[:, None] * q)
    loss, _ = in_batch_negatives_loss((d @ q)[None], torch.tensor([k]), left_out)
    torch.testing.assert_close(want, torch.autograd.grad(loss.sum(), (q, d)))


@pytest.mark.parametrize(
    ("schedule", "half"),
    [
        (GoldSchedule("linear", k=1.0, c=0.002), (1.0 - 1 / 2) / 0.002),
        (GoldSchedule("exponential", k=0.99), math.log(2) / math.log(1 / 0.99)),
        (GoldSchedule("inverse_sigmoid", k=2000.0), 2000 * math.log(2000)),
    ],
    ids=lambda given: getattr(given, "name", ""),
)
def test_where_a_schedule_is_at_one_half(schedule, half):
    before, after = (schedule.at(int(update), 1).item() for update in (half - 1, half + 1))
    assert before > 0.5 > after


def test_intervals_of_few_seeds():
    assert half_width([0.0, 2**0.5]) == pytest.approx(8.98, abs=0.01)  # a deviation of 1
    three = half_width([-1.0, 0.0, 1.0])
    assert three == pytest.approx(4.303 / 3**0.5)
