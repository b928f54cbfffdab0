"""Beam search for continuations of one length, against an exhaustive search and greedy choice."""

from itertools import pairwise, product

import pytest
import torch
from criterions.tiny_fairseq import PAD, tiny_model, tiny_task
from refusals import refuses
from torch import nn

from genft_fairseq.generation.rollout import beam_continuations, continue_prefixes
from genft_fairseq.generation.sampling import Search

PREFIX = torch.tensor([[5, 6, 7], [8, 4, 2], [3, 3, 10]])
V = 15


@pytest.fixture
def model():
    torch.manual_seed(1)
    model = tiny_model(tiny_task("language"), decoder_layers=2).eval()
    with torch.no_grad():  # not so sure of itself that the greedy choice is the best
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.copy_(0.5 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def log_probability(model, prefix, continuation):
    text = torch.cat([prefix, torch.tensor(continuation)])[None]
    lprobs = model(text)[0].double().log_softmax(-1)[0]
    places = range(len(prefix) - 1, text.size(1) - 1)
    return sum(float(lprobs[t, text[0, t + 1]]) for t in places)


def test_a_wide_beam_finds_the_most_probable_text(model):
    """With as many hypotheses as tokens, nothing of two tokens is lost."""
    got = beam_continuations(model, PREFIX, 2, PAD, V - 1)
    tokens = [token for token in range(V) if token != PAD]
    for row, prefix in enumerate(PREFIX):
        best = max(product(tokens, repeat=2), key=lambda c: log_probability(model, prefix, c))
        assert tuple(got[row].tolist()) == best


def test_a_beam_of_one_is_greedy(model):
    greedy = continue_prefixes(model, PREFIX, 9, PAD)
    assert torch.equal(beam_continuations(model, PREFIX, 9, PAD, 1), greedy)
    blocked = continue_prefixes(model, PREFIX, 9, PAD, Search(no_repeat_ngram_size=2))
    assert torch.equal(beam_continuations(model, PREFIX, 9, PAD, 1, 2), blocked)
    assert not torch.equal(greedy, blocked)


def test_a_wider_beam_is_no_less_probable_and_rows_are_independent(model):
    length = 6
    found = {beam: beam_continuations(model, PREFIX, length, PAD, beam) for beam in (1, 4)}
    gained = 0.0
    for row, prefix in enumerate(PREFIX):
        narrow, wide = (log_probability(model, prefix, found[b][row].tolist()) for b in (1, 4))
        gained += wide - narrow
        alone = beam_continuations(model, prefix[None], length, PAD, 4)
        assert torch.equal(alone[0], found[4][row])
    assert gained > 0.1


def test_no_ngram_is_repeated(model):
    found = beam_continuations(model, PREFIX, 12, PAD, 3, no_repeat_ngram_size=2)
    for prefix, row in zip(PREFIX.tolist(), found.tolist(), strict=True):
        text = prefix + row
        bigrams = list(pairwise(text[2:]))  # those of the prefix aside
        assert len(set(bigrams)) == len(bigrams)


def test_a_row_with_nothing_left_keeps_its_scores(model):
    """One row has used all tokens, another can go on without repeating any."""
    spent = torch.tensor([[token for token in range(V) if token != PAD]])
    repeating = torch.full_like(spent, 5)
    both = beam_continuations(model, torch.cat([spent, repeating]), 3, PAD, 3, 1)
    assert torch.equal(both[:1], beam_continuations(model, spent, 3, PAD, 3))
    assert torch.equal(both[1:], beam_continuations(model, repeating, 3, PAD, 3, 1))
    assert len({5, *both[1].tolist()}) == 4 and PAD not in both


def test_a_beam_wider_than_what_is_left(model):
    """13 of 14 tokens are used: a beam of 5 has one hypothesis that repeats none."""
    prefix = torch.tensor([[token for token in range(V) if token not in (PAD, 6)]])
    assert beam_continuations(model, prefix, 1, PAD, 5, 1).tolist() == [[6]]


def test_the_prefix_is_read_once(model):
    read = []
    hook = model.decoder.register_forward_hook(lambda m, args, out: read.append(len(args[0])))
    beam_continuations(model, PREFIX, 3, PAD, 4)
    hook.remove()
    assert read == [3, 3, 12, 12]  # the prefix but its last token, then three choices


@pytest.mark.parametrize(
    ("beam", "length", "named"),
    [(0, 2, ("beam", 0)), (V, 2, ("beam", V, 14)), (2, 99, (101,))],
)
def test_refusals(model, beam, length, named):
    with refuses(*named, error=ValueError):
        beam_continuations(model, PREFIX, length, PAD, beam)


def test_nothing_to_add(model: nn.Module):
    assert beam_continuations(model, PREFIX, 0, PAD, 3).shape == (3, 0)
