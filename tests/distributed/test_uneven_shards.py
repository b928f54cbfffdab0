"""Shards of different size: where a process has less to read, or nothing but dummy batches."""

import re

import pytest
import torch
from fairseq_commands import OPTIMISATION, TINY_LANGUAGE_MODEL, TINY_TRANSLATION, USER_DIR

MODELS = {"translation": TINY_TRANSLATION, "language_model": TINY_LANGUAGE_MODEL}
COMPLETIONS = [
    *("--sequence-rate", 0.5, "--sequence-ngram", 1),
    *("--sequence-prefix-length", 5, "--sequence-completion-length", 8),
]
# The data, and what a criterion is tried with.
CASES: dict[str, tuple[str, list[object]]] = {
    "scalegrad": ("translation", ["--label-smoothing", 0.1, "--report-accuracy"]),
    "minimum_risk": ("translation", ["--risk-candidates", 2, "--risk-alpha", 0.5]),
    "generative_rollout": ("translation", ["--rollout-rate", 0.5]),
    "sequence_unlikelihood": ("language_model", COMPLETIONS),
}
TRAINING = [
    *("--dropout", 0, "--optimizer", "sgd", "--lr", 0.2, "--max-epoch", 3, "--num-workers", 0),
    *("--max-tokens", 5000, "--required-batch-size-multiple", 1),
]


def command(data, criterion, *flags):
    kind, own = CASES[criterion]
    model = [data[kind], "--user-dir", USER_DIR, *MODELS[kind], *OPTIMISATION, *TRAINING]
    return [*model, "--criterion", criterion, *own, *flags]


def assert_equal(several, one):
    for rank in several:
        assert rank.updates == one.updates
        for key, want in one.parameters.items():
            torch.testing.assert_close(rank.parameters[key], want, rtol=1e-5, atol=1e-5)


def validations(end):
    """The figures of each validation that do not depend on how it was divided."""
    lines = re.findall(r"INFO:valid:.*", end.done.output)
    divided = ("wps", "wpb", "bsz", "n_correct", "total")  # by time, or by the batches
    metrics = [re.findall(r"\| (\w+) ([\d.]+)", line) for line in lines]
    return [{key: float(x) for key, x in line if key not in divided} for line in metrics]


# 70 sentences, or 31 blocks, to train on; 37, or 16, to validate on.
@pytest.mark.parametrize(
    ("criterion", "processes", "batch", "validation_batch", "dummies"),
    [
        ("scalegrad", 2, 100, 13, [0, 3]),  # one batch; three
        ("minimum_risk", 3, 40, 100, [0, 0, 3]),  # two; one
        ("generative_rollout", 3, 100, 20, [0, 3, 3]),  # one; two
        ("sequence_unlikelihood", 2, 40, 6, [0, 3]),  # one; three
    ],
)
def test_processes_with_nothing_to_read(
    criterion, processes, batch, validation_batch, dummies, data, trained
):
    """In every epoch, and in validations: with fewer batches than processes, or one more."""
    flags = ["--batch-size", batch, "--batch-size-valid", validation_batch]
    (one,) = trained(command(data, criterion, *flags, "--update-freq", processes))
    several = trained(command(data, criterion, *flags), processes)
    assert [end.dummies for end in several] == dummies
    assert_equal(several, one)
    got, want = validations(several[0]), validations(one)
    assert len(want) == 3 and {"loss", "nll_loss", "ppl"} <= want[0].keys()
    assert got == [pytest.approx(metrics, rel=2e-3) for metrics in want]


@pytest.mark.parametrize("criterion", CASES)
def test_a_dummy_batch_beside_a_real_one(criterion, data, trained):
    """Each process reads two batches an update; in the last of an epoch one has but one left."""
    batch = 11 if CASES[criterion][0] == "translation" else 5  # seven batches
    (one,) = trained(command(data, criterion, "--batch-size", batch, "--update-freq", 4))
    two = trained(command(data, criterion, "--batch-size", batch, "--update-freq", 2), 2)
    assert_equal(two, one)
