"""``--arch fid_t5``: Fusion-in-Decoder that starts from T5, and its economies."""

import copy
from argparse import Namespace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from models.imported import EOS, PAD, Imported, imported
from refusals import refuses
from torch import Tensor

from genft_fairseq.convert.encoder_decoder_checkpoint import dictionary_of
from genft_fairseq.models.fid.t5 import FiDT5Model
from genft_fairseq.models.huggingface.model import HuggingFaceModel


@pytest.fixture(scope="module", params=["t5", "t5_v1_1"])
def start(request, tmp_path_factory) -> Imported:
    torch.manual_seed(0)
    return imported(tmp_path_factory.mktemp(request.param), request.param)


def build(start: Imported, **flags: Any) -> FiDT5Model:
    """What fairseq-train builds of these flags, with the parameters that it starts from."""
    described = start.described
    dictionaries = [dictionary_of(side) for side in (described.source, described.target)]
    task: Any = SimpleNamespace(
        cfg=Namespace(left_pad_target=False),
        source_dictionary=dictionaries[0],
        target_dictionary=dictionaries[1],
        filter_indices_by_size=None,
    )
    args = Namespace(hugging_face=None, hugging_face_description=described.flat(), **flags)
    model = FiDT5Model.build_model(args, task)
    state = {name: value.clone() for name, value in start.ours.state_dict().items()}
    model.upgrade_state_dict_named(state, "")
    model.load_state_dict(state, strict=True)
    return model.eval()


def passages(start: Imported, B: int = 2, N: int = 3, L: int = 7) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    source = torch.randint(4, len(start.described.source), (B, N, L), generator=generator)
    source[..., -1] = EOS
    source[0, 1, :2] = PAD
    source[1, 2, :] = PAD  # one passage less
    target = torch.randint(4, len(start.described.target), (B, 5), generator=generator)
    target[:, 0] = EOS
    return source, target


@torch.no_grad()
def test_one_passage_is_the_t5(start):
    source, target = passages(start)
    source = source[:, :1]
    expected = start.ours(source[:, 0], None, target)[0]
    for flags in (
        {},
        {"cross_attention_interval": 1, "decoder_kv_heads": 4, "passages_at_once": 2},
    ):
        model = build(start, **flags)
        assert torch.equal(model(source, None, target)[0], expected)
        assert torch.equal(model(source[:, 0], None, target)[0], expected)
    first = build(start, first_k=7)
    torch.testing.assert_close(first(source, None, target)[0], expected)


@torch.no_grad()
def test_passages_are_encoded_alone_and_read_together(start):
    """By transformers: each passage by its encoder, and its decoder on all the vectors in a row."""
    source, target = passages(start)
    model = build(start)
    found = model(source, None, target)[0]
    theirs = start.theirs
    read = target.clone()
    read[:, 0] = PAD  # with which T5 begins
    read = start.to_ids(read, "target")
    for row in range(2):
        vectors = []
        for text in source[row]:
            text = text[text != PAD]
            if len(text):
                ids = start.to_ids(text, "source")[None]
                vectors.append(theirs.encoder(input_ids=ids).last_hidden_state[0])
        fused = (torch.cat(vectors)[None],)
        logits = theirs(encoder_outputs=fused, decoder_input_ids=read[row : row + 1]).logits[0]
        ids = start.to_ids(start.known, "target")
        close = {"atol": 1e-5 * float(logits.abs().max()), "rtol": 0}
        torch.testing.assert_close(found[row][:, start.known], logits[:, ids], **close)


ECONOMIES = (
    {},
    {"first_k": 2},
    {"cross_attention_interval": 2},
    {"decoder_kv_heads": 2},
    {"decoder_kv_heads": 1, "cross_attention_interval": 3, "first_k": 3, "passages_at_once": 2},
)


@pytest.mark.parametrize("flags", ECONOMIES, ids=str)
@torch.no_grad()
def test_padding_passages_change_nothing(start, flags):
    source, target = passages(start)
    model = build(start, **flags)
    whole = model(source, None, target)[0]
    wider = torch.cat([torch.full_like(source[:, :1], PAD), source], dim=1)
    wider = torch.nn.functional.pad(wider, (3, 0), value=PAD)
    close = {"atol": 1e-5 * float(whole.abs().max()), "rtol": 0}
    torch.testing.assert_close(model(wider, None, target)[0], whole, **close)


