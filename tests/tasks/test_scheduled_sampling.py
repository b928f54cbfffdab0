"""The scheduled-sampling tasks: their flags, what they refuse, and every criterion under them."""

from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from criterions.tiny_fairseq import (
    KINDS,
    PAD,
    assert_same,
    gradients,
    tiny_criterion,
    tiny_model,
    tiny_sample,
    tiny_task,
)
from fairseq import options
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models.nat.nonautoregressive_transformer import base_architecture as nat_architecture
from fairseq.models.transformer_lm import TransformerLanguageModelConfig
from omegaconf import OmegaConf
from refusals import assert_names, refuses
from torch import nn

from genft_fairseq.errors import UnsuitableModel
from genft_fairseq.functional.token_mixing import GoldSchedule
from genft_fairseq.generation.sampling import Search
from genft_fairseq.generation.scheduled_sampling import Mixing, input_replacement
from genft_fairseq.tasks.scheduled_sampling import (
    ScheduledSamplingLanguageModelingConfig,
    ScheduledSamplingLanguageModelingTask,
    ScheduledSamplingTranslationConfig,
    ScheduledSamplingTranslationTask,
    mixing,
)

CLASSES = {
    "translation": (ScheduledSamplingTranslationTask, ScheduledSamplingTranslationConfig),
    "language": (ScheduledSamplingLanguageModelingTask, ScheduledSamplingLanguageModelingConfig),
}
INPUT = {"translation": "prev_output_tokens", "language": "src_tokens"}


def settings(kind="translation", **flags):
    return OmegaConf.structured(CLASSES[kind][1](**flags))


def sampling_task(kind, **flags):
    """The task, built from dictionaries instead of files."""
    dictionary = tiny_task(kind).target_dictionary
    if kind == "translation":
        return CLASSES[kind][0](settings(kind, **flags), dictionary, dictionary)
    return CLASSES[kind][0](settings(kind, **flags), dictionary, targets=["future"])


# --- flags ---------------------------------------------------------------------------------------

SAMPLING = Search(sampling=True)


@pytest.mark.parametrize(
    ("flags", "want"),
    [
        ("", Mixing(PAD, GoldSchedule("constant", 0.0, 0.0, 0.0))),
        ("--gold-probability 0.25", Mixing(PAD, GoldSchedule("constant", 0.25, 0.0, 0.0))),
        ("--gold-probability 1", Mixing(PAD, GoldSchedule("constant", 1.0, 0.0, 0.0))),
        (
            "--gold-schedule linear --gold-k 1.5 --gold-c 0.01 --gold-minimum 0.2",
            Mixing(PAD, GoldSchedule("linear", 0.0, 1.5, 0.01, 0.2)),
        ),
        (
            "--gold-schedule exponential --gold-k 0.99 --sampling-passes 3",
            Mixing(PAD, GoldSchedule("exponential", 0.0, 0.99), passes=3),
        ),
        (
            "--gold-schedule inverse_sigmoid --gold-k 200 --mix expected_embedding "
            "--mix-temperature 0.5 --mix-gradient",
            Mixing(
                *(PAD, GoldSchedule("inverse_sigmoid", 0.0, 200.0), "expected_embedding"),
                search=Search(True, 0.5),
                gradient=True,
            ),
        ),
        (
            "--gold-schedule decoding_step --gold-probability 0.9 --mix sample --mix-top-k 5 "
            "--mix-top-p 0.9 --mix-temperature 2",
            Mixing(
                *(PAD, GoldSchedule("decoding_step", 0.9, 0.0), "sample"),
                search=Search(True, 2.0, 5, 0.9),
            ),
        ),
        (
            "--gold-schedule composite --gold-probability 0.9 --gold-decay linear --gold-k 1 "
            "--gold-c 0.1",
            Mixing(PAD, GoldSchedule("composite", 0.9, 1.0, 0.1, decay="linear")),
        ),
        (
            "--gold-schedule composite --gold-probability 0.9 --gold-k 0.5 --gold-minimum 0.1",
            Mixing(PAD, GoldSchedule("composite", 0.9, 0.5, 0.0, 0.1)),
        ),
        (
            "--gold-schedule confidence --gold-confidence 0.7 --random-confidence 0.7",
            Mixing(PAD, GoldSchedule("confidence", 0.0, 0.0), gold_below=0.7, random_above=0.7),
        ),
        (
            "--gold-schedule confidence --confidence-of own",
            Mixing(PAD, GoldSchedule("confidence", 0.0, 0.0), confidence_of="own"),
        ),
        (
            "--gold-schedule inverse_composite --gold-probability 0.99 --gold-k 20000 "
            "--gold-decay inverse_sigmoid",
            Mixing(PAD, GoldSchedule("inverse_composite", 0.99, 2e4, decay="inverse_sigmoid")),
        ),
    ],
)
def test_flags(flags, want):
    """By fairseq's own parser."""
    got = parsed_mixing("scheduled_sampling_translation", "transformer", flags)
    assert got == Mixing(*vars(want).values())
    assert isinstance(got.search, Search) and got.search.sampling


