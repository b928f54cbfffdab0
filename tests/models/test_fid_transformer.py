"""Fusion-in-Decoder: what it is without its economies, and that each economy is what it says."""

from argparse import Namespace

import pytest
import torch
from criterions.tiny_fairseq import EOS, PAD, gradients, tiny_criterion
from fairseq.models import ARCH_CONFIG_REGISTRY
from fairseq.models.transformer import TransformerModel
from fairseq.sequence_generator import SequenceGenerator
from models.tiny_fid import (
    OPTIONS,
    PASSAGES,
    TARGETS,
    plain_transformer,
    tiny_model,
    tiny_sample,
    tiny_task,
)
from refusals import refuses
from torch.utils._python_dispatch import TorchDispatchMode

from genft_fairseq.generation.candidates import sample_candidates, sequence_lprobs
from genft_fairseq.generation.rollout import read_prefix, rows_of_encoder_out
from genft_fairseq.generation.sampling import Search
from genft_fairseq.models.fid.encoder import FiDEncoder, read_rows

ONE = [[[5, 6, 7, EOS]], [[12, 13, 14, 8, 4, EOS]], [[9, EOS]]]
SIDES = [True, False]
# Some of fairseq computes in single precision whatever its input, the softmax of incremental
# decoding among it, so that a difference in the last digit of a double may become one there.
SINGLE = {"rtol": 1e-4, "atol": 1e-4}


def logits_of(model, sample):
    return model(**sample["net_input"])[0]


def generator(model, beam=3, max_len=9, **keywords):
    return SequenceGenerator(
        [model], tiny_task().target_dictionary, beam_size=beam, max_len_b=max_len, **keywords
    )


def hypotheses(model, sample, **keywords):
    found = generator(model, **keywords).generate([model], sample)
    return [[(h["tokens"].tolist(), float(h["score"])) for h in beam] for beam in found]


# --- (a) one passage: fairseq's own Transformer ---------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("flags", [{}, {"dropout": 0.3, "attention_dropout": 0.2}], ids=str)
def test_one_passage_is_fairseqs_own_transformer(flags, training, dtype):
    mine, its = tiny_model(**flags).to(dtype), plain_transformer(**flags).to(dtype)
    assert list(mine.state_dict()) == list(its.state_dict())
    its.load_state_dict(mine.state_dict())
    sample = tiny_sample(ONE)
    flat = {**sample["net_input"], "src_tokens": sample["net_input"]["src_tokens"][:, 0]}
    found = []
    for model, given in ((mine, sample["net_input"]), (mine, flat), (its, flat)):
        model.train(training)
        torch.manual_seed(7)
        logits, extra = model(**given)
        found.append((logits, extra["attn"][0], gradients(logits.logsumexp(-1).sum(), model)))
    for logits, attn, gradient in found[:2]:
        assert torch.equal(logits, found[2][0])
        assert torch.equal(attn, found[2][1])
        assert all(torch.equal(gradient[name], want) for name, want in found[2][2].items())


@pytest.mark.parametrize("beam", [1, 3])
def test_one_passage_decodes_as_fairseqs_own(beam):
    mine, its = tiny_model().eval(), plain_transformer().eval()
    its.load_state_dict(mine.state_dict())
    sample = tiny_sample(ONE)
    flat = {"net_input": {**sample["net_input"]}, "id": sample["id"]}
    flat["net_input"]["src_tokens"] = sample["net_input"]["src_tokens"][:, 0]
    # A limit of length of a * S + b counts passages where there are several: here it is b alone.
    assert hypotheses(mine, sample, beam=beam) == hypotheses(its, flat, beam=beam)


def test_a_checkpoint_of_fairseqs_own_is_taken():
    its = plain_transformer()
    mine = tiny_model(seed=2, cross_attention_interval=2, decoder_kv_heads=2)
    mine.load_state_dict(its.state_dict())
    kept = mine.decoder.layers[1].encoder_attn
    assert torch.equal(kept.q_proj.weight, its.decoder.layers[1].encoder_attn.q_proj.weight)