@pytest.mark.parametrize("flags", ECONOMIES, ids=str)
@torch.no_grad()
def test_step_by_step_and_in_a_beam(start, flags):
    """Hypotheses read one copy of their passages, and predict what they predict alone."""
    source, target = passages(start)
    model = build(start, **flags)
    whole = model(source, None, target)[0]
    encoder_out = model.encoder(source)
    rows = torch.arange(2).repeat_interleave(3)
    encoder_out = model.encoder.reorder_encoder_out(encoder_out, rows)
    state: dict = {}
    steps = []
    for t in range(5):
        tokens = target[rows, : t + 1]
        steps.append(model.decoder(tokens, encoder_out=encoder_out, incremental_state=state)[0])
        order = torch.tensor([2, 1, 0, 5, 5, 3])
        model.decoder.reorder_incremental_state_scripting(state, order)
        encoder_out = model.encoder.reorder_encoder_out(encoder_out, order)
    close = {"atol": 1e-5 * float(whole.abs().max()), "rtol": 0}
    torch.testing.assert_close(torch.cat(steps, 1), whole[rows], **close)
    held = [
        value for part, value in model.decoder.cached_tensors(state) if part == "cross_attention"
    ]
    layers = 3 // flags.get("cross_attention_interval", 1)
    assert len(held) == 2 * layers
    heads = flags.get("decoder_kv_heads", 4)
    longest = encoder_out["encoder_out"][0].size(0)
    assert {tuple(value.shape) for value in held} == {(2, heads, longest, 6)}
    if "first_k" in flags:
        assert longest <= 3 * flags["first_k"]


@torch.no_grad()
def test_heads_that_are_alike_may_be_shared(start):
    """Equal heads of a group may be one, which changes nothing; of others it is the mean."""
    alike = copy.deepcopy(start)
    for block in alike.ours.decoder.stack.block:
        for attention in (block.layer[0].SelfAttention, block.layer[1].EncDecAttention):
            for projection in (attention.k, attention.v):
                heads = projection.weight.view(2, 2, 6, -1)
                heads[:] = heads.mean(dim=1, keepdim=True)
    source, target = passages(start)
    expected = build(alike)(source, None, target)[0]
    shared = build(alike, decoder_kv_heads=2)
    close = {"atol": 1e-5 * float(expected.abs().max()), "rtol": 0}
    torch.testing.assert_close(shared(source, None, target)[0], expected, **close)
    # The same parameters come of heads that are not alike: their mean.
    pooled = build(start, decoder_kv_heads=2).state_dict()
    own = start.ours.decoder.stack.block[1].layer[1].EncDecAttention.v.weight
    expected = own.view(2, 2, 6, -1).mean(dim=1).reshape(12, -1)
    name = "decoder.stack.block.1.layer.1.EncDecAttention.v.weight"
    torch.testing.assert_close(pooled[name], expected)


def test_gradients_reach_what_is_left(start):
    source, target = passages(start)
    model = build(
        start, cross_attention_interval=2, decoder_kv_heads=2, first_k=3, passages_at_once=1
    )
    model.train()
    model(source, None, target)[0].square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []
    reading = [n for n in dict(model.named_parameters()) if "EncDecAttention" in n]
    assert {name.split(".")[3] for name in reading} == {"1"}  # the second of three layers


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"first_k": 0}, ("--first-k", 0)),
        ({"cross_attention_interval": 4}, ("--cross-attention-interval", 4)),
        ({"decoder_kv_heads": 3}, ("--decoder-kv-heads", 3)),
        ({"passages_at_once": -1}, ("--passages-at-once", -1)),
    ],
)
def test_flags_out_of_range(start, flags, named):
    with refuses(*named):
        build(start, **flags)


def test_only_a_t5(tmp_path):
    bart = imported(tmp_path, "bart")
    with refuses("--hugging-face", "bart"):
        build(bart)


def test_a_checkpoint_with_fewer_heads_is_refused(start):
    few = build(start, decoder_kv_heads=1)
    with refuses("--decoder-kv-heads"):
        build(start, decoder_kv_heads=2).upgrade_state_dict_named(few.state_dict(), "")


def test_what_a_resume_cannot_change(start):
    args = Namespace(hugging_face_description=start.described.flat(), decoder_kv_heads=None)
    found = FiDT5Model.unchanged_on_resume(args)
    assert found["--decoder-kv-heads"] == 4
    assert found["--hugging-face"].startswith("t5 ")
    plain = HuggingFaceModel.unchanged_on_resume(args)
    assert plain == {"--hugging-face": found["--hugging-face"]}
