"""The shared token loss inside real fairseq models: value, gradient, logging, configuration."""

import itertools
import math
from types import SimpleNamespace

import fairseq.utils
import pytest
import reference
import torch
from criterions.tiny_fairseq import (
    KINDS,
    PAD,
    assert_same,
    gradients,
    reference_loss,
    tiny_criterion,
    tiny_model,
    tiny_sample,
    tiny_task,
)
from refusals import refuses

# Each criterion with its own knob turned off.
NEUTRAL = {
    "scalegrad": {"gamma": 1.0},
    "unlikelihood": {"unlikelihood_alpha": 0.0},
    "first_token_auxiliary": {"first_token_weight": 0.0},
}


@pytest.fixture(scope="module", params=KINDS)
def world(request):
    """A task, its float64 model and a sample."""
    torch.manual_seed(3)
    task = tiny_task(request.param)
    return SimpleNamespace(task=task, model=tiny_model(task), sample=tiny_sample(task))


KNOBS = [
    {"label_smoothing": eps, "gamma": gamma, "unlikelihood_alpha": alpha, "ignore_prefix_size": n}
    for eps, gamma, alpha, n in itertools.product([0.0, 0.1], [1.0, 0.2], [0.0, 0.7], [0, 1, 2])
]


def reference_of(world, knobs):
    logits = world.model(**world.sample["net_input"])[0]
    return reference_loss(
        *(logits, world.sample["target"]),
        label_smoothing=knobs["label_smoothing"],
        gamma=knobs["gamma"],
        alpha=knobs["unlikelihood_alpha"],
        prefix=knobs["ignore_prefix_size"],
    )


@pytest.mark.parametrize("knobs", KNOBS, ids=lambda knobs: "-".join(map(str, knobs.values())))
def test_equals_the_slow_loops(world, knobs):
    """All knobs together: the loss and the gradient of every parameter."""
    criterion = tiny_criterion("scalegrad", world.task, **knobs)
    loss, sample_size, log = criterion(world.model, world.sample)
    want = reference_of(world, knobs).sum()
    assert loss.dtype == torch.float64
    assert sample_size == world.sample["target"].ne(PAD).sum()
    assert_same(loss, want)
    assert_same(log["loss"], want)
    assert_same(gradients(loss, world.model), gradients(want, world.model))


@pytest.mark.parametrize("name", NEUTRAL)
def test_every_criterion_takes_the_same_knobs(world, name):
    knobs = KNOBS[-1]
    own = {"first_token_weight": 0.0} if name == "first_token_auxiliary" else {}
    loss, _, _ = tiny_criterion(name, world.task, **own, **knobs)(world.model, world.sample)
    assert_same(loss, reference_of(world, knobs).sum())


@pytest.mark.parametrize("knobs", [KNOBS[0], KNOBS[-1]], ids=["plain", "all"])
def test_without_reduction_every_position_has_its_loss(world, knobs):
    """(B*T', 1), in the order of the flattened target; zero at padding."""
    criterion = tiny_criterion("scalegrad", world.task, **knobs)
    loss, _, log = criterion(world.model, world.sample, reduce=False)
    want = reference_of(world, knobs)
    assert loss.shape == (want.numel(), 1)
    assert_same(loss.view_as(want), want)
    assert log["loss"].shape == ()
    assert_same(log["loss"], want.sum())


def test_what_is_logged(world):
    """The plain nll is logged whatever the objective, and the knobs' terms before their weight."""
    criterion = tiny_criterion(
        *("scalegrad", world.task),
        **{**KNOBS[-1], "ignore_prefix_size": 1, "report_accuracy": True},
    )
    _, _, log = criterion(world.model, world.sample)
    target = world.sample["target"]
    logits = world.model(**world.sample["net_input"])[0]
    scored = target.ne(PAD)[:, 1:]
    correct = logits.argmax(-1).eq(target)[:, 1:] & scored
    want = {
        "loss": reference_of(world, {**KNOBS[-1], "ignore_prefix_size": 1}).sum(),
        "nll_loss": reference.nll(logits, target, PAD)[:, 1:].sum(),
        "seen_mass": reference.seen_mass(logits, target, PAD)[:, 1:].mul(scored).sum(),
        "unlikelihood": reference.unlikelihood(logits, target, PAD)[:, 1:].sum(),
        "scored": scored.sum(),
        "n_correct": correct.sum(),
        "total": scored.sum(),
        "ntokens": target.ne(PAD).sum(),
        "nsentences": len(target),
        "sample_size": target.ne(PAD).sum(),
    }
    assert_same(log, want)
    assert not any(getattr(value, "requires_grad", False) for value in log.values())


