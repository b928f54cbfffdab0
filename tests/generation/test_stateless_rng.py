"""Draws are uniform, and depend on seed and place alone."""

import torch

from genft_fairseq.generation.stateless_rng import uniform


def splitmix64(x: int) -> int:
    """The published finaliser, in Python's integers."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) % 2**64
    return x ^ (x >> 31)


def test_equals_the_published_hash():
    gamma = 0x9E3779B97F4A7C15
    for seed, place in ((0, 0), (1, 7), (2**62, 2**40), (-3, 5), (2**64 - 1, 3)):
        state = splitmix64((seed + gamma) % 2**64)
        state = splitmix64(((state ^ place) + gamma) % 2**64)
        assert uniform(seed, torch.tensor(place)).item() == (state >> 11) / 2**53


def test_uniform_and_independent():
    draws = uniform(1, torch.arange(400)[:, None], torch.arange(500))
    assert draws.shape == (400, 500) and draws.dtype == torch.float64
    assert draws.min() >= 0 and draws.max() < 1
    histogram = torch.histc(draws, bins=20, min=0, max=1) / draws.numel()
    assert (histogram - 0.05).abs().max() < 0.003  # 6 standard deviations
    for rows in (draws, draws.t()):  # neighbours in either direction do not correlate
        pairs = torch.stack([rows[:, :-1].flatten(), rows[:, 1:].flatten()])
        assert torch.corrcoef(pairs)[0, 1].abs() < 0.015


def test_depends_on_seed_and_place_alone():
    places = torch.arange(10)
    assert torch.equal(uniform(5, places, 3)[4:5], uniform(5, places[4:5], 3))
    others = [uniform(6, places, 3), uniform(5, places, 4), uniform(5, places + 1, 3)]
    assert all((uniform(5, places, 3) != other).all() for other in others)
    assert uniform(5, torch.tensor(1), 2) != uniform(5, torch.tensor(2), 1)
