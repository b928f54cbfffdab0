"""Two processes train as one does that reads the batches of both: every criterion, every task.

Epochs have an odd number of batches, so that the second process ends each with a dummy batch.
"""

import itertools

import pytest
import torch
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.tasks import TASK_REGISTRY
from fairseq_commands import OPTIMISATION, TINY_LANGUAGE_MODEL, TINY_TRANSLATION, USER_DIR
from fid_folder import TINY_FID

# Every case is run with each of these in addition.
EXTRA_FLAGS: list[list[object]] = [[], ["--loss-chunk-size", 7]]
BACKENDS = ["pytorch_ddp", "legacy_ddp"]
MODELS = {"translation": TINY_TRANSLATION, "language_model": TINY_LANGUAGE_MODEL}
MODELS_OF_TASKS = {**MODELS, "reading": TINY_FID}

# What a criterion is tried with on either kind of data; None where it refuses the data.
CRITERIONS: dict[str, dict[str, list[object] | None]] = {
    "scalegrad": {
        "translation": ["--gamma", 0.3, "--label-smoothing", 0.1, "--report-accuracy"],
        "language_model": ["--gamma", 0.3, "--sentence-avg", "--lr", 0.05],
    },
    "unlikelihood": {
        "translation": ["--unlikelihood-alpha", 0.7, "--label-smoothing", 0.1],
        "language_model": ["--unlikelihood-alpha", 0.7, "--gamma", 0.5, "--report-accuracy"],
    },
    "first_token_auxiliary": {
        "translation": ["--first-token-weight", 0.4, "--label-smoothing", 0.1],
        "language_model": ["--first-token-weight", 0.4],
    },
    "generative_rollout": {
        "translation": ["--rollout-rate", 0.5, "--rollout-search", "sampling", "--gamma", 0.5],
        "language_model": ["--rollout-rate", 0.5, "--rollout-prefix-length", 4],
    },
    "sequence_unlikelihood": {
        "translation": [
            *("--sequence-rate", 0.5, "--sequence-ngram", 1),
            *("--sequence-max-len-a", 1, "--sequence-max-len-b", 5),
        ],
        "language_model": [
            *("--sequence-rate", 0.5, "--sequence-ngram", 1, "--unlikelihood-alpha", 0.5),
            *("--sequence-prefix-length", 5, "--sequence-completion-length", 8),
        ],
    },
    "minimum_risk": {
        "translation": ["--risk-candidates", 3, "--risk-alpha", 0.5, "--risk-reward", "chrf"],
        "language_model": None,
    },
}
MIXES: dict[str, list[object]] = {
    "argmax": ["--gold-probability", 0.4],
    "sample": ["--gold-schedule", "inverse_sigmoid", "--gold-k", 3, "--mix", "sample"],
    "expected_embedding": ["--gold-probability", 0.4, "--mix", "expected_embedding"],
    "mix_gradient": [
        *("--gold-probability", 0.4, "--mix", "expected_embedding", "--mix-gradient"),
        *("--sampling-passes", 2),
    ],
}
READING: dict[str, list[object]] = {
    "plain": [],
    "economies": [
        *("--first-k", 6, "--cross-attention-interval", 2, "--decoder-kv-heads", 1),
        *("--passages-at-once", 3, "--source-pointing", "--n-context", 3),
    ],
}
# The data of a task, and what it is tried with.
TASKS: dict[str, tuple[str, dict[str, list[object]]]] = {
    "scheduled_sampling_translation": ("translation", MIXES),
    "scheduled_sampling_language_modeling": ("language_model", MIXES),
    "fid": ("reading", READING),
}