def test_flags_of_language_modeling():
    """They are the same ones, of the same dataclass."""
    flags = "--gold-schedule exponential --gold-k 0.9 --mix sample --mix-top-k 5"
    got = parsed_mixing("scheduled_sampling_language_modeling", "transformer_lm", flags)
    schedule = GoldSchedule("exponential", 0.0, 0.9)
    assert got == Mixing(PAD, schedule, "sample", search=Search(True, top_k=5))


def parsed_mixing(task, arch, flags):
    words = ["data", "--task", task, "--arch", arch, *flags.split()]
    args = options.parse_args_and_arch(options.get_training_parser(), words)
    return mixing(convert_namespace_to_omegaconf(args).task, PAD)


@pytest.mark.parametrize("flag", ["gold-schedule", "mix", "gold-decay"])
def test_an_unknown_name_is_refused_by_the_parser(flag, capsys):
    words = ["data", "--task", "scheduled_sampling_translation", "--arch", "transformer"]
    with pytest.raises(SystemExit):
        options.parse_args_and_arch(options.get_training_parser(), [*words, f"--{flag}", "other"])
    error = capsys.readouterr().err.strip().splitlines()[-1]
    allowed = {"gold-schedule": "decoding_step", "mix": "expected_embedding"}.get(flag, "linear")
    assert_names(error, f"--{flag}", "other", allowed)


