"""``--loss-chunk-size`` on every criterion and task: the same loss, figures and gradients."""

import logging

import pytest
import torch
from criterions.tiny_fairseq import (
    KINDS,
    assert_same,
    gradients,
    tiny_criterion,
    tiny_model,
    tiny_sample,
    tiny_task,
)
from fairseq.criterions import CRITERION_REGISTRY
from functional.test_linear_loss import Largest
from generation.test_decoder_features import MODELS, built
from models.test_gpt2 import TINY
from models.test_gpt2 import build as gpt2
from refusals import assert_names, refuses

from genft_fairseq.functional.token_mixing import GoldSchedule
from genft_fairseq.generation import decoder_output
from genft_fairseq.generation.decoder_input import replaced_decoder_input
from genft_fairseq.generation.sampling import Search
from genft_fairseq.generation.scheduled_sampling import (
    CONFIDENCES,
    MIXES,
    Mixing,
    input_replacement,
)
from genft_fairseq.generation.stateless_rng import sentence_ids

KNOBS = {"label_smoothing": 0.1, "gamma": 0.2, "unlikelihood_alpha": 0.7, "report_accuracy": True}
# Every criterion, each of its kinds of update.
CASES = {
    "scalegrad": {"scalegrad": {}, "neutral": {"gamma": 1.0, "unlikelihood_alpha": 0.0}},
    "unlikelihood": {"unlikelihood": {"ignore_prefix_size": 1}},
    "first_token_auxiliary": {"first": {"first_token_weight": 0.3, "ignore_prefix_size": 1}},
    "generative_rollout": {
        "greedy": {"rollout_rate": 1.0},
        "sampling": {"rollout_rate": 1.0, "rollout_search": "sampling"},
        "gold": {"rollout_rate": 0.0},
    },
    "sequence_unlikelihood": {
        "own text": {
            **{"sequence_rate": 1.0, "sequence_ngram": 1, "sequence_max_len_b": 12},
            **{"sequence_prefix_length": 2, "sequence_completion_length": 4},
        },
        "no prefix": {
            **{"sequence_rate": 1.0, "sequence_prefix_length": 30},
            **{"sequence_max_len_b": 5, "sequence_completion_length": 4},
        },
    },
    "minimum_risk": {
        "sampled": {"risk_max_len_a": 0.0, "risk_max_len_b": 6, "risk_alpha": 0.5},
        "in chunks": {"risk_max_len_a": 0.0, "risk_max_len_b": 6, "risk_chunk_size": 3},
    },
}
EACH = [
    pytest.param(kind, name, flags, id=f"{kind}-{name}-{label}")
    for name, cases in CASES.items()
    for label, flags in cases.items()
    for kind in KINDS
    if not (name == "minimum_risk" and kind == "language")
]
SIZES = [1, 5, 10_000]  # the last larger than any batch


def test_every_criterion_has_a_case():
    ours = {name for name, kind in CRITERION_REGISTRY.items() if "genft" in kind.__module__}
    # in_batch_negatives projects nothing onto a vocabulary: it has no flag for chunks.
    assert ours == {*CASES, "in_batch_negatives"}


def computed(name, task, model, sample, size, **flags):
    """The loss, the log and the gradients of an update."""
    torch.manual_seed(4)
    model.train()
    flags = {**KNOBS, **flags, "loss_chunk_size": size}
    loss, sample_size, log = tiny_criterion(name, task, **flags)(model, sample)
    return {"loss": loss, "sample_size": sample_size, **log}, gradients(loss, model)


@pytest.mark.parametrize(("kind", "name", "flags"), EACH)
def test_chunks_change_nothing(kind, name, flags):
    torch.manual_seed(3)
    task = tiny_task(kind)
    model, sample = tiny_model(task), tiny_sample(task)
    want, want_gradients = computed(name, task, model, sample, 0, **flags)
    # Where no row is as long as a prefix, there is nothing to lose.
    moved = any(gradient.ne(0).any() for gradient in want_gradients.values())
    assert moved == (flags.get("sequence_prefix_length") != 30 or kind == "translation")
    for size in SIZES:
        got, got_gradients = computed(name, task, model, sample, size, **flags)
        assert_same(got, want)
        assert_same(got_gradients, want_gradients)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", ["scalegrad", "sequence_unlikelihood"])
