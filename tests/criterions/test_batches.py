"""How a loss depends on the batch: splitting, order, padding, empty batches, and many workers."""

import math

import pytest
import reference
import torch
from criterions.tiny_fairseq import (
    KINDS,
    PAD,
    SENTENCES,
    assert_same,
    gradients,
    tiny_criterion,
    tiny_model,
    tiny_sample,
    tiny_task,
)
from fairseq.logging import metrics

from genft_fairseq.criterions import token_criterion

FLAGS = {"label_smoothing": 0.1, "gamma": 0.2, "unlikelihood_alpha": 0.7, "report_accuracy": True}
CRITERIONS = ["scalegrad", "unlikelihood", "first_token_auxiliary"]


@pytest.fixture(scope="module", params=KINDS)
def world(request):
    torch.manual_seed(4)
    task = tiny_task(request.param)
    return task, tiny_model(task)


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("name", CRITERIONS[:2])
@pytest.mark.parametrize("cut", [1, 2])
def test_splitting_a_batch_gives_the_sum(world, name, prefix, cut):
    """Of losses, gradients and everything logged (``--update-freq``, several workers)."""
    task, model = world
    criterion = tiny_criterion(name, task, ignore_prefix_size=prefix, **FLAGS)
    whole, size, log = criterion(model, tiny_sample(task))
    parts = [
        criterion(model, tiny_sample(task, rows)) for rows in (SENTENCES[:cut], SENTENCES[cut:])
    ]
    assert_same(sum(loss for loss, _, _ in parts), whole)
    assert sum(part_size for _, part_size, _ in parts) == size
    assert_same({key: sum(part[2][key] for part in parts) for key in log}, log)
    both = [gradients(loss, model) for loss, _, _ in parts]
    assert_same({key: both[0][key] + both[1][key] for key in both[0]}, gradients(whole, model))


@pytest.mark.parametrize("name", CRITERIONS)
def test_the_order_of_rows_is_nothing(world, name):
    task, model = world
    criterion = tiny_criterion(name, task, **FLAGS)
    sample = tiny_sample(task)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = {**sample, "target": sample["target"][order]}
    shuffled["net_input"] = {key: value[order] for key, value in sample["net_input"].items()}
    want, _, want_log = criterion(model, sample)
    got, _, got_log = criterion(model, shuffled)
    assert_same(got, want)
    assert_same(got_log, want_log)
    positions = criterion(model, sample, reduce=False)[0].view(len(order), -1)
    moved = criterion(model, shuffled, reduce=False)[0].view(len(order), -1)
    assert_same(moved, positions[order])


@pytest.mark.parametrize("name", CRITERIONS)
def test_more_padding_is_nothing(world, name):
    """Columns of padding to the right of the target, as buckets of lengths make them."""
    task, model = world
    criterion = tiny_criterion(name, task, **FLAGS)
    sample = tiny_sample(task)
    target = torch.nn.functional.pad(sample["target"], (0, 3), value=PAD)
    decoder_input = "prev_output_tokens" if "prev_output_tokens" in sample["net_input"] else None
    key = decoder_input or "src_tokens"
    longer = torch.nn.functional.pad(sample["net_input"][key], (0, 3), value=PAD)
    padded = {**sample, "target": target, "net_input": {**sample["net_input"], key: longer}}
    want, _, want_log = criterion(model, sample)
    got, _, got_log = criterion(model, padded)
    assert_same(got, want)
    assert_same(got_log, want_log)
    assert_same(gradients(got, model), gradients(want, model))


def empty(sample):
    """Nothing but padding to predict."""
    return {**sample, "target": torch.full_like(sample["target"], PAD), "ntokens": 0}


@pytest.mark.parametrize("name", CRITERIONS)
def test_every_batch_logs_the_same_finite_figures(world, name):
    """Workers sum their figures key by key, and a dummy batch (its loss times 0) must not poison.

    Ordinary, a single token, nothing but padding; a prefix shorter and longer than all rows.
    """
    task, model = world
    samples = [tiny_sample(task), tiny_sample(task, [[2]]), empty(tiny_sample(task))]
    keys = set()
    for prefix in (0, 3, 8, 50):
        criterion = tiny_criterion(name, task, ignore_prefix_size=prefix, **FLAGS)
        for sample in samples:
            loss, _, log = criterion(model, sample)
            keys.add(tuple(sorted(log)))
            assert all(torch.as_tensor(value).isfinite() for value in log.values())
            scored = sample["target"][:, prefix:].ne(PAD).any()
            assert bool(loss > 0) == bool(scored)
            assert all(gradient.isfinite().all() for gradient in gradients(loss, model).values())
    assert len(keys) == 1


FIGURES = ("seen_mass", "unlikelihood", "first_token_nll")


@pytest.fixture
def exact_figures(monkeypatch):
    """The log rounds a method's figure to four digits; here they are compared before that."""
    monkeypatch.setattr(token_criterion, "round", lambda value, digits: value, raising=False)


def meters(criterion, outputs):
    """What the training log shows: the meters after ``reduce_metrics``."""
    with metrics.aggregate(new_root=True) as aggregated:
        type(criterion).reduce_metrics(outputs)
    found = {key: float(meter.avg) for key, meter in aggregated.items() if hasattr(meter, "avg")}
    values = aggregated.get_smoothed_values()  # the derived figures, rounded
    shown = [key for key in ("ppl", "accuracy", *FIGURES) if key in values]
    return {**found, **{key: float(values[key]) for key in shown}}