NAN = float("nan")
INF = float("inf")
LINEAR = {"gold_schedule": "linear", "gold_k": 1.0, "gold_c": 0.1}
CONFIDENCE = {"gold_schedule": "confidence"}
COMPOSITE = {"gold_schedule": "composite", "gold_probability": 0.5, "gold_k": 0.5}
REFUSED = [
    ({"gold_probability": 1.5}, ("--gold-probability", 1.5)),
    ({"gold_probability": -0.1}, ("--gold-probability", -0.1)),
    ({"gold_probability": NAN}, ("--gold-probability", "nan")),
    ({"sampling_passes": 0}, ("--sampling-passes", 0)),
    ({"mix_temperature": 0.0}, ("--mix-temperature", 0.0)),
    ({"mix_temperature": NAN}, ("--mix-temperature", "nan")),
    ({"mix_top_k": -1}, ("--mix-top-k", -1)),
    ({"mix_top_p": 0.0}, ("--mix-top-p", 0.0)),
    ({"mix_top_p": 1.5}, ("--mix-top-p", 1.5)),
    ({"mix_top_k": 3}, ("--mix-top-k", "--mix", "argmax")),
    (
        {"mix_top_p": 0.5, "mix": "expected_embedding"},
        ("--mix-top-p", "--mix", "expected_embedding"),
    ),
    ({"mix_temperature": 0.5}, ("--mix-temperature", "--mix", "expected_embedding")),
    (
        {"mix_gradient": True, "mix": "sample"},
        ("--mix-gradient", "--mix", "expected_embedding", "sample"),
    ),
    ({**CONFIDENCE, "gold_confidence": 1.0}, ("--gold-confidence", 1.0)),
    (
        {**CONFIDENCE, "gold_confidence": 0.8, "random_confidence": 0.5},
        ("--random-confidence", "--gold-confidence", 0.8, 0.5),
    ),
    ({**CONFIDENCE, "random_confidence": 1.1}, ("--random-confidence", "--gold-confidence", 1.1)),
    ({"gold_schedule": "linear"}, ("--gold-schedule", "linear", "--gold-k")),
    ({"gold_schedule": "linear", "gold_k": 1.0}, ("--gold-schedule", "linear", "--gold-c")),
    ({**LINEAR, "gold_k": -1.0}, ("--gold-k", -1.0)),
    ({**LINEAR, "gold_k": INF}, ("--gold-k", "inf")),
    ({**LINEAR, "gold_c": -0.1}, ("--gold-c", -0.1)),
    ({**LINEAR, "gold_c": 0.0}, ("--gold-schedule", "--gold-c", 0.0)),
    ({**LINEAR, "gold_minimum": 1.0}, ("--gold-minimum", 1.0)),
    ({**LINEAR, "gold_minimum": -0.5}, ("--gold-minimum", -0.5)),
    (
        {"gold_schedule": "exponential", "gold_k": 1.0},
        ("--gold-schedule", "exponential", "--gold-k", 1.0),
    ),
    ({"gold_schedule": "exponential", "gold_k": 1.1}, ("--gold-k", 1.1)),
    ({"gold_schedule": "inverse_sigmoid", "gold_k": 0.5}, ("--gold-k", 0.5)),
    (
        {"gold_schedule": "decoding_step"},
        ("--gold-schedule", "decoding_step", "--gold-probability"),
    ),
    (
        {"gold_schedule": "decoding_step", "gold_probability": 1.0},
        ("--gold-schedule", "decoding_step", "--gold-probability"),
    ),
    ({**COMPOSITE, "gold_probability": 1.0}, ("--gold-schedule", "--gold-probability", 1)),
    ({**COMPOSITE, "gold_k": None}, ("--gold-schedule", "--gold-k")),
    ({**COMPOSITE, "gold_decay": "linear"}, ("--gold-schedule", "--gold-c")),
    ({**COMPOSITE, "gold_k": 1.0}, ("--gold-schedule", "--gold-k", 1.0)),
    ({**LINEAR, "gold_probability": 0.5}, ("--gold-probability", 0.5, "--gold-schedule")),
    ({**CONFIDENCE, "gold_probability": 0.5}, ("--gold-probability", 0.5, "--gold-schedule")),
    ({"gold_k": 0.5}, ("--gold-k", 0.5, "--gold-schedule")),
    ({"gold_decay": "linear"}, ("--gold-decay", "linear", "--gold-schedule")),
    ({"gold_confidence": 0.5}, ("--gold-confidence", 0.5, "--gold-schedule")),
    ({**LINEAR, "confidence_of": "own"}, ("--confidence-of", "own", "--gold-schedule")),
    (
        {**COMPOSITE, "gold_schedule": "inverse_composite", "gold_probability": 1.0},
        ("--gold-schedule", "inverse_composite", "--gold-probability"),
    ),
    ({**LINEAR, "random_confidence": 0.99}, ("--random-confidence", 0.99, "--gold-schedule")),
    ({**COMPOSITE, "gold_c": 0.5}, ("--gold-c", 0.5, "--gold-schedule")),
    ({"gold_minimum": 0.5}, ("--gold-minimum", 0.5, "--gold-schedule")),
]