@pytest.mark.parametrize("reduce", [True, False])
@pytest.mark.parametrize("sentence_avg", [False, True])
@pytest.mark.parametrize("prefix", [0, 2])
@pytest.mark.parametrize("name", NEUTRAL)
@pytest.mark.parametrize("kind", KINDS)
def test_neutral_knobs_are_fairseqs_criterion(
    kind, name, prefix, sentence_avg, reduce, monkeypatch
):
    """With its knob off, each criterion is ``label_smoothed_cross_entropy`` in all it returns."""
    # fairseq normalises in float32 whatever the model's dtype: that rounding, and no more, goes.
    monkeypatch.setattr(fairseq.utils, "log_softmax", lambda x, dim, **_: x.log_softmax(dim))
    task = tiny_task(kind)
    model, sample = tiny_model(task), tiny_sample(task)
    for eps in (0.0, 0.1):
        flags = {
            "label_smoothing": eps,
            "ignore_prefix_size": prefix,
            "sentence_avg": sentence_avg,
            "report_accuracy": True,
        }
        theirs = tiny_criterion("label_smoothed_cross_entropy", task, **flags)
        ours = tiny_criterion(name, task, **NEUTRAL[name], **flags)
        want, want_size, want_log = theirs(model, sample, reduce=reduce)
        got, got_size, got_log = ours(model, sample, reduce=reduce)
        assert got.shape == want.shape
        assert_same(got, want)
        assert got_size == want_size
        assert want_log.keys() <= got_log.keys()
        for key in want_log:  # theirs logs the loss of every position when it does not reduce
            value = want_log[key].sum() if torch.is_tensor(want_log[key]) else want_log[key]
            assert_same(got_log[key], value)
        weights = torch.linspace(0.5, 2, got.numel(), dtype=torch.float64).view_as(got)
        assert_same(
            gradients((got * weights).sum(), model), gradients((want * weights).sum(), model)
        )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["scalegrad", "unlikelihood", "first_token_auxiliary"])
def test_half_precision_logits_give_a_float32_loss(name, dtype):
    """The loss of the rounded logits, computed in float32: far closer than half precision is."""
    task = tiny_task("language")
    model, sample = tiny_model(task, dtype), tiny_sample(task)
    knobs = {"gamma": 0.2, "unlikelihood_alpha": 0.7, "label_smoothing": 0.1}
    own = {"first_token_weight": 0.0} if name == "first_token_auxiliary" else {}
    loss, _, log = tiny_criterion(name, task, **own, **knobs)(model, sample)
    logits = model(**sample["net_input"])[0]
    assert logits.dtype == dtype
    assert loss.dtype == log["loss"].dtype == log["nll_loss"].dtype == torch.float32
    want = reference_loss(
        *(logits.double(), sample["target"]), label_smoothing=0.1, gamma=0.2, alpha=0.7
    )
    assert_same(loss, want.sum(), rtol=1e-5)
    for gradient in gradients(loss, model).values():
        assert gradient.dtype == dtype
        assert gradient.isfinite().all()


OUT_OF_RANGE = [
    *[("scalegrad", "--gamma", value) for value in (0.0, -1.0, 1.5, math.nan)],
    *[("unlikelihood", "--unlikelihood-alpha", value) for value in (-1.0, math.nan, math.inf)],
    *[("unlikelihood", "--label-smoothing", value) for value in (1.0, -0.1, math.nan)],
    *[("first_token_auxiliary", "--first-token-weight", v) for v in (-0.1, 1.1, math.nan)],
    ("scalegrad", "--ignore-prefix-size", -1),
    # Every criterion has every shared flag.
    ("first_token_auxiliary", "--gamma", 0.0),
    ("scalegrad", "--unlikelihood-alpha", -0.5),
]


@pytest.mark.parametrize(("name", "flag", "value"), OUT_OF_RANGE)
def test_a_value_out_of_range_is_refused_when_built(name, flag, value):
    """Before the first batch, in one line with the flag and what was given."""
    field = flag[2:].replace("-", "_")
    with refuses(flag, value):
        tiny_criterion(name, tiny_task("language"), **{field: value})


@pytest.mark.parametrize("name", NEUTRAL)
def test_the_ends_of_the_ranges_are_allowed(name):
    task = tiny_task("language")
    flags = {"gamma": 1e-6, "unlikelihood_alpha": 1e6, "label_smoothing": 0.999}
    if name == "first_token_auxiliary":
        flags["first_token_weight"] = 1.0
    loss, _, _ = tiny_criterion(name, task, **flags)(tiny_model(task), tiny_sample(task))
    assert loss.isfinite()


@pytest.mark.parametrize("name", NEUTRAL)
def test_a_task_without_a_target_dictionary_is_refused(name):
    class SourceOnlyTask:
        target_dictionary = None

    with refuses(f"--criterion {name}", "SourceOnlyTask"):
        tiny_criterion(name, SourceOnlyTask())