# --- (b) economies that are off -------------------------------------------------------------------


def test_economies_that_save_nothing_change_nothing():
    plain = tiny_model()
    same = tiny_model(first_k=7, cross_attention_interval=1, decoder_kv_heads=4)
    same.load_state_dict(plain.state_dict())
    for left in SIDES:
        sample = tiny_sample(left=left)
        plain.encoder.fusion.left_pad = same.encoder.fusion.left_pad = left
        assert torch.equal(logits_of(plain, sample), logits_of(same, sample))
        assert hypotheses(plain.eval(), sample) == hypotheses(same.eval(), sample)
        plain.train(), same.train()


# --- what fusion is -------------------------------------------------------------------------------


@pytest.mark.parametrize("left", SIDES)
@pytest.mark.parametrize("first_k", [None, 1, 3])
@pytest.mark.parametrize("at_once", [0, 1, 2, 50])
def test_each_passage_is_encoded_alone_and_all_are_read(first_k, at_once, left):
    """By fairseq's own encoder, passage by passage, and fairseq's own decoder."""
    mine, its = tiny_model(first_k=first_k, passages_at_once=at_once), plain_transformer()
    its.load_state_dict(mine.state_dict())
    mine.encoder.fusion.left_pad = left
    sample = tiny_sample(left=left)
    got = logits_of(mine, sample)
    for row, (passages, target) in enumerate(zip(PASSAGES, TARGETS, strict=True)):
        encoded = [its.encoder(torch.tensor([pair]))["encoder_out"][0] for pair in passages]
        joined = torch.cat([vectors[:first_k] for vectors in encoded])
        mask = torch.zeros(1, len(joined), dtype=torch.bool)
        encoder_out = {"encoder_out": [joined], "encoder_padding_mask": [mask]}
        read = torch.tensor([[EOS, *target[:-1]]])
        want = its.decoder(read, encoder_out=encoder_out)[0]
        torch.testing.assert_close(got[row : row + 1, : len(target)], want)


@pytest.mark.parametrize("at_once", [1, 2])
def test_encoding_in_parts_has_the_same_gradient(at_once):
    whole, parts = tiny_model(), tiny_model(passages_at_once=at_once)
    parts.load_state_dict(whole.state_dict())
    found = []
    for model in (whole, parts):
        logits = logits_of(model, tiny_sample())
        found.append(gradients(logits.log_softmax(-1)[..., 5].sum(), model))
    for name, want in found[0].items():
        torch.testing.assert_close(found[1][name], want)


def test_dropout_of_parts_is_the_same_when_they_are_computed_again():
    """The gradient agrees with a difference quotient, which draws the same dropout twice."""
    model = tiny_model(passages_at_once=2, dropout=0.3)
    weight = model.encoder.layers[0].fc1.weight

    def value():
        torch.manual_seed(4)
        return logits_of(model, tiny_sample()).log_softmax(-1)[..., 5].sum()

    gradient = torch.autograd.grad(value(), weight)[0]
    index = divmod(int(gradient.abs().argmax()), weight.size(1))
    step = 1e-4  # some of fairseq computes in single precision
    with torch.no_grad():
        weight[index] += step
        more = value()
        weight[index] -= 2 * step
        less = value()
    torch.testing.assert_close(gradient[index], (more - less) / (2 * step), rtol=1e-2, atol=0)


# --- (c) padding ----------------------------------------------------------------------------------


@pytest.mark.parametrize("left", SIDES)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_padding_passages_change_nothing(options, left):
    model = tiny_model(**options)
    model.encoder.fusion.left_pad = left
    want = logits_of(model, tiny_sample(left=left))
    got = logits_of(model, tiny_sample(left=left, more=2))
    torch.testing.assert_close(got, want)
    for row in range(len(PASSAGES)):
        alone = tiny_sample(PASSAGES[row : row + 1], TARGETS[row : row + 1], left)
        length = len(TARGETS[row])
        torch.testing.assert_close(logits_of(model, alone)[0], want[row, :length])