@pytest.mark.parametrize(("flags", "named"), REFUSED, ids=lambda value: str(value)[:60])
def test_refused_when_the_task_is_built(flags, named):
    """One line: the flags, and what was given."""
    for kind in KINDS:
        with refuses(*named):
            sampling_task(kind, **flags)


# --- models --------------------------------------------------------------------------------------


def test_non_autoregressive_models_are_refused():
    task = sampling_task("translation")
    args = Namespace(encoder_layers=1, decoder_layers=1, encoder_embed_dim=8, decoder_embed_dim=8)
    nat_architecture(args)
    args.max_source_positions = args.max_target_positions = 16
    args.arch = "nonautoregressive_transformer"
    named = ("--task scheduled_sampling_translation", "NATransformerDecoder")
    with refuses(*named, error=UnsuitableModel):
        task.build_model(args)


def adaptive_input():
    return TransformerLanguageModelConfig(
        **{f"decoder_{side}_dim": 8 for side in ("embed", "input", "output", "ffn_embed")},
        decoder_layers=1,
        decoder_attention_heads=2,
        tokens_per_sample=16,
        max_target_positions=16,
        add_bos_token=False,
        adaptive_input=True,
        adaptive_input_cutoff="6,10",
        adaptive_input_factor=2,
    )


def test_expected_embeddings_need_an_embedding_matrix():
    config = OmegaConf.structured(adaptive_input())
    OmegaConf.set_struct(config, False)
    config._name = "transformer_lm"
    assert sampling_task("language").build_model(config) is not None
    with refuses("--mix expected_embedding", "AdaptiveInput", error=UnsuitableModel):
        sampling_task("language", mix="expected_embedding").build_model(config)


# --- every criterion -----------------------------------------------------------------------------

KNOBS = {"label_smoothing": 0.1, "gamma": 0.3, "unlikelihood_alpha": 0.5}
# The losses of tokens are those of ordinary training on the mixed input.
OF_TOKENS = {
    "cross_entropy": {},
    "label_smoothed_cross_entropy": {"label_smoothing": 0.1},
    "scalegrad": KNOBS,
    "unlikelihood": KNOBS,
    "first_token_auxiliary": {**KNOBS, "first_token_weight": 0.3},
    "generative_rollout": {**KNOBS, "rollout_rate": 0.0},
    "sequence_unlikelihood": {
        **{**KNOBS, "sequence_rate": 0.0, "sequence_prefix_length": 2},
        "sequence_completion_length": 3,
    },
    "minimum_risk": {**KNOBS, "risk_weight": 0.0},
}
# And these train on a text of their own, which the task must not mix anything into.
OF_OWN_TEXT = {
    "generative_rollout": {"rollout_rate": 1.0},
    "sequence_unlikelihood": {
        **{"sequence_rate": 1.0, "sequence_prefix_length": 2, "sequence_completion_length": 6},
        **{"sequence_ngram": 1, "sequence_max_len_b": 8},
    },
}
MIXES = {
    "argmax": {"gold_probability": 0.4, "sampling_passes": 2},
    "sample": {"gold_schedule": "decoding_step", "gold_probability": 0.5, "mix": "sample"},
    "embedding": {"gold_probability": 0.3, "mix": "expected_embedding", "mix_gradient": True},
    "confidence": {
        **{"gold_schedule": "confidence", "gold_confidence": 0.04, "random_confidence": 0.12},
    },
}


def test_every_criterion_of_the_plugin_is_here():
    own = {
        name
        for name, criterion in CRITERION_REGISTRY.items()
        if criterion.__module__.startswith("genft_fairseq.")
    }
    own -= {"in_batch_negatives"}  # of --task retrieval, which predicts no tokens
    assert own | {"cross_entropy", "label_smoothed_cross_entropy"} == set(OF_TOKENS)


class Backward:
    """As much of an optimizer as fairseq's ``train_step`` asks for."""

    def backward(self, loss):
        loss.backward()


