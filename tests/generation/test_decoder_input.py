"""What the decoder is fed inside the model's forward, and that nothing of it stays behind."""

from argparse import Namespace
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from criterions.tiny_fairseq import KINDS, PAD, assert_same, tiny_model, tiny_sample, tiny_task
from fairseq.distributed.module_proxy_wrapper import ModuleProxyWrapper
from fairseq.models.lstm import LSTMModel
from fairseq.models.lstm import base_architecture as lstm_architecture
from fairseq.models.nat import NATransformerModel
from fairseq.models.nat.nonautoregressive_transformer import base_architecture as nat_architecture
from refusals import refuses
from torch import nn

from genft_fairseq.errors import UnsuitableModel
from genft_fairseq.generation import decoder_input
from genft_fairseq.generation.decoder_input import (
    DecoderInput,
    evaluation_mode,
    recorded_encoder_out,
    replaced_decoder_input,
    require_autoregressive,
    require_left_to_right,
    unreplaced_decoder_input,
)


@pytest.fixture(params=KINDS)
def world(request):
    task = tiny_task(request.param)
    sample = tiny_sample(task)
    name = "prev_output_tokens" if request.param == "translation" else "src_tokens"
    gold = sample["net_input"][name]
    other = torch.where(gold.eq(PAD), gold, (gold + 3) % 10 + 4)
    return SimpleNamespace(
        task=task, model=tiny_model(task), sample=sample, name=name, gold=gold, other=other
    )


def logits_on(world, tokens):
    """What the model says of these tokens, handed to it by the front door."""
    return world.model(**{**world.sample["net_input"], world.name: tokens})[0]


def traces(model) -> tuple:
    """Everything that a replacement changes about a model while it is in force."""
    hooks = [
        len(getattr(part, name))
        for part in model.modules()
        for name in ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_always_called")
    ]
    return sum(hooks), len(decoder_input._in_force.get(model.decoder, []))


@contextmanager
def counted(module: nn.Module):
    """Count the calls of a module."""
    calls: list[int] = []
    handle = module.register_forward_hook(lambda *_: calls.append(1))
    yield calls
    handle.remove()


def test_the_decoder_reads_the_replacement(world):
    seen = []

    def replace(call):
        seen.append(call)
        return DecoderInput(world.other)

    with replaced_decoder_input(world.model, replace):
        got = world.model(**world.sample["net_input"])[0]
    assert_same(got, logits_on(world, world.other), rtol=0, atol=0)
    assert not torch.equal(got, logits_on(world, world.gold))
    (call,) = seen
    assert torch.equal(call.tokens, world.gold)
    assert (call.encoder_out is None) == (world.name == "src_tokens")
    assert traces(world.model) == (0, 0)


def test_the_replacement_may_have_another_length(world):
    longer = torch.cat([world.other, world.other[:, 1:3]], dim=1)
    for tokens in (longer, world.other[:, :2]):
        with replaced_decoder_input(world.model, lambda _, tokens=tokens: DecoderInput(tokens)):
            got = world.model(**world.sample["net_input"])[0]
        assert got.shape[:2] == tokens.shape
        assert_same(got, logits_on(world, tokens), rtol=0, atol=0)


def test_the_gradient_is_that_of_the_replacement(world):
    weights = torch.randn_like(logits_on(world, world.other))
    parameters = list(world.model.parameters())

    def gradient(logits):
        return torch.autograd.grad((logits * weights).sum(), parameters, allow_unused=True)

    with replaced_decoder_input(world.model, lambda _: DecoderInput(world.other)):
        got = gradient(world.model(**world.sample["net_input"])[0])
    for mine, theirs in zip(got, gradient(logits_on(world, world.other)), strict=True):
        assert (mine is None) == (theirs is None)
        assert mine is None or torch.equal(mine, theirs)


def test_through_a_distributed_wrapper(world):
    class Wrapped(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, *args, **kwargs):
            return self.module(*args, **kwargs)

    wrapper = ModuleProxyWrapper(Wrapped(world.model))
    with replaced_decoder_input(wrapper, lambda _: DecoderInput(world.other)):
        got = wrapper(**world.sample["net_input"])[0]
    assert_same(got, logits_on(world, world.other), rtol=0, atol=0)


