"""Greedy continuation by incremental decoding against re-reading the whole prefix."""

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models.transformer_lm import TransformerLanguageModel, TransformerLanguageModelConfig
from fairseq.tasks.language_modeling import LanguageModelingConfig, LanguageModelingTask

from genft_fairseq.generation.rollout import continue_greedily

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
    got = continue_greedily(model, prefix, 12, PAD)
    want = naive(model, prefix, 12)
    assert got.shape == (5, 12)
    assert torch.equal(got, want)
    assert len({tuple(row) for row in got.tolist()}) > 1  # the prefixes matter


@torch.no_grad()
def test_rows_do_not_depend_on_each_other(model):
    prefix = torch.randint(4, 24, (4, 3))
    together = continue_greedily(model, prefix, 9, PAD)
    alone = torch.cat([continue_greedily(model, row[None], 9, PAD) for row in prefix])
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
    got = continue_greedily(model, torch.tensor([[5, 6]]), 6, PAD)
    assert got.tolist() == [[2] * 6]


def test_too_long_for_the_model(model):
    prefix = torch.full((1, 20), 5)
    assert continue_greedily(model, prefix, 13, PAD).shape == (1, 13)  # the last is not read
    with pytest.raises(ValueError, match="need 33 positions, but the model has 32"):
        continue_greedily(model, prefix, 14, PAD)
    with pytest.raises(ValueError, match="at least one token"):
        continue_greedily(model, prefix[:, :0], 3, PAD)