def test_a_missing_passage_may_stand_anywhere():
    model = tiny_model()
    sample = tiny_sample()
    moved = sample["net_input"]["src_tokens"][:, [2, 0, 1]]
    assert moved[1, 0].eq(PAD).all()
    moved[0] = sample["net_input"]["src_tokens"][0]
    moved[2, [0, 1, 2]] = sample["net_input"]["src_tokens"][2, [2, 0, 1]]
    want = logits_of(model, sample)
    sample["net_input"]["src_tokens"] = moved
    torch.testing.assert_close(logits_of(model, sample), want)


# --- (d) conversion -------------------------------------------------------------------------------


def test_a_trained_decoder_is_converted_by_mean_pooling():
    plain = tiny_model()
    few = tiny_model(seed=2, decoder_kv_heads=2, cross_attention_interval=3)
    few.load_state_dict(plain.state_dict())
    for number, (layer, whole) in enumerate(
        zip(few.decoder.layers, plain.decoder.layers, strict=True), start=1
    ):
        assert (layer.encoder_attn is not None) == (number == 3)
        pairs = [(layer.self_attn, whole.self_attn)]
        if layer.encoder_attn is not None:
            pairs.append((layer.encoder_attn, whole.encoder_attn))
        for grouped, full in pairs:
            for projection in ("k_proj", "v_proj"):
                weight = getattr(full, projection).weight.view(2, 2, 4, 16)  # groups, heads, rows
                want = (weight[:, 0] + weight[:, 1]) / 2
                assert torch.equal(getattr(grouped, projection).weight, want.reshape(8, 16))
            assert torch.equal(grouped.q_proj.weight, full.q_proj.weight)
    for mine, its in zip(few.encoder.parameters(), plain.encoder.parameters(), strict=True):
        assert torch.equal(mine, its)


def test_a_group_of_equal_heads_is_converted_without_a_loss():
    """Where the heads of a group have the same keys and values, nothing changes."""
    plain = tiny_model()
    with torch.no_grad():
        for layer in plain.decoder.layers:
            for attention in (layer.self_attn, layer.encoder_attn):
                for projection in (attention.k_proj, attention.v_proj):
                    for part in (projection.weight, projection.bias):
                        heads = part.view(2, 2, 4, -1)
                        heads[:, 1] = heads[:, 0]
    few = tiny_model(seed=2, decoder_kv_heads=2)
    few.load_state_dict(plain.state_dict())
    got, want = logits_of(few, tiny_sample()), logits_of(plain, tiny_sample())
    torch.testing.assert_close(got, want, **SINGLE)


# --- decoding -------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_step_by_step_as_all_at_once(options):
    model = tiny_model(**options).eval()
    sample = tiny_sample()
    read = sample["net_input"]["prev_output_tokens"]
    encoder_out = model.encoder(sample["net_input"]["src_tokens"])
    want = model.decoder(read, encoder_out=encoder_out)[0]
    state: dict = {}
    for t in range(read.size(1)):
        got = model.decoder(read[:, : t + 1], encoder_out=encoder_out, incremental_state=state)[0]
        for row, target in enumerate(TARGETS):
            if t < len(target):
                torch.testing.assert_close(got[row, 0], want[row, t], **SINGLE)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("beam", [1, 4])