@pytest.mark.usefixtures("exact_figures")
@pytest.mark.parametrize("sentence_avg", [False, True])
@pytest.mark.parametrize("name", CRITERIONS)
def test_two_workers_report_the_figures_of_the_joint_batch(world, name, sentence_avg):
    """Sums over workers of different sizes, and every figure against its loop, losses in bits."""
    task, model = world
    criterion = tiny_criterion(name, task, sentence_avg, **FLAGS)
    assert criterion.logging_outputs_can_be_summed()
    batch = tiny_sample(task)
    joint = criterion(model, batch)[2]
    parts = [
        criterion(model, tiny_sample(task, rows))[2] for rows in (SENTENCES[:1], SENTENCES[1:])
    ]
    if name == "first_token_auxiliary":
        for part in parts:  # its loss has a ratio of its own in every micro-batch
            del part["loss"]
        parts[0]["loss"], parts[1]["loss"] = 0.25 * joint["loss"], 0.75 * joint["loss"]
    summed = {key: sum(part[key] for part in parts) for key in joint}
    got = meters(criterion, [joint])
    assert_same(meters(criterion, parts), got)
    assert_same(meters(criterion, [summed]), got)
    # A worker whose batch is all padding changes nothing either.
    nothing = criterion(model, empty(batch))[2]
    nothing = {**nothing, "sample_size": 0, "nsentences": 0}
    assert_same(meters(criterion, [joint, nothing]), got)

    target, logits = batch["target"], model(**batch["net_input"])[0]
    scored = target.ne(PAD)
    ntokens = int(scored.sum())
    nll = reference.nll(logits, target, PAD)
    seen = reference.seen_mass(logits, target, PAD).sum() / ntokens
    unlikelihood = reference.unlikelihood(logits, target, PAD).sum() / ntokens / math.log(2)
    correct = int((logits.argmax(-1).eq(target) & scored).sum())
    nll_bits = float(nll.sum() / ntokens / math.log(2))
    size = len(target) if sentence_avg else ntokens
    assert_same(got["loss"], joint["loss"] / size / math.log(2))
    assert_same(got["nll_loss"], nll_bits)
    assert got["ppl"] == pytest.approx(2**nll_bits, abs=0.006)
    assert got["accuracy"] == pytest.approx(100 * correct / ntokens, abs=0.0006)
    assert_same(got["seen_mass"], seen)
    assert_same(got["unlikelihood"], unlikelihood)
    assert ("first_token_nll" in got) == (name == "first_token_auxiliary")
    if name == "first_token_auxiliary":
        assert_same(got["first_token_nll"], nll[:, 0].mean() / math.log(2))


@pytest.mark.usefixtures("exact_figures")
@pytest.mark.parametrize("name", CRITERIONS)
def test_the_figures_of_an_epoch_weigh_every_update_by_its_tokens(world, name):
    """One ``reduce_metrics`` an update: the mean is over tokens (or sentences), not updates."""
    task, model = world
    flags = {**FLAGS, "first_token_weight": 0.0} if name == "first_token_auxiliary" else FLAGS
    criterion = tiny_criterion(name, task, **flags)
    updates = [
        criterion(model, tiny_sample(task, rows))[2] for rows in (SENTENCES[:1], SENTENCES[1:])
    ]
    want = meters(criterion, [criterion(model, tiny_sample(task))[2]])
    with metrics.aggregate(new_root=True) as aggregated:
        for update in updates:
            type(criterion).reduce_metrics([update])
    for figure in want.keys() - {"ppl", "accuracy", "total", "n_correct", *FIGURES}:
        assert_same(aggregated[figure].avg, want[figure])
    values = aggregated.get_smoothed_values()
    for figure in want.keys() & set(FIGURES):
        assert_same(values[figure], want[figure])
    assert values["ppl"] == pytest.approx(want["ppl"])
    assert values["accuracy"] == pytest.approx(want["accuracy"])


def test_padding_is_never_a_correct_prediction(world, monkeypatch):
    """Even by a model that predicts padding everywhere."""
    task, model = world

    def sure_of_padding(net_output, log_probs, sample=None):
        logits = net_output[0].clone()
        logits[..., PAD] = 100.0
        return logits.log_softmax(-1)

    monkeypatch.setattr(model.decoder, "get_normalized_probs", sure_of_padding, raising=False)
    criterion = tiny_criterion("scalegrad", task, report_accuracy=True)
    _, _, log = criterion(model, tiny_sample(task))
    assert (log["n_correct"], log["total"]) == (0, sum(map(len, SENTENCES)))


def test_a_figure_nobody_asked_for_is_not_computed(world):
    """Each criterion logs its own figure; the other costs time and appears when its knob is on."""
    task, model = world
    sample = tiny_sample(task)
    own = {"seen_mass", "unlikelihood"}
    logged = {
        name: own & criterion(model, sample)[2].keys()
        for name, criterion in {
            "scalegrad": tiny_criterion("scalegrad", task, gamma=1.0),
            "unlikelihood": tiny_criterion("unlikelihood", task, unlikelihood_alpha=0.0),
            "first": tiny_criterion("first_token_auxiliary", task),
            "both": tiny_criterion("scalegrad", task, unlikelihood_alpha=0.1),
        }.items()
    }
    assert logged == {
        "scalegrad": {"seen_mass"},
        "unlikelihood": {"unlikelihood"},
        "first": set(),
        "both": own,
    }