def test_with_every_output_layer(kind, name):
    """Tied and untied, with a bias and without, decoders alone and with an encoder."""
    torch.manual_seed(3)
    task, model = built(kind)
    flags = next(iter(CASES[name].values()))
    want = computed(name, task, model, tiny_sample(task), 0, **flags)
    for got, wanted in zip(
        computed(name, task, model, tiny_sample(task), 3, **flags), want, strict=True
    ):
        assert_same(got, wanted)


def test_gpt2s_own_layer_with_its_constants(tmp_path):
    task = tiny_task("language")
    model = gpt2(tmp_path, "--arch", "gpt2", *TINY, "--dropout", "0").double()
    model.decoder.output_projection.bias += torch.randn(len(model.decoder.output_projection.bias))
    for part in model.modules():
        if "Dropout" in type(part).__name__:
            part.p = 0.0
    want = computed("scalegrad", task, model, tiny_sample(task), 0)
    got = computed("scalegrad", task, model, tiny_sample(task), 3)
    assert_same(got[0], want[0])
    assert_same(got[1], want[1])


@pytest.mark.parametrize("kind", KINDS)
def test_in_float32(kind):
    torch.manual_seed(3)
    task = tiny_task(kind)
    model, sample = tiny_model(task, torch.float32), tiny_sample(task)
    want, want_gradients = computed("scalegrad", task, model, sample, 0)
    got, got_gradients = computed("scalegrad", task, model, sample, 3)
    assert_same(got, want, rtol=1e-5, atol=1e-5)
    # A key's bias moves no softmax: its gradient is rounding error, and nothing to compare with.
    scale = max(gradient.norm() for gradient in want_gradients.values())
    for part, gradient in want_gradients.items():
        assert (got_gradients[part] - gradient).norm() <= 1e-5 * scale, part


@pytest.mark.parametrize("kind", KINDS)
def test_validation_and_single_positions(kind):
    """Without a gradient, and with a loss for each position."""
    task = tiny_task(kind)
    model, sample = tiny_model(task), tiny_sample(task)
    whole = tiny_criterion("scalegrad", task, **KNOBS)
    chunked = tiny_criterion("scalegrad", task, **KNOBS, loss_chunk_size=4)
    with torch.no_grad():
        assert_same(chunked(model, sample)[2], whole(model, sample)[2])
    loss, _, log = whole(model, sample, reduce=False)
    own, _, own_log = chunked(model, sample, reduce=False)
    assert own.shape == loss.shape
    assert_same(own, loss)
    assert_same(own_log, log)
    weights = torch.linspace(-1, 2, loss.numel(), dtype=loss.dtype)[:, None]
    want = gradients((loss * weights).sum(), model)
    assert_same(gradients((own * weights).sum(), model), want)


# --- scheduled sampling --------------------------------------------------------------------------

MIXINGS = [
    *(Mixing(1, GoldSchedule("constant", 0.3), mix, passes=2) for mix in MIXES),
    *(
        Mixing(1, GoldSchedule("confidence"), gold_below=0.1, random_above=0.2, confidence_of=of)
        for of in CONFIDENCES
    ),
    Mixing(1, GoldSchedule("constant", 0.3), "sample", search=Search(True, 0.7, 3)),
    Mixing(1, GoldSchedule("constant", 0.3), "expected_embedding", gradient=True),
]


@pytest.mark.parametrize("mixing", MIXINGS, ids=lambda m: f"{m.schedule.name}-{m.mix}-{m.gradient}")
@pytest.mark.parametrize("kind", KINDS)
def test_scheduled_sampling_in_chunks(kind, mixing):
    """Of the extra passes too: the same tokens are chosen, with the same gradient."""
    torch.manual_seed(3)
    task = tiny_task(kind)
    model, sample = tiny_model(task), tiny_sample(task)
    found = []
    for size in (0, 3, 10_000):
        replacement = input_replacement(mixing, sentence_ids(sample), 0, sample["target"], size)
        with replaced_decoder_input(model, replacement):
            found.append(computed("scalegrad", task, model, sample, size))
    for got in found[1:]:
        assert_same(got[0], found[0][0])
        assert_same(got[1], found[0][1])
    plain = computed("scalegrad", task, model, sample, 0)[0]
    assert abs(float(plain["loss"] - found[0][0]["loss"])) > 1e-6  # something was replaced