def test_a_beam_that_shares_the_passages_finds_what_one_that_copies_them_does(
    options, beam, monkeypatch
):
    model = tiny_model(**options).eval()
    sample = tiny_sample()
    shared = hypotheses(model, sample, beam=beam)

    def copied(self, encoder_out, new_order):
        return read_rows({**encoder_out, "rows": [new_order]})

    monkeypatch.setattr(FiDEncoder, "reorder_encoder_out", copied)
    for mine, its in zip(shared, hypotheses(model, sample, beam=beam), strict=True):
        assert [tokens for tokens, _ in mine] == [tokens for tokens, _ in its]
        assert [score for _, score in mine] == pytest.approx([score for _, score in its])


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_score_of_a_hypothesis_is_its_probability(options):
    model = tiny_model(**options).eval()
    sample = tiny_sample()
    for row, beam in enumerate(hypotheses(model, sample, beam=3)):
        for tokens, score in beam:
            alone = tiny_sample(PASSAGES[row : row + 1], [tokens])
            lprobs = logits_of(model, alone).log_softmax(-1)[0]
            total = lprobs.gather(1, torch.tensor(tokens)[:, None]).sum()
            assert float(total) / len(tokens) == pytest.approx(score, rel=1e-5)


def bytes_of(model, state):
    """The caches of attention to the text, and to the passages."""
    sizes = [0, 0]
    for layer in model.decoder.layers:
        for kind, attention in enumerate((layer.self_attn, layer.encoder_attn)):
            held = {} if attention is None else attention._get_input_buffer(state)
            sizes[kind] += sum(
                t.nbytes for name, t in held.items() if name in ("prev_key", "prev_value")
            )
    return sizes


