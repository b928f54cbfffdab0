"""Sampling against the probabilities it should have; what must not be chosen never is."""

import pytest
import torch
from refusals import refuses

from genft_fairseq.generation import sampling
from genft_fairseq.generation.sampling import Search, choose_tokens

# Worked by hand; in the order of probability: tokens 2, 0, 3, 1.
PROBS = torch.tensor([0.3, 0.05, 0.5, 0.15], dtype=torch.float64)


def shares(search: Search, draws: int = 10_000) -> list[float]:
    """How often each token is chosen over equally spaced draws."""
    rows = PROBS.log().expand(draws, -1)
    tokens = choose_tokens(rows, search, torch.arange(draws) / draws)
    return (torch.bincount(tokens, minlength=4) / draws).tolist()


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        (Search(sampling=True), [0.3, 0.05, 0.5, 0.15]),
        (Search(sampling=True, top_k=2), [3 / 8, 0, 5 / 8, 0]),
        (Search(sampling=True, top_k=1), [0, 0, 1, 0]),
        (Search(sampling=True, top_k=9), [0.3, 0.05, 0.5, 0.15]),
        (Search(sampling=True, top_p=0.4), [0, 0, 1, 0]),
        (Search(sampling=True, top_p=0.51), [3 / 8, 0, 5 / 8, 0]),
        (Search(sampling=True, top_p=0.9), [0.3 / 0.95, 0, 0.5 / 0.95, 0.15 / 0.95]),
        # 0.9 of the three that top-k leaves (0.95): two have 0.8, so the third is needed.
        (Search(sampling=True, top_k=3, top_p=0.9), [0.3 / 0.95, 0, 0.5 / 0.95, 0.15 / 0.95]),
        # p squared: 0.09, 0.0025, 0.25, 0.0225 of 0.365.
        (Search(sampling=True, temperature=0.5), [0.2466, 0.0068, 0.6849, 0.0616]),
    ],
)
def test_shares(search, expected):
    assert shares(search) == pytest.approx(expected, abs=2e-4)


def test_greedy_takes_the_mode_and_needs_no_draw():
    assert choose_tokens(PROBS.log()[None], Search()).tolist() == [2]
    with refuses("draws", error=ValueError):
        choose_tokens(PROBS.log()[None], Search(sampling=True))


def test_the_impossible_is_never_chosen():
    lprobs = torch.tensor([[-torch.inf, -1.0, -torch.inf]])
    for draw in (0.0, 0.5, 1 - 2.0**-53):
        got = choose_tokens(lprobs, Search(sampling=True), torch.tensor([draw]).double())
        assert got.tolist() == [1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("temperature", value) for value in (0, float("inf"), float("nan"))),
        ("top_k", -1),
        *(("top_p", value) for value in (0, 1.1)),
        ("no_repeat_ngram_size", -2),
    ],
)
def test_values_out_of_range(name, value):
    with refuses(name, value, error=ValueError):
        Search(**{name: value})


@pytest.mark.parametrize("spread", [6.0, 1.0, 0.0])
def test_nuclei_found_among_candidates(spread, monkeypatch):
    """The same tokens as by sorting all, whether the candidates suffice, do not, or are ties."""
    generator = torch.Generator().manual_seed(4)
    logits = spread * torch.randn(40, 600, generator=generator)
    logits[:, 300:] = logits[:, :300]  # every probability twice
    draws = torch.rand(40, generator=generator, dtype=torch.double)
    search = Search(sampling=True, top_p=0.9)
    monkeypatch.setattr(sampling, "_CANDIDATES", 600)
    everything = choose_tokens(logits, search, draws)
    sorts = []
    sort = torch.Tensor.sort
    monkeypatch.setattr(
        torch.Tensor, "sort", lambda x, *a, **k: sorts.append(x.size(-1)) or sort(x, *a, **k)
    )
    for candidates in (50, 51):
        monkeypatch.setattr(sampling, "_CANDIDATES", candidates)
        sorts.clear()
        assert torch.equal(choose_tokens(logits, search, draws), everything)
        assert (600 in sorts) == (spread < 6)