@torch.no_grad()
def test_more_passes_inside_one_forward(world):
    """``read`` gives logits on any input, even where the model was asked for features."""
    found = []

    def replace(call):
        found.append(call.read(DecoderInput(call.tokens)))
        found.append(call.read(DecoderInput(world.other)))
        return DecoderInput(world.other)

    with (
        counted(world.model.decoder) as decoder,
        counted(getattr(world.model, "encoder", nn.Module())) as encoder,
        replaced_decoder_input(world.model, replace),
    ):
        features = world.model(**world.sample["net_input"], features_only=True)[0]
    assert features.size(-1) == 8
    assert len(decoder) == 3
    assert len(encoder) == (1 if world.name == "prev_output_tokens" else 0)
    assert_same(found[0], logits_on(world, world.gold), rtol=0, atol=0)
    assert_same(found[1], logits_on(world, world.other), rtol=0, atol=0)


def test_the_innermost_wins(world):
    """A criterion has its way under a task; where it wants gold, it gets gold."""

    def refuse(call):
        raise AssertionError("the outer replacement must not act")

    third = torch.where(world.gold.eq(PAD), world.gold, 4)
    with replaced_decoder_input(world.model, refuse):
        with replaced_decoder_input(world.model, lambda _: DecoderInput(world.other)):
            inner = world.model(**world.sample["net_input"])[0]
            with unreplaced_decoder_input(world.model):
                gold = world.model(**world.sample["net_input"])[0]
            with replaced_decoder_input(world.model, lambda _: DecoderInput(third)):
                innermost = world.model(**world.sample["net_input"])[0]
            again = world.model(**world.sample["net_input"])[0]
        with pytest.raises(AssertionError, match="the outer replacement must not act"):
            world.model(**world.sample["net_input"])
    assert_same(inner, logits_on(world, world.other), rtol=0, atol=0)
    assert_same(gold, logits_on(world, world.gold), rtol=0, atol=0)
    assert_same(innermost, logits_on(world, third), rtol=0, atol=0)
    assert_same(again, inner, rtol=0, atol=0)
    assert traces(world.model) == (0, 0)


@torch.no_grad()
def test_incremental_decoding_is_left_alone(world):
    model = world.model.eval()
    keywords = {}
    if world.name == "prev_output_tokens":
        net_input = world.sample["net_input"]
        keywords["encoder_out"] = model.encoder(net_input["src_tokens"], net_input["src_lengths"])

    def steps():
        state = {}
        return [
            model.decoder(world.gold[:, :t], incremental_state=state, **keywords)[0]
            for t in (1, 2, 3)
        ]

    want = torch.cat(steps())
    with replaced_decoder_input(model, lambda _: DecoderInput(world.other)):
        got = torch.cat(steps())
    assert_same(got, want, rtol=0, atol=0)


def explode(*_, **__):
    raise RuntimeError("boom")


@pytest.mark.parametrize("where", ["replace", "read", "decoder", "body"])
def test_nothing_stays_behind_after_an_exception(where, world, monkeypatch):
    model = world.model
    want = logits_on(world, world.gold)
    embeddings = torch.zeros(*world.gold.shape, 8, dtype=torch.float64)
    kept = torch.zeros_like(world.gold, dtype=torch.bool)

    def replace(call):
        if where == "replace":
            explode()
        given = DecoderInput(world.other, embeddings, kept)
        if where == "read":
            monkeypatch.setattr(model.decoder.layers[0], "forward", explode)
            call.read(given)
        return given

    def body():
        if where == "decoder":
            monkeypatch.setattr(model.decoder.layers[0], "forward", explode)
        try:
            model(**world.sample["net_input"])
        finally:  # undone when the decoder ends, however it ends, and not only with the block
            assert not model.decoder.embed_tokens._forward_hooks
        if where == "body":
            explode()

    with pytest.raises(RuntimeError), replaced_decoder_input(model, replace):
        body()
    monkeypatch.undo()
    assert traces(model) == (0, 0)
    assert_same(logits_on(world, world.gold), want, rtol=0, atol=0)


def test_expected_embeddings_of_certain_tokens_are_these_tokens(world):
    """All the probability on one token: the same as reading it, with the same scaling."""
    kept = torch.rand(world.gold.shape) < 0.5
    mixed = torch.where(kept, world.gold, world.other)
    weight = world.model.decoder.embed_tokens.weight
    given = DecoderInput(world.gold, weight[world.other], kept)
    found = []

    def replace(call):
        found.append(call.read(given))
        return given

    with replaced_decoder_input(world.model, replace):
        found.append(world.model(**world.sample["net_input"])[0])
    want = logits_on(world, mixed)
    assert not torch.equal(mixed, world.gold)
    for logits in found:
        assert_same(logits, want)
    # The encoder, whose embeddings may be the same matrix, and later passes are not touched.
    assert traces(world.model) == (0, 0)
    assert_same(logits_on(world, mixed), want, rtol=0, atol=0)