def worlds(kind, name, moderate=True, **flags):
    if kind == "language" and name == "minimum_risk":
        pytest.skip("minimum risk needs sources")
    task = sampling_task(kind, **flags)
    sample = tiny_sample(task)
    model = tiny_model(task)
    if moderate:  # no probability so near to 0 or 1 that a mix has no choice
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.div_(3)
    return SimpleNamespace(task=task, model=model, sample=sample, gold=INPUT[kind])


def step(world, criterion, update=0):
    """The task's own training step: the loss, and the gradient of every parameter."""
    world.model.zero_grad()
    loss, _, log = world.task.train_step(world.sample, world.model, criterion, Backward(), update)
    found = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.clone()
        for name, parameter in world.model.named_parameters()
    }
    return loss, found, log


def read_by(world, run):
    """What the decoder reads in its last pass."""
    decoder, found = world.model.decoder, []
    forward = decoder.forward
    decoder.forward = lambda tokens, *a, **k: found.append(tokens) or forward(tokens, *a, **k)
    try:
        return run(), found
    finally:
        del decoder.forward


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("name", OF_TOKENS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_with_every_criterion(kind, name, mix):
    """The loss and the gradient are this criterion's on the tokens that the mix made."""
    world = worlds(kind, name, **MIXES[mix])
    criterion = tiny_criterion(name, world.task, **OF_TOKENS[name])
    (loss, found, _), read = read_by(world, lambda: step(world, criterion))
    assert loss.isfinite() and all(gradient.isfinite().all() for gradient in found.values())
    assert sum(float(gradient.abs().sum()) for gradient in found.values()) > 0

    gold = world.sample["net_input"][world.gold]
    assert len(read) == (3 if mix == "argmax" else 2)
    assert torch.equal(read[0], gold)
    plain = criterion(world.model, world.sample)[0]
    assert not torch.isclose(loss.double(), plain.double(), rtol=1e-6)
    if mix == "embedding":
        return  # read as vectors; see tests/generation/test_scheduled_sampling.py
    mixed = {**world.sample, "net_input": {**world.sample["net_input"], world.gold: read[-1]}}
    assert not torch.equal(read[-1], gold)
    want = criterion(world.model, mixed)[0]
    # fairseq's own criterions compute in float32.
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if "cross_entropy" in name else {}
    assert_same(loss, want, **tolerance)
    assert_same(found, gradients(want, world.model), **tolerance)


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("name", OF_OWN_TEXT)
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_on_text_of_its_own(kind, name, mix):
    """In such an update the criterion says what the decoder reads, as under a plain task."""
    torch.manual_seed(1)  # a model that repeats itself
    world = worlds(kind, name, moderate=False, **MIXES[mix])
    criterion = tiny_criterion(name, world.task, **OF_OWN_TEXT[name])
    loss, found, log = step(world, criterion)
    assert log["own_text"] == 1
    world.task = tiny_task(kind)
    want, theirs, _ = step(world, criterion)
    assert_same(loss, want, rtol=0, atol=0)
    assert_same(found, theirs, rtol=0, atol=0)
    assert all(gradient.isfinite().all() for gradient in found.values())
    assert sum(float(gradient.abs().sum()) for gradient in found.values()) > 0


@pytest.mark.parametrize("search", ["sampling", "beam"])
@pytest.mark.parametrize("mix", MIXES)
def test_minimum_risk_mixes_the_token_loss_alone(mix, search):
    """Candidates are generated and scored as ever; the other part reads the mix."""
    flags = {"risk_search": search, "risk_max_len_b": 4, "risk_candidates": 3, "risk_alpha": 1.0}
    world = worlds("translation", "minimum_risk", **MIXES[mix])
    risk = tiny_criterion("minimum_risk", world.task, risk_weight=0.6, **flags)
    alone = tiny_criterion("minimum_risk", world.task, risk_weight=1.0, **flags)
    tokens = tiny_criterion("minimum_risk", world.task, risk_weight=0.0, **flags)
    loss, found, _ = step(world, risk)
    of_tokens, _, _ = step(world, tokens)
    world.task = tiny_task("translation")
    of_risk, _, _ = step(world, alone)
    assert of_risk > 0
    assert_same(loss, 0.4 * of_tokens + 0.6 * of_risk)
    assert all(gradient.isfinite().all() for gradient in found.values())


@pytest.mark.parametrize("name", OF_TOKENS)
@pytest.mark.parametrize("kind", KINDS)
def test_all_gold_is_a_plain_step(kind, name):
    """Bit for bit, at a constant 1 and under a decay that is still above 1, dropout on."""
    for flags in ({"gold_probability": 1.0}, {**LINEAR, "gold_k": 2.0}):
        world = worlds(kind, name, **flags)
        for part in world.model.modules():
            if type(part).__name__ == "FairseqDropout":
                part.p = 0.3
        criterion = tiny_criterion(name, world.task, **OF_TOKENS[name])
        torch.manual_seed(4)
        loss, found, _ = step(world, criterion, update=3)
        world.task = tiny_task(kind)
        torch.manual_seed(4)
        want, theirs, _ = step(world, criterion, update=3)
        torch.manual_seed(5)
        assert not torch.equal(step(world, criterion, update=3)[0], want)  # there is dropout
        assert torch.equal(loss, want)
        assert all(torch.equal(found[name], theirs[name]) for name in theirs)


def test_the_schedule_is_of_the_update():
    """A linear decay: gold at first, then less and less of it."""
    world = worlds("translation", "scalegrad", **{**LINEAR, "gold_c": 0.25})
    criterion = tiny_criterion("scalegrad", world.task)
    ids, target = world.sample["id"], world.sample["target"]
    losses = []
    for update in (0, 2, 4):
        (loss, _, _), read = read_by(world, lambda u=update: step(world, criterion, u))
        assert len(read) == (1 if update == 0 else 2)
        replace = input_replacement(world.task.mixing, ids, update, target)
        assert (replace is None) == (update == 0)
        losses.append(loss.item())
    assert losses[0] == criterion(world.model, world.sample)[0].item()
    assert len(set(losses)) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_validation_reads_gold(kind):
    world = worlds(kind, "scalegrad")
    criterion = tiny_criterion("scalegrad", world.task).eval()
    (got, _, _), read = read_by(
        world, lambda: world.task.valid_step(world.sample, world.model, criterion)
    )
    assert len(read) == 1
    assert torch.equal(read[0], world.sample["net_input"][world.gold])
    assert_same(got, criterion(world.model, world.sample)[0], rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_failed_step_leaves_no_hook(kind):
    """The trainer goes on after a batch that did not fit into memory."""
    world = worlds(kind, "scalegrad", mix="expected_embedding")
    criterion = tiny_criterion("scalegrad", world.task)
    want = step(world, tiny_criterion("scalegrad", world.task))[0]

    class Failing(Backward):
        def backward(self, loss):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError):
        world.task.train_step(world.sample, world.model, criterion, Failing(), 0)
    hooks = [
        handle
        for part in world.model.modules()
        if isinstance(part, nn.Module)
        for handle in (*part._forward_hooks, *part._forward_pre_hooks)
    ]
    assert hooks == []
    assert_same(step(world, criterion)[0], want, rtol=0, atol=0)


def test_ignored_gradients_are_zero():
    """A process that has run out of batches takes part with a dummy one."""
    world = worlds("translation", "scalegrad")
    criterion = tiny_criterion("scalegrad", world.task)
    loss, _, _ = world.task.train_step(
        world.sample, world.model, criterion, Backward(), 0, ignore_grad=True
    )
    assert loss == 0
    gradient = [p.grad for p in world.model.parameters() if p.grad is not None]
    assert gradient and all((g == 0).all() for g in gradient)
