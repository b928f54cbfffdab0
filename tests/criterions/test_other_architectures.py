"""Models that call or keep things otherwise than fairseq's Transformer does."""

from argparse import Namespace

import pytest
import torch
from criterions.tiny_fairseq import PAD, assert_same, tiny_criterion, tiny_sample, tiny_task
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY

from genft_fairseq.generation.candidates import (
    beam_candidates,
    sample_candidates,
    sequence_lprobs,
)
from genft_fairseq.generation.decoder_input import DecoderInput, replaced_decoder_input
from genft_fairseq.generation.sampling import Search

FLAGS = {
    "bart_base": {},
    "transformer_align": {"alignment_layer": 0},
    "lightconv": {
        **{f"{side}_kernel_size_list": [3] for side in ("encoder", "decoder")},
        **{f"{side}_conv_type": "dynamic" for side in ("encoder", "decoder")},
        **{"weight_softmax": True, "weight_dropout": 0.0},
    },
    "fconv": {"encoder_layers": "[(8, 3)]", "decoder_layers": "[(8, 3)]"},
    "lstm": {
        "encoder_hidden_size": 8,
        "decoder_hidden_size": 8,
        "decoder_out_embed_dim": 8,
        "criterion": "any",
    },
}
CRITERIONS = {
    "generative_rollout": {"rollout_rate": 1.0},
    "sequence_unlikelihood": {"sequence_rate": 1.0, "sequence_max_len_b": 12, "sequence_ngram": 1},
    "minimum_risk": {"risk_max_len_a": 0.0, "risk_max_len_b": 6},
}


def model_of(arch, task):
    sizes = {
        **{f"{side}_embed_dim": 8 for side in ("encoder", "decoder")},
        **{f"{side}_ffn_embed_dim": 8 for side in ("encoder", "decoder")},
        **{f"{side}_attention_heads": 2 for side in ("encoder", "decoder")},
        **{f"{side}_layers": 1 for side in ("encoder", "decoder")},
        **{"max_source_positions": 40, "max_target_positions": 40, "dropout": 0.0},
    }
    args = Namespace(**{**sizes, **FLAGS[arch]})
    ARCH_CONFIG_REGISTRY[arch](args)
    torch.manual_seed(2)
    return ARCH_MODEL_REGISTRY[arch].build_model(args, task).train()


@pytest.fixture(params=FLAGS)
def parts(request):
    task = tiny_task("translation")
    model = model_of(request.param, task)
    model.apply(lambda part: setattr(part, "p", 0.0) if "Dropout" in type(part).__name__ else None)
    return task, model, tiny_sample(task)


@pytest.mark.parametrize("name", CRITERIONS)
def test_every_criterion_leaves_the_model_as_it_was(name, parts):
    task, model, sample = parts
    before = model(**sample["net_input"])[0]
    criterion = tiny_criterion(name, task, **CRITERIONS[name])
    loss, _, _ = criterion(model, sample)
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert torch.equal(model(**sample["net_input"])[0], before)


def test_a_beam_changes_nothing_about_the_model(parts):
    """BART's attention remembers a beam, and then reads one source in so many."""
    task, model, sample = parts
    before = model(**sample["net_input"])[0]
    found = beam_candidates(model, sample, 3, task.target_dictionary, 0.0, 6)
    assert found.size(1) == 3
    assert torch.equal(model(**sample["net_input"])[0], before)


def test_chunks_of_candidates_read_their_own_source(parts):
    """Some encoders reorder what they are given in place."""
    task, model, sample = parts
    model.eval()
    dictionary = task.target_dictionary
    texts = sample_candidates(model, sample, 5, Search(sampling=True), dictionary, 0.0, 6)
    owners = torch.arange(len(texts)).repeat_interleave(5)
    net_input = sample["net_input"]
    encoder_out = model.encoder(net_input["src_tokens"], src_lengths=net_input["src_lengths"])
    first = net_input["prev_output_tokens"][:, :1]
    given = (first, texts.flatten(0, 1), owners, PAD)
    together = sequence_lprobs(model, encoder_out, *given, chunk_size=len(owners))
    apart = sequence_lprobs(model, encoder_out, *given, chunk_size=3)
    assert_same(apart, together, rtol=1e-4, atol=1e-5)


def test_the_first_pass_sees_the_source(parts):
    """The same tokens read in an extra pass give what the model itself says of them."""
    _, model, sample = parts
    model.eval()
    want = model(**sample["net_input"])[0]
    found = []

    def replace(call):
        found.append(call.read(DecoderInput(call.tokens)))
        return DecoderInput(call.tokens)

    with replaced_decoder_input(model, replace):
        model(**sample["net_input"])
    assert_same(found[0], want, rtol=1e-4, atol=1e-5)


def test_a_second_call_for_an_alignment_reads_the_same():
    task = tiny_task("translation")
    model, sample = model_of("transformer_align", task), tiny_sample(task)
    model.full_context_alignment = True
    calls = []

    def replace(call):
        calls.append(call)
        return DecoderInput(call.tokens.clone())

    with replaced_decoder_input(model, replace):
        model(**sample["net_input"])
    assert len(calls) == 1