def test_expected_embeddings_leave_a_shared_encoder_alone():
    task = tiny_task("translation")
    model = tiny_model(task, share_all_embeddings=True)
    assert model.encoder.embed_tokens is model.decoder.embed_tokens
    sample = tiny_sample(task)
    gold = sample["net_input"]["prev_output_tokens"]
    embeddings = torch.randn(*gold.shape, 8, dtype=torch.float64)
    given = DecoderInput(gold, embeddings, torch.zeros_like(gold, dtype=torch.bool))
    with replaced_decoder_input(model, lambda _: given), recorded_encoder_out(model) as found:
        got = model(**sample["net_input"])[0]
    want = model.encoder(sample["net_input"]["src_tokens"], sample["net_input"]["src_lengths"])
    assert_same(found[0]["encoder_out"][0], want["encoder_out"][0], rtol=0, atol=0)
    assert not torch.allclose(got, model(**sample["net_input"])[0])


def test_the_encoders_output_is_recorded_with_its_gradient():
    task = tiny_task("translation")
    model, sample = tiny_model(task), tiny_sample(task)
    with (
        counted(model.encoder) as calls,
        recorded_encoder_out(model) as found,
        replaced_decoder_input(model, lambda call: DecoderInput(call.tokens)),
    ):
        model(**sample["net_input"])
    assert len(calls) == 1 and len(found) == 1
    assert found[0]["encoder_out"][0].requires_grad
    assert traces(model) == (0, 0)


@pytest.mark.parametrize("fails", [False, True])
def test_evaluation_mode_restores_every_part(fails, world):
    """Frozen parts stay in evaluation mode, as people freeze them."""
    model = world.model.train()
    model.decoder.layers[0].self_attn.eval()
    model.decoder.dropout_module.training = False
    before = [part.training for part in model.modules()]
    assert len(set(before)) == 2
    try:
        with evaluation_mode(model):
            assert not any(part.training for part in model.modules())
            if fails:
                explode()
    except RuntimeError:
        assert fails
    assert [part.training for part in model.modules()] == before


def test_other_left_to_right_decoders():
    """Not the Transformer alone: a recurrent decoder has the same two doors."""
    task = tiny_task("translation")
    args = Namespace(encoder_embed_dim=8, decoder_embed_dim=8, dropout=0.0, criterion="")
    lstm_architecture(args)
    model = LSTMModel.build_model(args, task).double()
    sample = tiny_sample(task)
    gold = sample["net_input"]["prev_output_tokens"]
    other = torch.where(gold.eq(PAD), gold, 4)
    want = model(**{**sample["net_input"], "prev_output_tokens": other})[0]
    weight = model.decoder.embed_tokens.weight
    nothing = torch.zeros_like(gold, dtype=torch.bool)
    for given in (DecoderInput(other), DecoderInput(gold, weight[other], nothing)):
        with replaced_decoder_input(model, lambda _, given=given: given):
            assert_same(model(**sample["net_input"])[0], want)


def test_non_autoregressive_models_are_refused():
    task = tiny_task("translation")
    args = Namespace(encoder_layers=1, decoder_layers=1, encoder_embed_dim=8, decoder_embed_dim=8)
    nat_architecture(args)
    args.max_source_positions = args.max_target_positions = 16
    model = NATransformerModel.build_model(args, task)
    for refused in (
        lambda: require_autoregressive(model),
        lambda: replaced_decoder_input(model, explode).__enter__(),
    ):
        with refuses("NATransformerDecoder", error=UnsuitableModel):
            refused()
    assert traces(model) == (0, 0)
    with refuses("NoneType", error=UnsuitableModel):
        require_autoregressive(nn.Linear(2, 2))
    with refuses("--criterion scalegrad", "NATransformerDecoder", error=UnsuitableModel):
        require_left_to_right(model, "--criterion scalegrad")
    assert require_left_to_right(nn.Linear(2, 2), "--criterion scalegrad") is None


def test_autoregressive_models_are_not_refused(world):
    assert require_autoregressive(world.model) is None
    assert require_autoregressive(SimpleNamespace(decoder=world.model.decoder)) is None