CASES: dict[str, tuple[str, list[object]]] = {
    f"{criterion}-{kind}": (kind, ["--criterion", criterion, *flags])
    for criterion, kinds in CRITERIONS.items()
    for kind, flags in kinds.items()
    if flags is not None
} | {
    f"{task}-{name}": (kind, ["--task", task, "--criterion", "scalegrad", "--gamma", 0.5, *flags])
    for task, (kind, cases) in TASKS.items()
    for name, flags in cases.items()
}
# With which an epoch has 7 batches: on two processes 4 updates, the last with a dummy batch.
BATCH_SIZE = {"translation": 11, "language_model": 5, "reading": 11}
TRAINING = [
    *("--dropout", 0, "--optimizer", "sgd", "--lr", 0.5, "--max-epoch", 2),
    *("--max-tokens", 2000, "--required-batch-size-multiple", 1, "--num-workers", 0),
]


def command(data, name, extra):
    kind, flags = CASES[name]
    training = [*OPTIMISATION, *TRAINING, "--batch-size", BATCH_SIZE[kind]]
    model = MODELS_OF_TASKS[kind]
    return [data[kind], "--user-dir", USER_DIR, *model, *training, *flags, *extra]


@pytest.fixture(scope="session")
def by_one_process(data, trained):
    """What one process ends with that reads two batches an update; each case is run once."""
    ends = {}

    def end(name, extra):
        key = (name, *map(str, extra))
        if key not in ends:
            (ends[key],) = trained([*command(data, name, extra), "--update-freq", 2])
        return ends[key]

    return end


def ours(registry):
    return {name for name, kind in registry.items() if kind.__module__.startswith("genft_fairseq")}


def test_every_criterion_and_task_has_a_case():
    # --task retrieval and its criterion need data of their own: test_retrieval.py.
    assert {*CRITERIONS, "in_batch_negatives"} == ours(CRITERION_REGISTRY)
    assert all(set(kinds) == set(MODELS) for kinds in CRITERIONS.values())
    assert {*TASKS, "retrieval"} == ours(TASK_REGISTRY)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("extra", EXTRA_FLAGS, ids=lambda flags: " ".join(map(str, flags)))
@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one(name, extra, backend, data, trained, by_one_process):
    one = by_one_process(name, extra)
    two = trained([*command(data, name, extra), "--ddp-backend", backend], processes=2)
    assert [end.updates for end in two] == [one.updates] * 2
    assert (one.dummies, two[0].dummies, two[1].dummies) == (0, 0, 2)  # one an epoch
    for key, want in one.parameters.items():
        torch.testing.assert_close(two[0].parameters[key], want, rtol=1e-5, atol=1e-5)
        assert torch.equal(two[0].parameters[key], two[1].parameters[key]), key


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("find", [[], ["--find-unused-parameters"]], ids=" ".join)
def test_an_output_matrix_that_only_the_loss_uses(find, tied, data, trained):
    """torch's wrapper looks for parameters without a part in the forward, and finds this one."""
    names = "--share-all-embeddings"
    model = [flag for flag in TINY_TRANSLATION if tied or flag != names]
    flags = [*TRAINING, "--batch-size", 11, "--criterion", "scalegrad", "--loss-chunk-size", 7]
    given = [data["translation"], "--user-dir", USER_DIR, *model, *OPTIMISATION, *flags]
    (one,) = trained([*given, "--update-freq", 2])
    two = trained([*given, "--ddp-backend", "pytorch_ddp", *find], processes=2)
    for key, want in one.parameters.items():
        torch.testing.assert_close(two[0].parameters[key], want, rtol=1e-5, atol=1e-5)
        assert torch.equal(two[0].parameters[key], two[1].parameters[key]), key


def distance(one, other):
    return max(float((one[key] - other[key]).abs().max()) for key in one)


@pytest.mark.parametrize("kind", MODELS)
def test_the_cases_are_different(kind, by_one_process):
    """No agreement by inaction: what they do moves the parameters far beyond the tolerance."""
    names = [name for name, (data, _) in CASES.items() if data == kind]
    ends = {name: by_one_process(name, EXTRA_FLAGS[0]).parameters for name in names}
    close = [
        pair for pair in itertools.combinations(ends, 2) if distance(*map(ends.get, pair)) < 1e-3
    ]
    assert close == []
