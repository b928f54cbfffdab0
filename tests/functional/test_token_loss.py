"""The token loss position by position, and the positions it is given."""

import pytest
import reference
import torch

from genft_fairseq.functional.selective_log_softmax import selective_log_softmax
from genft_fairseq.functional.token_loss import Targets, TokenLoss

PAD = 1
V = 12
SEQUENCE = torch.tensor(
    [
        [5, 6, 5, 7, 6, 5],
        [4, 4, 4, PAD, PAD, PAD],
        [PAD, PAD, 8, 9, 8, 8],
        [PAD] * 6,
    ]
)


@pytest.fixture
def logits():
    return 2 * torch.randn(*SEQUENCE.shape, V, dtype=torch.float64)


def whole(logits, targets, loss):
    at = targets.whole()
    wanted = (loss.smoothing > 0, loss.with_correct)
    return loss(selective_log_softmax(logits, at.target, at.seen, at.seen_mask, *wanted), at)


def test_the_equation(logits):
    """Every knob at once, against the slow loops."""
    weight = torch.rand(SEQUENCE.shape)
    loss = TokenLoss(V, smoothing=0.1, gamma=0.2, alpha=0.7, share=0.9)
    got = whole(logits, Targets(SEQUENCE, PAD, 0, True, weight), loss)
    eps_i = 0.1 / (V - 1)
    nll = reference.nll(logits, SEQUENCE, PAD)
    want = (1 - 0.1 - eps_i) * reference.scalegrad(logits, SEQUENCE, 0.2, PAD)
    want = want + eps_i * reference.smooth(logits, SEQUENCE, PAD)
    want = want + 0.7 * reference.unlikelihood(logits, SEQUENCE, PAD)
    want = 0.9 * want + weight.double() * nll
    torch.testing.assert_close(got.loss, want)
    torch.testing.assert_close(got.nll, nll)
    torch.testing.assert_close(got.seen_mass, reference.seen_mass(logits, SEQUENCE, PAD))
    torch.testing.assert_close(got.unlikelihood, reference.unlikelihood(logits, SEQUENCE, PAD))
    assert got.correct is None


def test_plain_likelihood_computes_nothing_else(logits):
    got = whole(logits, Targets(SEQUENCE, PAD), TokenLoss(V))
    assert torch.equal(got.loss, got.nll)
    assert got.seen_mass is None
    assert got.unlikelihood is None


def test_correct_is_what_the_largest_logit_says(logits):
    got = whole(logits, Targets(SEQUENCE, PAD), TokenLoss(V, with_correct=True))
    want = (logits.argmax(-1) == SEQUENCE) & (SEQUENCE != PAD)
    assert torch.equal(got.correct, want)


@pytest.mark.parametrize("prefix", [0, 1, 3])
def test_positions_apart_are_those_of_the_batch(prefix, logits):
    """In any order, each a row of its own: the same targets, seen tokens and weights."""
    weight = torch.rand(4, 6 - prefix)
    loss = TokenLoss(V, smoothing=0.1, gamma=0.2, alpha=0.7, with_correct=True)
    targets = Targets(SEQUENCE, PAD, prefix, loss.needs_seen, weight)
    want = whole(logits[:, prefix:], targets, loss)
    index = torch.randperm(want.loss.numel())
    at = targets.at(index)
    assert at.target.shape == (len(index), 1)
    rows = logits[:, prefix:].flatten(0, 1)[index, None]
    given = (at.target, at.seen, at.seen_mask, True, True)
    for ours, theirs in zip(loss(selective_log_softmax(rows, *given), at), want, strict=True):
        torch.testing.assert_close(ours[:, 0], theirs.flatten()[index])


def test_seen_tokens_by_hand():
    """Position 3 of the first row, a 7, has seen 5 and 6, each at its first place, and is novel."""
    at = Targets(SEQUENCE, PAD, with_seen=True).at(torch.tensor([3]))
    assert at.seen.tolist() == [[5, 6, 5, 7, 6, 5]]
    assert at.seen_mask.tolist() == [[[True, True, False, False, False, False]]]
    assert at.novel.tolist() == [[True]]


@pytest.mark.parametrize(
    ("loss", "needs"),
    [
        (TokenLoss(V, smoothing=0.1), False),
        (TokenLoss(V, gamma=0.5), True),
        (TokenLoss(V, alpha=0.5), True),
        (TokenLoss(V, with_seen_mass=True), True),
        (TokenLoss(V, with_unlikelihood=True), True),
    ],
)
def test_what_was_seen_is_asked_for_where_it_is_needed(loss, needs):
    assert loss.needs_seen is needs
