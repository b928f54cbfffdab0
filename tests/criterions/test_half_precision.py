"""Half precision in every criterion: what is finite, what is float32, what padding is."""

import copy
import functools
import math
from types import SimpleNamespace

import pytest
import torch
from criterions.tiny_fairseq import (
    EOS,
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

from genft_fairseq.functional.token_mixing import GoldSchedule
from genft_fairseq.generation.candidates import beam_candidates, sample_candidates
from genft_fairseq.generation.decoder_input import replaced_decoder_input
from genft_fairseq.generation.rollout import continue_prefixes
from genft_fairseq.generation.sampling import Search
from genft_fairseq.generation.scheduled_sampling import Mixing, input_replacement

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
HALVES = DTYPES[1:]
SEQUENCE = {
    **{"sequence_rate": 1.0, "sequence_ngram": 1, "sequence_max_len_b": 6},
    **{"sequence_prefix_length": 2, "sequence_completion_length": 4},
}
RISK = {"risk_candidates": 3, "risk_reward": "chrf", "risk_alpha": 0.5, "risk_max_len_b": 6}
CRITERIONS = {
    "scalegrad": {"gamma": 0.3},
    "unlikelihood": {"unlikelihood_alpha": 0.7},
    "unlikelihood chunks": {"unlikelihood_alpha": 0.7, "gamma": 0.3, "loss_chunk_size": 4},
    "first_token_auxiliary": {"first_token_weight": 0.3},
    "generative_rollout": {"rollout_rate": 1.0},
    "generative_rollout sampling": {"rollout_rate": 1.0, "rollout_search": "sampling"},
    "sequence_unlikelihood": SEQUENCE,
    "sequence_unlikelihood chunks": {**SEQUENCE, "loss_chunk_size": 4},
    "minimum_risk": RISK,
    "minimum_risk beam": {**RISK, "risk_search": "beam"},
}
THEIRS = "label_smoothed_cross_entropy"
EVERY = [
    (kind, name)
    for kind in KINDS
    for name in CRITERIONS
    if kind == "translation" or not name.startswith("minimum_risk")
]
every_criterion = pytest.mark.parametrize(("kind", "name"), EVERY)
# What a loss scale may come to; without it, half precision overflows where logits are this large.
LOSS_SCALE = 2.0**-10

SURE, ALL = 60.0, 6e4  # a logit beside 0; about what float16 holds
LIKELIEST = [0, SURE, *[0] * 13]  # by token: <s>, padding, </s>, <unk> and eleven words
CASES = {  # rows that are all padding, logits
    "a row of padding": ([1], None),
    "nothing but padding": (range(4), None),
    "end at once": ([], [0, 0, SURE, *[0] * 12]),
    "never end": ([], [0, 0, -SURE, *[0] * 12]),
    "padding is likeliest": ([], LIKELIEST),
    "all that float16 holds": ([1], [-ALL, ALL, -ALL, *[ALL, -ALL] * 6]),
}


def steered(model, logits):
    """Let the output layer add these to the logits, wherever the decoder is."""
    norm, output = model.decoder.layers[-1].final_layer_norm, model.decoder.output_projection
    with torch.no_grad():
        norm.weight[0], norm.bias[0] = 0.0, 1.0
        output.weight.mul_(0.1)
        output.weight[:, 0] = torch.tensor(logits)
    return model


def padded(sample, rows):
    """Empty some rows, as ``--pad-to-fixed-bsz`` adds them."""
    text = sample["net_input"].get("prev_output_tokens", sample["net_input"]["src_tokens"])
    for row in rows:
        sample["target"][row] = text[row] = PAD
    sample["ntokens"] = int(sample["target"].ne(PAD).sum())
    return sample


@functools.cache
def built(kind, shrink, **flags):
    torch.manual_seed(3)
    task = tiny_task(kind)
    model = tiny_model(task, **flags)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(shrink)
    return task, model


@functools.cache
def built_criterion(kind, name, **flags):
    return tiny_criterion(name, built(kind, 1.0)[0], **flags)


def world(kind, dtype, logits=None, rows=(), shrink=1.0, **flags):
    task, model = built(kind, shrink, **flags)
    model = copy.deepcopy(model)
    model = (model if logits is None else steered(model, logits)).to(dtype)
    sample = padded(tiny_sample(task), rows)
    return SimpleNamespace(kind=kind, task=task, model=model, sample=sample)


def computed(world, name, **more):
    """The loss, the sample size, and what is logged, of a training update."""
    flags = {"label_smoothing": 0.1, **CRITERIONS.get(name, {}), **more}
    criterion = built_criterion(world.kind, name.split()[0], **flags)
    torch.manual_seed(1)  # as the trainer does, and the draws depend on it
    return criterion(world.model, world.sample)


def finite(world, name):
    loss, _, log = computed(world, name)
    found = gradients(loss * LOSS_SCALE, world.model)
    whole = [loss, *found.values(), *(value for value in log.values() if torch.is_tensor(value))]
    return all(bool(value.isfinite().all()) for value in whole)


@functools.cache
def fairseqs_own_is_finite(kind, dtype, case):
    rows, logits = CASES[case]
    return finite(world(kind, dtype, logits, rows), THEIRS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
@every_criterion
def test_finite_where_fairseqs_own_is(kind, name, case, dtype):
    """Loss, gradients and all that is logged; rollouts that end at once, and that never do."""
    rows, logits = CASES[case]
    assert fairseqs_own_is_finite(kind, dtype, case)
    assert finite(world(kind, dtype, logits, rows), name)


@pytest.mark.parametrize("dtype", DTYPES)
@every_criterion
def test_nothing_to_learn_from(kind, name, dtype):
    """A batch of nothing but padding: the loss and all gradients are 0, and it can be logged."""
    empty = world(kind, dtype, rows=range(4))
    loss, sample_size, log = computed(empty, name)
    own_text = name.startswith(("sequence_unlikelihood", "minimum_risk")) and kind == "translation"
    if not own_text:  # which come from the sources alone
        assert loss == 0 and sample_size == 0
        assert all(not value.any() for value in gradients(loss, empty.model).values())
    criterion = built_criterion(kind, name.split()[0], **CRITERIONS[name])
    with metrics.aggregate(new_root=True) as logged:
        criterion.reduce_metrics([log])
        logged.get_smoothed_values()


@pytest.mark.parametrize("dtype", HALVES)
@every_criterion
def test_the_loss_is_computed_in_float32(kind, name, dtype):
    """A model in half precision, whose logits are handed over as they are, or in float64."""
    half = world(kind, dtype)
    loss, _, log = computed(half, name, loss_chunk_size=0)
    raised = half.model.decoder.output_projection.register_forward_hook(
        lambda module, given, logits: logits.double()
    )
    exact, _, _ = computed(half, name, loss_chunk_size=0)
    raised.remove()
    assert (loss.dtype, log["loss"].dtype, exact.dtype) == (*[torch.float32] * 2, torch.float64)
    # log(1 - p) of a token that is nearly certain magnifies float32's own rounding.
    assert_same(loss, exact, rtol=1e-4 if name.startswith("sequence_unlikelihood") else 1e-5)
    if "loss_chunk_size" in CRITERIONS[name]:
        chunks, _, _ = computed(half, name)
        assert chunks.dtype == torch.float32
        # The products of the projection may be added up in another order, and rounded elsewhere.
        assert_same(chunks, exact, rtol=torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", HALVES)
@every_criterion
def test_under_autocast(kind, name, dtype):
    """As ``--amp`` calls it; no weight that autocast has kept from a rollout costs a gradient."""
    # Small weights and no corner in the activation: the model magnifies no rounding.  A wide margin
    # between the tokens: rounding changes no choice of a rollout.
    logits = [0.0, 0.0, -3.0, *(0.75 * number for number in range(12))]
    parts = world(kind, torch.float32, logits, shrink=0.5, activation_fn="gelu")
    own = {"risk_top_k": 1, "risk_include_gold": True} if name == "minimum_risk" else {}
    want, _, _ = computed(parts, name, **own)
    expected = gradients(want, parts.model)
    with torch.autocast("cpu", dtype=dtype):
        got, _, _ = computed(parts, name, **own)
    found = gradients(got, parts.model)
    bound = 4 * torch.finfo(dtype).eps
    assert got.dtype == torch.float32
    assert_same(got, want, rtol=bound)
    assert all(found[key].any() for key, value in expected.items() if value.norm() > 1e-4)
    error = math.hypot(*(float((found[key] - expected[key]).norm()) for key in expected))
    assert error < bound * math.hypot(*(float(value.norm()) for value in expected.values()))


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_logits_that_overflow_are_left_to_the_loss_scale(kind, name):
    """An infinite gradient lowers it and skips the update; an error would end the run."""
    logits = [2 * ALL, *[-2 * ALL, 0.0] * 7]
    for criterion in (THEIRS, name):
        over = world(kind, torch.float16, logits)
        loss, _, _ = computed(over, criterion)
        found = gradients(loss * LOSS_SCALE, over.model).values()
        assert not all(bool(value.isfinite().all()) for value in found), criterion


SEARCHES = {
    "greedy": Search(),
    "top-k": Search(sampling=True, top_k=5),
    "top-p": Search(sampling=True, top_p=0.9),
    "hot": Search(sampling=True, temperature=1e6),
}
PREFERENCES = {
    "padding is likeliest": LIKELIEST,
    "by far": [-ALL, ALL, *[-ALL] * 13],
    "the logits overflow": [0, 2 * ALL, *[-2 * ALL, 0] * 6, 0],
}
every_preference = pytest.mark.parametrize("logits", PREFERENCES.values(), ids=PREFERENCES)


@pytest.mark.parametrize("dtype", DTYPES)
@every_preference
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_no_rollout_chooses_padding(search, logits, dtype):
    model = world("language", dtype, logits).model.eval()
    prefix = torch.tensor([[EOS, 5], [EOS, 6], [EOS, 7]])
    text = continue_prefixes(model, prefix, 20, PAD, search)
    assert text.shape == (3, 20) and not text.eq(PAD).any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("end", [SURE, -SURE, 0.0])
@pytest.mark.parametrize("found_by", ["sampling", "beam"])
def test_candidates_hold_padding_behind_their_end_alone(found_by, end, dtype):
    parts = world("translation", dtype, [0, SURE, end, *[0] * 12])
    given = (parts.model, parts.sample, 3)
    limits = (parts.task.target_dictionary, 0.0, 6)
    if found_by == "beam":
        texts, most = beam_candidates(*given, *limits), 7  # which does not count the end
    else:
        texts, most = sample_candidates(*given, Search(sampling=True), *limits), 6
    assert texts.shape[:2] == (len(SENTENCES), 3)
    for text in texts.flatten(0, 1).tolist():
        length = text.index(PAD) if PAD in text else len(text)
        assert 2 <= length <= most
        assert set(text[length:]) <= {PAD}
        assert length == most or text[length - 1] == EOS


MIXES = [
    *(("constant", mix) for mix in ("argmax", "sample", "expected_embedding")),
    ("confidence", "argmax"),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("schedule", "mix"), MIXES)
@pytest.mark.parametrize("kind", KINDS)
@every_preference
def test_scheduled_sampling_mixes_in_no_padding(logits, kind, schedule, mix, dtype):
    """What the trained pass reads is padding where gold is; an expected embedding holds none."""
    parts = world(kind, dtype, logits, rows=[1])
    sample, model = parts.sample, parts.model
    gold = sample["net_input"].get("prev_output_tokens", sample["net_input"]["src_tokens"])
    mixing = Mixing(PAD, GoldSchedule(schedule), mix, passes=2)
    sentences = torch.arange(len(SENTENCES))
    replace = input_replacement(mixing, sentences, 0, sample["target"])
    given = []
    spy = replaced_decoder_input(model, lambda call: given.append(replace(call)) or given[0])
    with torch.no_grad(), spy:
        model(**sample["net_input"])
    (read,) = given
    assert torch.equal(read.tokens.eq(PAD), gold.eq(PAD))
    if mix != "expected_embedding":
        assert schedule == "confidence" or not torch.equal(read.tokens, gold)
    elif logits is LIKELIEST:  # padding's embedding is 0, and the others are about as likely
        lengths = read.embeddings[~read.kept].norm(dim=-1)
        assert lengths.min() > 0.05 * model.decoder.embed_tokens.weight.norm(dim=-1).mean()
