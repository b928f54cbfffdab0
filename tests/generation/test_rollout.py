"""Continuation by incremental decoding against re-reading the whole prefix."""

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models.transformer_lm import TransformerLanguageModel, TransformerLanguageModelConfig
from fairseq.tasks.language_modeling import LanguageModelingConfig, LanguageModelingTask
from refusals import refuses

from genft_fairseq.generation.rollout import continue_prefixes
from genft_fairseq.generation.sampling import Search

PAD = 1


@pytest.fixture
def model():
    dictionary = Dictionary()
    for i in range(20):
        dictionary.add_symbol(f"w{i}")
    task = LanguageModelingTask(LanguageModelingConfig(), dictionary)
    config = TransformerLanguageModelConfig(
        decoder_embed_dim=16,
        decoder_output_dim=16,
        decoder_input_dim=16,
        decoder_ffn_embed_dim=16,
        decoder_layers=2,
        decoder_attention_heads=2,
        tokens_per_sample=32,
        max_target_positions=32,
    )
    model = TransformerLanguageModel.build_model(config, task).eval()
    with torch.no_grad():  # far from uniform, so that the choices are not ties
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def naive(model, prefix, length):
    for _ in range(length):
        logits = model(prefix)[0][:, -1]
        logits[:, PAD] = -torch.inf
        prefix = torch.cat([prefix, logits.argmax(-1, keepdim=True)], 1)
    return prefix[:, -length:]


@torch.no_grad()
def test_equals_rereading_the_prefix(model):
    prefix = torch.randint(4, 24, (5, 7))
    got = continue_prefixes(model, prefix, 12, PAD)
    want = naive(model, prefix, 12)
    assert got.shape == (5, 12)
    assert torch.equal(got, want)
    assert len({tuple(row) for row in got.tolist()}) > 1  # the prefixes matter


@torch.no_grad()
def test_rows_do_not_depend_on_each_other(model):
    prefix = torch.randint(4, 24, (4, 3))
    together = continue_prefixes(model, prefix, 9, PAD)
    alone = torch.cat([continue_prefixes(model, row[None], 9, PAD) for row in prefix])
    assert torch.equal(together, alone)


def test_padding_is_never_chosen_and_end_of_sentence_does_not_stop(model):
    """A model that always prefers padding, then the end of the sentence."""
    bias = torch.zeros(24)
    bias[PAD], bias[2] = 2e4, 1e4

    def biased(*args, **kwargs):
        logits, extra = forward(*args, **kwargs)
        return logits + bias, extra

    forward = model.decoder.forward
    model.decoder.forward = biased
    got = continue_prefixes(model, torch.tensor([[5, 6]]), 6, PAD)
    assert got.tolist() == [[2] * 6]


def test_too_long_for_the_model(model):
    prefix = torch.full((1, 20), 5)
    assert continue_prefixes(model, prefix, 13, PAD).shape == (1, 13)  # the last is not read
    with refuses(33, 32, error=ValueError):
        continue_prefixes(model, prefix, 14, PAD)
    with refuses(error=ValueError):
        continue_prefixes(model, prefix[:, :0], 3, PAD)


def test_samples_depend_on_seed_and_sentence_not_on_the_batch(model):
    prefix = torch.randint(4, 24, (1, 3)).repeat(6, 1)
    search = Search(sampling=True)
    numbers = torch.arange(6)

    def sample(rows, seed=1):
        return continue_prefixes(model, prefix[rows], 8, PAD, search, seed, numbers[rows])

    together = sample(slice(None))
    assert len({tuple(row) for row in together.tolist()}) > 1  # the same prefix, other draws
    parts = torch.cat([sample(slice(0, 1)), sample(slice(1, 4)), sample(slice(4, 6))])
    assert torch.equal(together, parts)
    assert torch.equal(together, continue_prefixes(model, prefix, 8, PAD, search))
    assert not torch.equal(together, sample(slice(None), seed=2))


def test_samples_have_the_models_distribution(model):
    prefix = torch.tensor([[5, 6, 7]]).repeat(4000, 1)
    tokens = continue_prefixes(model, prefix, 1, PAD, Search(sampling=True))
    logits = model(prefix[:1])[0][0, -1]
    logits[PAD] = -torch.inf
    shares = torch.bincount(tokens[:, 0], minlength=len(logits)) / 4000
    assert (shares - logits.softmax(-1)).abs().max() < 0.03


@pytest.mark.parametrize("n", [1, 2, 3])
def test_no_ngram_is_repeated(model, n):
    prefix = torch.randint(4, 24, (5, 6))
    prefix[:, 3:] = prefix[:, :3]  # the prefix itself repeats, which cannot be helped
    length = 12
    free = continue_prefixes(model, prefix, length, PAD)
    got = continue_prefixes(model, prefix, length, PAD, Search(no_repeat_ngram_size=n))
    assert not torch.equal(free, got)
    for row in torch.cat([prefix, got], 1).tolist():
        ngrams = [tuple(row[i : i + n]) for i in range(len(row) - n + 1)]
        written = ngrams[6 - n + 1 :]  # those that end in the continuation
        assert len(set(written)) == len(written)
        assert not set(written) & set(ngrams[: 6 - n + 1])


@pytest.mark.parametrize("sampling", [False, True], ids=["greedy", "sampling"])
def test_a_row_with_nothing_left_keeps_its_scores(model, sampling):
    """24 tokens without padding cannot make 24 different ones; another row still can."""
    once = Search(sampling=sampling, no_repeat_ngram_size=1)
    spent = torch.tensor([[token for token in range(24) if token != PAD]])
    repeating = torch.full_like(spent, 5)
    both = continue_prefixes(model, torch.cat([spent, repeating]), 3, PAD, once)
    free = Search(sampling=sampling)
    assert torch.equal(both[:1], continue_prefixes(model, spent, 3, PAD, free))
    numbers = torch.tensor([1])
    alone = continue_prefixes(model, repeating, 3, PAD, once, sentences=numbers)
    assert torch.equal(both[1:], alone)
    assert len({5, *both[1].tolist()}) == 4
    assert PAD not in both


def test_the_end_may_not_come_early_where_nothing_else_is_left(model):
    """Neither padding nor the end is written where every other token would repeat one."""
    prefix = torch.tensor([[token for token in range(24) if token not in (PAD, 2)]])
    found = continue_prefixes(
        *(model, prefix, 4, PAD, Search(no_repeat_ngram_size=1)), eos_idx=2, min_length=3
    )
    assert found.size(1) == 4 and not {PAD, 2} & set(found[0, :3].tolist())
    assert found[0, 3] == 2  # the one token that repeats none
