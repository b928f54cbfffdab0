"""The bi-encoder: pooling, padding, one tower or two, its sizes, and what is refused."""

from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY
from refusals import refuses

import genft_fairseq  # noqa: F401  (registers the model)
from genft_fairseq.errors import UnsuitableModel
from genft_fairseq.models.bi_encoder import BiEncoderConfig, BiEncoderModel

PAD, EOS = 1, 2


def task(**changed):
    dictionary = Dictionary()
    for number in range(11):
        dictionary.add_symbol(f"w{number}")
    limits = {"max_question_positions": 8, "max_passage_positions": 12}
    return SimpleNamespace(
        source_dictionary=dictionary, **{"ranks_passages": True, **limits, **changed}
    )


def built(dtype=torch.float64, **flags):
    small = {
        **{"encoder_layers": 1, "encoder_embed_dim": 8, "encoder_ffn_embed_dim": 8},
        **{"encoder_attention_heads": 2, "dropout": 0.0},
    }
    torch.manual_seed(1)
    return BiEncoderModel.build_model(BiEncoderConfig(**{**small, **flags}), task()).to(dtype)


QUESTIONS = torch.tensor([[5, 6, EOS, PAD], [7, 8, 9, EOS]])
PASSAGES = torch.tensor([[5, 4, EOS], [10, EOS, PAD], [11, 12, EOS]])


def test_a_score_is_an_inner_product():
    model = built(score_scale=0.5).eval()
    scores = model(QUESTIONS, PASSAGES)
    for b, question in enumerate(QUESTIONS):
        for p, passage in enumerate(PASSAGES):
            one = model.question_encoder(question[question != PAD][None])["encoder_out"][0]
            other = model.passage_encoder(passage[passage != PAD][None])["encoder_out"][0]
            want = 0.5 * (one.mean(dim=0) @ other.mean(dim=0).T)  # (S, 1, D) each
            torch.testing.assert_close(scores[b, p], want.squeeze())
    by_vectors = model.embed_questions(QUESTIONS) @ model.embed_passages(PASSAGES).T
    torch.testing.assert_close(scores, by_vectors)


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_padding_changes_nothing(pooling):
    model = built(pooling=pooling).eval()
    alone = [model.embed_passages(row[row != PAD][None])[0] for row in PASSAGES]
    together = model.embed_passages(PASSAGES)
    torch.testing.assert_close(together, torch.stack(alone))
    wider = torch.nn.functional.pad(PASSAGES, (0, 4), value=PAD)
    torch.testing.assert_close(model.embed_passages(wider), together)
    on_the_left = torch.stack([torch.cat([r[r == PAD], r[r != PAD]]) for r in PASSAGES])
    torch.testing.assert_close(model.embed_passages(on_the_left), together)


def test_the_first_vector():
    model = built(pooling="first").eval()
    encoded = model.passage_encoder(PASSAGES)["encoder_out"][0]  # (S, P, D)
    torch.testing.assert_close(model.embed_passages(PASSAGES), encoded[0])
    assert not torch.allclose(built().eval().embed_passages(PASSAGES), encoded[0])


def test_vectors_of_length_one():
    model = built(l2_normalize=True, score_scale=20.0).eval()
    vectors = model.embed_passages(PASSAGES)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3).double())
    assert model(PASSAGES, PASSAGES).abs().max() <= 20 + 1e-9


def test_one_tower_or_two():
    shared, apart = built(share_encoders=True), built()
    assert shared.question_encoder is shared.passage_encoder
    ours, theirs = (sum(p.numel() for p in model.parameters()) for model in (shared, apart))
    assert theirs == 2 * ours
    torch.testing.assert_close(
        shared.eval().embed_questions(QUESTIONS), shared.embed_passages(QUESTIONS)
    )
    assert not torch.allclose(
        apart.eval().embed_questions(QUESTIONS), apart.embed_passages(QUESTIONS)
    )


@pytest.mark.parametrize("flags", [{}, {"share_encoders": True}, {"pooling": "first"}])
def test_one_forward_reaches_every_parameter(flags):
    model = built(**flags)
    model(QUESTIONS, PASSAGES).tanh().sum().backward()
    assert all(p.grad is not None and p.grad.ne(0).any() for p in model.parameters() if p.dim() > 1)


def test_half_precision_scores_are_float32():
    model = built(torch.float16).eval()
    scores = model(QUESTIONS, PASSAGES)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(
        scores, built(torch.float32).eval()(QUESTIONS, PASSAGES), rtol=0.02, atol=0.02
    )
    with torch.autocast("cpu", dtype=torch.float16):
        assert built(torch.float32)(QUESTIONS, PASSAGES).dtype == torch.float32


@pytest.mark.parametrize(
    ("arch", "layers", "width", "inner", "heads"),
    [
        ("bi_encoder", 6, 512, 2048, 8),
        ("bi_encoder_tiny", 2, 128, 512, 4),
        ("bi_encoder_base", 12, 768, 3072, 12),
    ],
)
def test_sizes(arch, layers, width, inner, heads):
    args = Namespace()
    ARCH_CONFIG_REGISTRY[arch](args)
    assert ARCH_MODEL_REGISTRY[arch] is BiEncoderModel
    cfg = BiEncoderConfig(**vars(args))  # of the model's own name all sizes are the defaults
    assert (cfg.encoder_layers, cfg.encoder_embed_dim) == (layers, width)
    assert (cfg.encoder_ffn_embed_dim, cfg.encoder_attention_heads) == (inner, heads)
    given = Namespace(encoder_layers=1)
    ARCH_CONFIG_REGISTRY[arch](given)
    assert given.encoder_layers == 1  # what is given stays


REFUSED = {
    "heads": ({"encoder_attention_heads": 3}, ("--encoder-attention-heads", 3)),
    "no heads": ({"encoder_attention_heads": 0}, ("--encoder-attention-heads", 0)),
    "positions": ({"max_source_positions": 11}, ("--max-source-positions", 11)),
    "scale": ({"score_scale": 0.0}, ("--score-scale", 0.0)),
    "nan": ({"score_scale": float("nan")}, ("--score-scale", "nan")),
}


@pytest.mark.parametrize(("flags", "named"), REFUSED.values(), ids=REFUSED)
def test_settings_that_make_no_model(flags, named):
    with refuses(*named):
        built(**flags)


def test_a_task_that_ranks_no_passages():
    with refuses("--arch bi_encoder", "--task", error=UnsuitableModel):
        BiEncoderModel.build_model(BiEncoderConfig(), task(ranks_passages=False))