# --- memory --------------------------------------------------------------------------------------

LONG = [[4 + (7 * i + j * j) % 11 for j in range(30)] + [2] for i in range(20)]


def large_model(kind, vocabulary=2000):
    """More words than a chunk of logits may hold elements of anything else."""
    task = tiny_task(kind)
    for number in range(vocabulary):
        task.target_dictionary.add_symbol(f"more{number}")
    return task, tiny_model(task, torch.float32)


@pytest.mark.parametrize(
    ("kind", "name", "flags"), [case for case in EACH if "minimum_risk" not in case.id]
)
def test_the_logits_of_a_batch_are_never_held(kind, name, flags):
    """Nor their gradient: nothing is as large as the logits of 2 chunks, where there are 20."""
    task, model = large_model(kind)
    sample = tiny_sample(task, LONG)
    size, V = 32, len(task.target_dictionary)
    if kind == "language" and "sequence_prefix_length" in flags:  # fewer rows than a chunk has
        flags = {**flags, "sequence_prefix_length": 10, "sequence_completion_length": 15}
    criterion = tiny_criterion(name, task, **{**KNOBS, **flags, "loss_chunk_size": size})
    with Largest() as largest:
        criterion(model, sample)[0].backward()
    assert largest.numel <= 2 * size * V
    whole = tiny_criterion(name, task, **{**KNOBS, **flags})
    with Largest() as largest:
        whole(model, sample)[0].backward()
    assert largest.numel > 2 * size * V


@pytest.mark.parametrize("mixing", MIXINGS, ids=lambda m: f"{m.schedule.name}-{m.mix}-{m.gradient}")
def test_nor_by_the_passes_of_scheduled_sampling(mixing):
    task, model = large_model("translation")
    sample = tiny_sample(task, LONG)
    size, V = 32, len(task.target_dictionary)
    criterion = tiny_criterion("scalegrad", task, loss_chunk_size=size)
    replacement = input_replacement(mixing, sentence_ids(sample), 0, sample["target"], size)
    with Largest() as largest, replaced_decoder_input(model, replacement):
        criterion(model, sample)[0].backward()
    assert largest.numel <= 2 * size * V


# --- what cannot be chunked ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scalegrad", "generative_rollout"])
def test_an_adaptive_softmax_is_named_once_with_its_cost(name, caplog, monkeypatch):
    monkeypatch.setattr(decoder_output, "_warned", set())
    task = tiny_task("translation")
    model = tiny_model(task, adaptive_softmax_cutoff="6,10", adaptive_softmax_factor=2)
    sample = tiny_sample(task)
    want = tiny_criterion(name, task)(model, sample)[0]
    criterion = tiny_criterion(name, task, loss_chunk_size=8)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert_same(criterion(model, sample)[0], want)
    (warning,) = caplog.messages
    assert_names(warning, "--loss-chunk-size", 8, "4 x 8 x 15")


@pytest.mark.parametrize("name", CASES)
def test_a_negative_size_is_refused(name):
    with refuses("--loss-chunk-size", -1):
        tiny_criterion(name, tiny_task("translation"), loss_chunk_size=-1)


def test_nothing_is_left_behind_by_an_exception():
    """A model that fails in its forward returns logits the next time."""
    task = tiny_task("translation")
    model, sample = tiny_model(task), tiny_sample(task)
    criterion = tiny_criterion("scalegrad", task, loss_chunk_size=8)
    with pytest.raises(AttributeError):
        criterion(model, {**sample, "net_input": {**sample["net_input"], "src_tokens": None}})
    assert model(**sample["net_input"])[0].size(-1) == 15
