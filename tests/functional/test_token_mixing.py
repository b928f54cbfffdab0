"""Schedules against values worked by hand and slow loops; masks, shift and noise on any padding."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from refusals import refuses

from genft_fairseq.functional.token_mixing import (
    DECAYS,
    SCHEDULES,
    GoldSchedule,
    confidence_masks,
    random_target_tokens,
    replaceable_mask,
    shifted_right,
)

PAD = 1
HUGE = 10**9


def slow_decay(name: str, k: float, c: float, minimum: float, i: float) -> float:
    if name == "linear":
        eps = k - c * i
    elif name == "exponential":
        eps = k**i
    else:
        eps = k / (k + math.exp(i / k))
    return min(1.0, max(minimum, eps))


def assert_at(schedule: GoldSchedule, update: int, want: list[float]) -> None:
    got = schedule.at(update, len(want))
    assert got.dtype == torch.float64 and got.shape == (len(want),)
    torch.testing.assert_close(got, torch.tensor(want, dtype=torch.float64), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("schedule", "update", "want"),
    [
        (GoldSchedule("constant", 0.3), 7, [0.3, 0.3, 0.3]),
        # 1.2 - 0.1 * 5
        (GoldSchedule("linear", k=1.2, c=0.1), 5, [0.7, 0.7]),
        (GoldSchedule("linear", k=1.2, c=0.1), 2, [1.0, 1.0]),
        (GoldSchedule("linear", k=1.2, c=0.1), 12, [0.0, 0.0]),
        (GoldSchedule("linear", k=1.2, c=0.1, minimum=0.25), 12, [0.25]),
        # 0.5^3
        (GoldSchedule("exponential", k=0.5), 3, [0.125, 0.125]),
        (GoldSchedule("exponential", k=0.5), 0, [1.0]),
        (GoldSchedule("exponential", k=0.5, minimum=0.2), 3, [0.2]),
        # 0^0 is 1: the first update reads gold
        (GoldSchedule("exponential", k=0.0), 0, [1.0]),
        (GoldSchedule("exponential", k=0.0), 1, [0.0]),
        # 3 / (3 + e^0)
        (GoldSchedule("inverse_sigmoid", k=3.0), 0, [0.75]),
        # 1 / (1 + e^2)
        (GoldSchedule("inverse_sigmoid", k=1.0), 2, [0.11920292202211755]),
        # 0.5^t, whatever the update
        (GoldSchedule("decoding_step", 0.5), 0, [1.0, 0.5, 0.25, 0.125]),
        (GoldSchedule("decoding_step", 0.5), 99, [1.0, 0.5, 0.25, 0.125]),
        (GoldSchedule("decoding_step", 0.0), 4, [1.0, 0.0, 0.0]),
        # at update 4 * (0, 1/2, 3/4) = 0, 2, 3: 0.5^0, 0.5^2, 0.5^3
        (GoldSchedule("composite", 0.5, k=0.5), 4, [1.0, 0.25, 0.125]),
        # 1 - 0.1 * (0, 2, 3)
        (GoldSchedule("composite", 0.5, k=1.0, c=0.1, decay="linear"), 4, [1.0, 0.8, 0.7]),
        # 1 / (1 + e^(0, 2, 3))
        (
            GoldSchedule("composite", 0.5, k=1.0, decay="inverse_sigmoid"),
            4,
            [0.5, 0.11920292202211755, 0.04742587317756678],
        ),
        # 0.5^(t (1 - 0.5^2)): the form of the authors' code
        (
            GoldSchedule("inverse_composite", 0.5, k=0.5),
            2,
            [1.0, 0.5946035575013605, 0.3535533905932738],
        ),
        # g = 1 - 0.1 * 4, held at no less than 0.7: 0.5^(0.3 t)
        (
            GoldSchedule("inverse_composite", 0.5, k=1.0, c=0.1, minimum=0.7, decay="linear"),
            4,
            [1.0, 0.8122523963562356, 0.6597539553864471],
        ),
        (GoldSchedule("inverse_composite", 0.0, k=0.5), 0, [1.0, 1.0]),
        (GoldSchedule("inverse_composite", 0.0, k=0.5), 1, [1.0, 0.0]),
    ],
)
def test_by_hand(schedule, update, want):
    assert_at(schedule, update, want)


@given(
    st.sampled_from(DECAYS),
    st.floats(0, 1),
    st.floats(1, 50),
    st.floats(0, 1),
    st.floats(0, 0.99),
    st.integers(0, 500),
    st.integers(1, 12),
)
def test_slow_loops(decay, eps, k, c, minimum, update, length):
    """Every decay, over updates and as the composite of positions."""
    k = eps if decay == "exponential" else k
    plain = GoldSchedule(decay, k=k, c=c, minimum=minimum)
    assert_at(plain, update, [slow_decay(decay, k, c, minimum, update)] * length)
    by_step = [eps**t for t in range(length)]
    composite = GoldSchedule("composite", eps, k, c, minimum, decay)
    want = [slow_decay(decay, k, c, minimum, update * (1 - step)) for step in by_step]
    assert_at(composite, update, want)
    inverse = GoldSchedule("inverse_composite", eps, k, c, minimum, decay)
    g = slow_decay(decay, k, c, minimum, update)
    assert_at(inverse, update, [eps ** (t * (1 - g)) for t in range(length)])
    assert_at(GoldSchedule("decoding_step", eps), update, by_step)


@pytest.mark.parametrize("name", [*DECAYS, *(f"composite of {decay}" for decay in DECAYS)])
def test_never_outside_the_minimum_and_one(name):
    """e^(i/k) and c*i would overflow long before an update this late."""
    k = 0.99 if name.endswith("exponential") else 3.0
    name, _, decay = name.partition(" of ")
    schedule = GoldSchedule(name, 0.9, k, 1e300, 0.05, decay or "exponential")
    before = torch.ones(6, dtype=torch.float64)
    for update in (0, 1, 10, 10**4, HUGE, 10**15):
        eps = schedule.at(update, 6)
        assert not eps.isnan().any()
        assert (eps >= 0.05).all() and (eps <= 1).all()
        assert (eps <= before).all()
        before = eps
    assert (schedule.at(HUGE, 6)[1:] == 0.05).all()


def test_confidence_has_no_probability():
    assert "confidence" in SCHEDULES
    with refuses("confidence", error=ValueError):
        GoldSchedule("confidence").at(3, 4)


TOKENS = torch.tensor(
    [
        [2, 5, 6, 7, 8],
        [2, 5, 6, PAD, PAD],
        [PAD, PAD, 2, 5, 6],
        [PAD, 2, 5, PAD, PAD],
        [2, PAD, PAD, PAD, PAD],
        [PAD, PAD, PAD, PAD, 2],
        [PAD, PAD, PAD, PAD, PAD],
    ]
)
REPLACEABLE = torch.tensor(
    [
        [0, 1, 1, 1, 1],
        [0, 1, 1, 0, 0],
        [0, 0, 0, 1, 1],
        [0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]
).bool()


def test_replaceable():
    assert torch.equal(replaceable_mask(TOKENS, PAD), REPLACEABLE)
    assert replaceable_mask(TOKENS[:, :0], PAD).shape == (7, 0)


def test_shifted_right():
    predicted, first = torch.arange(10, 18).view(2, 4), torch.arange(8).view(2, 4)
    got = shifted_right(predicted, first)
    assert got.tolist() == [[0, 10, 11, 12], [4, 14, 15, 16]]
    # Vectors move as tokens do.
    wide = shifted_right(predicted[..., None] * torch.ones(3), torch.zeros(2, 4, 3))
    assert torch.equal(wide[:, 1:, 2], got[:, 1:].float()) and (wide[:, 0] == 0).all()
    assert shifted_right(predicted[:, :1], first[:, :1]).tolist() == [[0], [4]]


def test_confidence_masks():
    """The bounds themselves: gold up to the lower one, noise above the upper one."""
    probs = torch.tensor([[0.0, 0.5, 0.51, 0.9, 0.91, 1.0]], dtype=torch.float64)
    gold, noise = confidence_masks(probs, 0.5, 0.9)
    assert gold.tolist() == [[True, True, False, False, False, False]]
    assert noise.tolist() == [[False, False, False, False, True, True]]
    gold, noise = confidence_masks(probs, 0.5, 0.5)
    assert torch.equal(gold, ~noise)


def test_random_target_tokens_by_hand():
    """Three tokens to draw from: a third of [0, 1) stands for each, on any side of the padding."""
    draws = torch.tensor([[0.0, 0.3, 0.34, 0.67, 0.999999]], dtype=torch.float64)
    for row in ([2, 5, 6, 7, PAD], [PAD, 2, 5, 6, 7]):
        tokens = torch.tensor([row])
        drawn = random_target_tokens(tokens, replaceable_mask(tokens, PAD), draws)
        assert drawn.tolist() == [[5, 5, 6, 7, 7]]


def test_random_target_tokens_where_there_are_none():
    draws = torch.full(TOKENS.shape, 0.7, dtype=torch.float64)
    drawn = random_target_tokens(TOKENS, REPLACEABLE, draws)
    assert torch.equal(drawn[4:], TOKENS[4:])


def test_random_target_tokens_are_equally_probable():
    tokens = torch.tensor([[2, 5, 6, 7, 8]]).repeat(4000, 1)
    draws = torch.rand(tokens.shape, dtype=torch.float64)
    drawn = random_target_tokens(tokens, replaceable_mask(tokens, PAD), draws)
    shares = torch.bincount(drawn.flatten(), minlength=9) / drawn.numel()
    assert (shares[5:] - 0.25).abs().max() < 0.02
    assert shares[:5].sum() == 0


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=5), st.data())
def test_masks_and_noise_against_loops(shape, data):
    """Padding of any width on either side, in rows side by side."""
    width = max(sum(row) for row in shape) or 1
    token = st.integers(2, 9)
    rows = []
    for left, length, right in shape:
        row = [PAD] * left + [data.draw(token) for _ in range(length)] + [PAD] * right
        side = data.draw(st.booleans())
        fill = [PAD] * (width - len(row))
        rows.append(fill + row if side else row + fill)
    tokens = torch.tensor(rows)
    mask = replaceable_mask(tokens, PAD)
    draws = torch.rand(tokens.shape, dtype=torch.float64)
    drawn = random_target_tokens(tokens, mask, draws)
    for b, row in enumerate(rows):
        text = [t for t, value in enumerate(row) if value != PAD]
        assert mask[b].nonzero()[:, 0].tolist() == text[1:]
        choice = [row[t] for t in text[1:]]
        for t in range(width):
            want = choice[int(draws[b, t] * len(choice))] if choice else row[t]
            assert drawn[b, t] == want
