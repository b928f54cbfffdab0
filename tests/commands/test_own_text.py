"""Criterions that train on the model's own text, in real runs: resume, fine-tuning, refusals."""

import re

import pytest
import torch
from fairseq_commands import TINY_LANGUAGE_MODEL, TINY_TRANSLATION, moved, parameters, train
from refusals import assert_refused

TRANSLATION = {
    "generative_rollout": ["--rollout-rate", 0.5, "--rollout-search", "sampling", "--gamma", 0.5],
    "sequence_unlikelihood": [
        *("--sequence-rate", 0.5, "--sequence-ngram", 1),
        *("--sequence-max-len-a", 1, "--sequence-max-len-b", 5),
    ],
    "minimum_risk": ["--risk-candidates", 3, "--risk-alpha", 0.5, "--risk-reward", "chrf"],
}
LANGUAGE_MODEL = {
    "generative_rollout": ["--rollout-rate", 0.5, "--rollout-prefix-length", 4],
    "sequence_unlikelihood": [
        *("--sequence-rate", 0.5, "--sequence-ngram", 1, "--unlikelihood-alpha", 0.5),
        *("--sequence-prefix-length", 5, "--sequence-completion-length", 8),
    ],
}
CASES = [
    *(("translation", criterion, flags) for criterion, flags in TRANSLATION.items()),
    *(("language_model", criterion, flags) for criterion, flags in LANGUAGE_MODEL.items()),
]
cases = pytest.mark.parametrize(
    ("task", "criterion", "flags"), CASES, ids=[f"{task}-{name}" for task, name, _ in CASES]
)
FIGURES = {
    "generative_rollout": ["rollout_nll_loss"],
    "sequence_unlikelihood": ["sequence_unlikelihood", "repeated_tokens"],
    "minimum_risk": ["risk", "reward", "candidates"],
}


@pytest.fixture
def trained(request):
    """Train the tiny model of a task into a folder."""

    def run(task, folder, criterion, *flags, check=True):
        data = request.getfixturevalue(f"{task}_data")
        model = TINY_TRANSLATION if task == "translation" else TINY_LANGUAGE_MODEL
        done = train(data, folder, model, "--criterion", criterion, *flags, check=check)
        last = folder / "checkpoint_last.pt"
        return done, parameters(last) if last.exists() else None

    return run


@cases
def test_a_resumed_run_equals_an_uninterrupted_one(task, criterion, flags, trained, tmp_path):
    """Bit for bit, dropout on; each kind of update happens on both sides of the break."""
    flags = [*flags, "--dropout", 0.1, "--save-interval-updates", 4]
    whole, want = trained(task, tmp_path / "whole", criterion, *flags, "--max-update", 8)
    trained(task, tmp_path / "broken", criterion, *flags, "--max-update", 4)
    done, got = trained(task, tmp_path / "broken", criterion, *flags, "--max-update", 8)
    assert re.search(r"Loaded checkpoint .*@ 4 updates", done.output)
    assert all(torch.equal(got[name], want[name]) for name in want)
    for figure in FIGURES[criterion]:
        values = re.findall(rf"train_inner.*\b{figure}=([\d.e-]+)", whole.output)
        assert len(values) >= 2, figure
    assert re.search(r"valid.*\bnll_loss [\d.]+", whole.output)


@cases
def test_fine_tuning_from_plain_fairseq(task, criterion, flags, trained, request, tmp_path):
    baseline = request.getfixturevalue(f"{task}_baseline") / "checkpoint_last.pt"
    flags = [*flags, "--finetune-from-model", baseline, "--max-update", 3, "--report-accuracy"]
    _, got = trained(task, tmp_path, criterion, *flags)
    assert moved(parameters(baseline), got)


@pytest.mark.parametrize(
    ("task", "criterion", "flags", "named"),
    [
        ("translation", "generative_rollout", ["--rollout-rate", 2], ["--rollout-rate", 2.0]),
        ("translation", "generative_rollout", ["--left-pad-target"], ["--left-pad-target"]),
        ("translation", "minimum_risk", ["--risk-candidates", 0], ["--risk-candidates", 0]),
        ("language_model", "minimum_risk", [], ["minimum_risk"]),
        (
            "language_model",
            "sequence_unlikelihood",
            ["--sequence-prefix-length", 16],
            ["--sequence-prefix-length", "--tokens-per-sample", 16],
        ),
    ],
)
def test_refused_in_one_line(task, criterion, flags, named, trained, tmp_path):
    done, _ = trained(task, tmp_path / "save", criterion, *flags, "--max-update", 1, check=False)
    assert_refused(done, *named)
    assert not list((tmp_path / "save").glob("*.pt"))  # not even crash.pt