def test_the_cache_is_as_much_smaller_as_it_must_be():
    options = {"decoder_layers": 6, "decoder_attention_heads": 8}
    sample = tiny_sample()
    found = []
    for more in ({}, {"cross_attention_interval": 3, "decoder_kv_heads": 1}, {"first_k": 2}):
        model = tiny_model(**options, **more).eval()
        encoder_out = model.encoder(sample["net_input"]["src_tokens"])
        five = rows_of_encoder_out(model, encoder_out, torch.arange(3).repeat_interleave(5))
        state: dict = {}
        model.decoder(torch.full((15, 1), EOS), encoder_out=five, incremental_state=state)
        found.append(bytes_of(model, state))
    # 3 questions, not 15 hypotheses; S = 14 positions; keys and values of 16 doubles in 6 layers
    assert found[0] == [15 * 1 * 2 * 16 * 8 * 6, 3 * 14 * 2 * 16 * 8 * 6]
    assert found[1] == [found[0][0] / 8, found[0][1] / (3 * 8)]
    assert found[2] == [found[0][0], found[0][1] * 6 / 14]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_prefix_is_read_at_once(options):
    model = tiny_model(**options).eval()
    sample = tiny_sample()
    encoder_out = model.encoder(sample["net_input"]["src_tokens"])
    prefix = torch.tensor([[EOS, 5, 6], [EOS, 7, 8], [EOS, 9, 10]])
    state = read_prefix(model, prefix[:, :-1], encoder_out)
    got = model.decoder(prefix, encoder_out=encoder_out, incremental_state=state)[0]
    want = model.decoder(prefix, encoder_out=encoder_out)[0][:, -1:]
    torch.testing.assert_close(got, want, **SINGLE)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_candidates_and_their_probabilities(options):
    """What minimum risk does: several samples of a question, read again with their gradient."""
    model, sample = tiny_model(**options), tiny_sample()
    dictionary = tiny_task().target_dictionary
    found = sample_candidates(model, sample, 4, Search(True), dictionary, 0.0, 7)
    assert found.shape[:2] == (3, 4)
    encoder_out = model.encoder(sample["net_input"]["src_tokens"])
    first = sample["net_input"]["prev_output_tokens"][:, :1]
    owners = torch.arange(3).repeat_interleave(4)
    got = sequence_lprobs(model, encoder_out, first, found.flatten(0, 1), owners, PAD)
    for n, tokens in enumerate(found.flatten(0, 1)):
        tokens = tokens[tokens.ne(PAD)]
        alone = tiny_sample([PASSAGES[n // 4]], [tokens.tolist()])
        want = logits_of(model, alone).log_softmax(-1)[0].gather(1, tokens[:, None]).sum()
        torch.testing.assert_close(got[n], want)


# --- training -------------------------------------------------------------------------------------

CRITERIONS = {
    "label_smoothed_cross_entropy": {"label_smoothing": 0.1},
    "scalegrad": {"gamma": 0.3},
    "unlikelihood": {},
    "first_token_auxiliary": {},
    "generative_rollout": {"rollout_rate": 1.0},
    "sequence_unlikelihood": {"sequence_rate": 1.0, "sequence_max_len_b": 12, "sequence_ngram": 1},
    "minimum_risk": {"risk_max_len_a": 0.0, "risk_max_len_b": 6},
}


@pytest.mark.parametrize("chunk", [0, 4])
@pytest.mark.parametrize("name", CRITERIONS)
@pytest.mark.parametrize("options", [OPTIONS["plain"], OPTIONS["all"]], ids=["plain", "all"])
def test_every_criterion_trains_it(options, name, chunk):
    if chunk and name == "label_smoothed_cross_entropy":
        pytest.skip("fairseq's criterion has no chunks")
    flags = {"loss_chunk_size": chunk} if chunk else {}
    model = tiny_model(**options)
    criterion = tiny_criterion(name, tiny_task(), **CRITERIONS[name], **flags)
    losses = []
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(12):
        torch.manual_seed(1)
        loss = criterion(model, tiny_sample())[0]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    found = {name: p.grad for name, p in model.named_parameters()}
    # (a criterion that trains on sampled texts alone may not weigh one part or the other)
    assert all(grad is not None and grad.isfinite().all() for grad in found.values())
    if name not in ("sequence_unlikelihood", "minimum_risk"):
        assert losses[-1] < losses[0]


# --- memory ---------------------------------------------------------------------------------------


class Largest(TorchDispatchMode):
    """Records the number of elements of the largest tensor that is made."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        for tensor in found if isinstance(found, tuple | list) else [found]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return found


@pytest.mark.parametrize("training", [True, False])
def test_no_attention_of_all_passages_at_once_is_held(training):
    """Neither the (L, L) scores of all passages, nor, in parts, their other activations."""
    N, L, heads = 8, 48, 4
    passages = [[[5] * (L - 1) + [EOS]] * N]
    found = {}
    for at_once in (0, 2):
        model = tiny_model(passages_at_once=at_once, encoder_ffn_embed_dim=64).train(training)
        with Largest() as largest, torch.set_grad_enabled(training):
            encoded = model.encoder(tiny_sample(passages, [[EOS]])["net_input"]["src_tokens"])
            if training:
                encoded["encoder_out"][0].sum().backward()
        found[at_once] = largest.elements
    assert found[0] < N * heads * L * L
    # The inner part of the feed-forward layer, of all passages and of two; then what is fused.
    assert found[0] == N * L * 64
    assert found[2] == max(2 * L * 64, N * L * 16)


# --- flags ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"first_k": 0}, ("--first-k", 0)),
        ({"decoder_kv_heads": 3}, ("--decoder-kv-heads", 3)),
        ({"decoder_kv_heads": 0}, ("--decoder-kv-heads", 0)),
        ({"cross_attention_interval": 4}, ("--cross-attention-interval", 4)),
        ({"cross_attention_interval": 0}, ("--cross-attention-interval", 0)),
        ({"passages_at_once": -1}, ("--passages-at-once", -1)),
        ({"no_cross_attention": True}, ("--no-cross-attention",)),
        ({"cross_self_attention": True}, ("--cross-self-attention",)),
    ],
)
def test_flags_out_of_range(flags, named):
    with refuses(*named):
        tiny_model(**flags)


def test_sizes():
    for name, (layers, width) in {
        "fid_transformer": (6, 512),
        "fid_transformer_base": (12, 768),
        "fid_transformer_large": (24, 1024),
    }.items():
        args = Namespace(decoder_layers=3)
        ARCH_CONFIG_REGISTRY[name](args)
        assert (args.encoder_layers, args.decoder_layers) == (layers, 3)
        assert (args.encoder_embed_dim, args.decoder_embed_dim) == (width, width)
        assert (args.first_k, args.decoder_kv_heads) == (None, None)
        assert args.encoder_normalize_before == (name != "fid_transformer")


def test_a_decoder_of_another_size_than_the_encoder():
    model = tiny_model(decoder_embed_dim=24, decoder_layers=5, decoder_kv_heads=2)
    assert len(model.decoder.layers) == 5
    assert model.decoder.layers[0].encoder_attn.k_proj.weight.shape == (2 * 6, 16)
    assert isinstance(model, TransformerModel)


@pytest.mark.parametrize("seed", range(4))
def test_layer_drop_does_not_decide_which_layers_read(seed):
    """fairseq's list of layers leaves some out whenever it is iterated over in training mode."""
    flags = {"decoder_layers": 6, "cross_attention_interval": 3, "decoder_layerdrop": 0.5}
    model = tiny_model(seed=seed, **flags)
    layers = [model.decoder.layers[number] for number in range(6)]
    assert [layer.encoder_attn is not None for layer in layers] == [False, False, True] * 2
    other = tiny_model(seed=seed + 10, **flags).train()
    other.load_state_dict(model.state_dict())
    plain = tiny_model(seed=seed, decoder_layers=6)
    other.load_state_dict(plain.state_dict())
    assert hypotheses(other.eval(), tiny_sample())


def test_layers_that_are_left_out_must_leave_one_that_reads():
    with refuses("--decoder-layers-to-keep"):
        tiny_model(decoder_layers_to_keep="0,2", cross_attention_interval=3)
    kept = tiny_model(decoder_layers_to_keep="0,2")
    assert len(kept.decoder.layers) == 2


def test_a_cheaper_checkpoint_does_not_fit_a_dearer_model():
    with refuses("--cross-attention-interval"):
        tiny_model().load_state_dict(tiny_model(cross_attention_interval=3).state_dict())
    with refuses("--decoder-kv-heads"):
        tiny_model().load_state_dict(tiny_model(decoder_kv_heads=2).state_dict())


@pytest.mark.parametrize("value", ["8", 1.5])
def test_overrides_of_another_type(value):
    with refuses("--first-k", value):
        tiny_model(first_k=value)


def test_parts_hold_the_activations_of_one_at_a_time():
    """What the backward pass needs is computed again, but for the tokens and what is fused."""
    passages = [[[5] * 23 + [EOS]] * 12]
    held = {}
    for at_once in (0, 2):
        model = tiny_model(passages_at_once=at_once, encoder_ffn_embed_dim=64)
        sizes: list[int] = []

        def keep(tensor, sizes=sizes):
            sizes.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model.encoder(tiny_sample(passages, [[EOS]])["net_input"]["src_tokens"])
        held[at_once] = sum(sizes)
    assert held[2] < held[0] / 5


def test_dropout_that_generation_retains():
    model = tiny_model(decoder_kv_heads=1, attention_dropout=0.5).eval()
    sample = tiny_sample()
    assert torch.equal(logits_of(model, sample), logits_of(model, sample))
    for layer in model.decoder.layers:
        layer.encoder_attn.dropout_module.apply_during_inference = True
    assert not torch.equal(logits_of(model, sample), logits_of(model, sample))


def test_orders_follow_each_other():
    """Reordered twice before it is read: as if the encoder had read the questions in that order."""
    model = tiny_model().eval()
    encoder_out = model.encoder(tiny_sample()["net_input"]["src_tokens"])
    first, second = torch.tensor([2, 0, 1, 1]), torch.tensor([3, 0, 0])
    twice = rows_of_encoder_out(model, rows_of_encoder_out(model, encoder_out, first), second)
    read = torch.tensor([[EOS, 5]] * 3)
    got = model.decoder(read, encoder_out=twice)[0]
    want = model.decoder(read, encoder_out=read_rows({**encoder_out, "rows": [first[second]]}))[0]
    assert torch.equal(got, want)
    assert not torch.equal(got[0], got[1])
