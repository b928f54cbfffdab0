"""Encoder-decoders of transformers' behind fairseq's interfaces, against transformers itself."""

import copy

import pytest
import torch
import torch.nn.functional as F
from models.imported import BOS, EOS, PAD, Imported, imported
from models.tiny_hugging_face import KINDS
from refusals import refuses
from torch import Tensor

from genft_fairseq.models.huggingface.description import Side
from genft_fairseq.models.huggingface.encoder import right_padded


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Imported]:
    torch.manual_seed(0)
    return {kind: imported(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def pair(request, models) -> Imported:
    return copy.deepcopy(models[request.param])


@torch.no_grad()
def test_logits_are_those_of_transformers(pair):
    batch = pair.batch()
    ours, theirs = batch.our_logits(), batch.their_logits()
    ids = pair.to_ids(pair.known, "target")
    largest = theirs.abs().max()
    assert largest > 1
    assert (ours[..., pair.known] - theirs[..., ids]).abs().max() <= 1e-5 * max(1, largest)
    # What transformers does not have is never predicted.
    lacking = torch.ones(ours.size(-1), dtype=torch.bool)
    lacking[pair.known] = False
    assert not ours.softmax(-1)[..., lacking].any()


@torch.no_grad()
def test_logits_in_double_precision(pair):
    pair.ours.double(), pair.theirs.double()
    batch = pair.batch(B=4, S=13, T=11)
    ids = pair.to_ids(pair.known, "target")
    difference = batch.our_logits()[..., pair.known] - batch.their_logits()[..., ids]
    # T5 computes its norms and softmax in single precision whatever it is given.
    assert difference.abs().max() < 1e-5


def test_gradients_are_those_of_transformers(pair):
    """Every parameter's; rows of the vocabulary by their ids."""
    batch = pair.batch()
    generator = torch.Generator().manual_seed(5)
    gold = pair.known[torch.randint(4, len(pair.known), batch.target.shape, generator=generator)]
    ids = pair.to_ids(gold, "target")
    F.cross_entropy(batch.our_logits().transpose(1, 2), gold).backward()
    F.cross_entropy(batch.their_logits().transpose(1, 2), ids).backward()
    trained = [p for p in pair.ours.parameters() if p.grad is not None]
    compared = 0
    for mine, their in _paired_parameters(pair):
        if their.grad is None:
            assert mine.grad is None
            continue
        gradient, side = mine.grad, None
        for name, length in (
            ("target", len(pair.described.target)),
            ("source", len(pair.described.source)),
        ):
            if len(mine) == length and len(their) == getattr(pair.described, name).size:
                side = name
                break
        if side:
            rows = torch.tensor(getattr(pair.described, side).rows)
            assert not gradient[rows < 0].any()
            kept = rows >= 0
            scattered = torch.zeros_like(their.grad)
            scattered[rows[kept]] = gradient[kept]
            gradient = scattered
        scale = max(1.0, float(their.grad.abs().max()))
        assert (gradient - their.grad).abs().max() <= 1e-4 * scale
        compared += 1
    assert compared == len(trained) > 20


def _side_of_rows(pair: Imported, mine: Tensor, their: Tensor) -> Side | None:
    """The side whose tokens are a parameter's rows, if they are."""
    for side in (pair.described.target, pair.described.source):
        if len(mine) == len(side) and len(their) == side.size:
            return side
    return None


def _paired_parameters(pair: Imported):
    """Both models' parameters, by the modules that they belong to."""
    theirs, ours = pair.theirs, pair.ours
    both = [
        (ours.encoder.stack, theirs.get_encoder()),
        (ours.decoder.output_projection, theirs.get_output_embeddings()),
    ]
    decoder = theirs.get_decoder()
    inner = getattr(decoder, "bert", None) or getattr(decoder, "roberta", None)
    inner = inner or getattr(decoder, "transformer", None) or decoder
    both.append((ours.decoder.stack, inner))
    if ours.encoder.project is not None:
        both.append((ours.encoder.project, theirs.enc_to_dec_proj))
    if ours.decoder.head is not None:
        last = decoder.cls.predictions.transform if hasattr(decoder, "cls") else decoder.lm_head
        both.append((ours.decoder.head.dense, last.dense))
        norm = getattr(last, "LayerNorm", None) or last.layer_norm
        both.append((ours.decoder.head.norm, norm))
    seen = set()
    for mine, their in both:
        known = dict(their.named_parameters())
        for name, parameter in mine.named_parameters():
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield parameter, known[name]


@torch.no_grad()
def test_padding_and_neighbours_change_nothing(pair):
    """Padding on either side, more of it, and what else is in the batch."""
    batch = pair.batch()
    whole = batch.our_logits()
    close = {"atol": 2e-5 * float(whole.abs().max()), "rtol": 0}
    wider = F.pad(batch.source, (4, 0), value=PAD)
    torch.testing.assert_close(pair.ours(wider, None, batch.target)[0], whole, **close)
    right = right_padded(batch.source, PAD)
    assert (right[2, -2:] == PAD).all() and (right[:, 0] != PAD).all()
    torch.testing.assert_close(pair.ours(right, None, batch.target)[0], whole, **close)
    for row in range(3):
        text = batch.source[row][batch.source[row] != PAD][None]
        alone = pair.ours(text, None, batch.target[row : row + 1])[0]
        torch.testing.assert_close(alone[0], whole[row], **close)
    longer = F.pad(batch.target, (0, 2), value=PAD)
    torch.testing.assert_close(pair.ours(batch.source, None, longer)[0][:, :-2], whole, **close)


def test_the_first_token_is_the_models_own(models):
    """fairseq begins with ``</s>``; only at the beginning is it another token."""
    starts = {kind: models[kind].described.start for kind in KINDS}
    assert starts["t5"] == "<pad>" and starts["bart"] == "</s>" and starts["bert2bert"] == "<s>"
    t5 = models["t5"].ours
    read = []
    handle = t5.decoder.embed_tokens.register_forward_pre_hook(lambda m, args: read.append(args[0]))
    t5(torch.tensor([[5, EOS]]), None, torch.tensor([[EOS, 6, EOS], [7, EOS, 8]])[:1])
    handle.remove()
    assert read[-1].tolist() == [[PAD, 6, EOS]]
    assert models["bert2bert"].ours.decoder.start == BOS


def test_more_tokens_than_positions(models):
    bart = models["bart"].ours
    assert bart.max_positions() == (40, 40)
    ok = torch.full((1, 40), 5)
    bart(ok, None, ok)
    with refuses("source", 41, 40):
        bart(torch.full((1, 41), 5), None, ok)
    with refuses("target", 41, 40):
        bart(ok, None, torch.full((1, 41), 5))
    t5 = models["t5"].ours
    t5(torch.full((1, 200), 5), None, torch.full((1, 200), 5))


def test_what_is_unused_is_kept_and_not_trained(models):
    bert = models["bert2bert"].ours
    pooler = list(bert.encoder.unused.parameters())
    assert pooler and not any(p.requires_grad for p in pooler)
    assert bert.encoder.stack.pooler is None
    for kind in KINDS:
        model = models[kind].ours
        model.zero_grad()
        batch = models[kind].batch()
        batch.our_logits().square().mean().backward()
        without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not without
        model.zero_grad()
