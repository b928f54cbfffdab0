"""The criterion that docs/own-criterion.md adds: its loss, its gradient, its page, its command."""

import sys
from types import SimpleNamespace

import fairseq.utils
import pytest
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
from docs.worlds import World
from fairseq_commands import REPOSITORY, TINY_TRANSLATION, run
from markdown_it import MarkdownIt
from refusals import refuses
from torch import Tensor

FOLDER = REPOSITORY / "docs" / "own_criterion"
sys.path.insert(0, str(FOLDER.parent))  # as --user-dir does

import own_criterion  # noqa: E402,F401 (registers it)


@pytest.fixture(scope="module", params=KINDS)
def setting(request: pytest.FixtureRequest) -> SimpleNamespace:
    """A task, its float64 model and a sample."""
    torch.manual_seed(3)
    task = tiny_task(request.param)
    return SimpleNamespace(task=task, model=tiny_model(task), sample=tiny_sample(task))


def slow_tailr(
    logits: Tensor, target: Tensor, gamma: float, least: float, share: float
) -> tuple[Tensor, list[float]]:
    """What weighing adds to the loss, one token after the other; and the weights."""
    added, weights = logits.new_zeros(()), []
    for row in range(target.size(0)):
        for t in range(target.size(1)):
            if target[row, t] == PAD:
                continue
            p = logits[row, t].softmax(-1)[target[row, t]]
            weights.append(max(least, float(p / (gamma + (1 - gamma) * p))))
            added = added - share * (1 - weights[-1]) * -p.log()
    return added, weights


@pytest.mark.parametrize("least", [0.0, 0.3])
@pytest.mark.parametrize("gamma", [1.0, 0.1])
@pytest.mark.parametrize("chunk", [0, 3])
def test_equals_the_slow_loop(setting, gamma, least, chunk):
    """With every knob of the shared loss: value and gradient."""
    knobs = {"label_smoothing": 0.1, "gamma": 0.5, "unlikelihood_alpha": 0.7}
    criterion = tiny_criterion(
        *("tailr", setting.task),
        **{"tailr_gamma": gamma, "tailr_least": least, "loss_chunk_size": chunk, **knobs},
    )
    loss, _, log = criterion(setting.model, setting.sample)
    logits, target = setting.model(**setting.sample["net_input"])[0], setting.sample["target"]
    share = 1 - 0.1 - 0.1 / (logits.size(-1) - 1)
    added, weights = slow_tailr(logits, target, gamma, least, share)
    want = added + reference_loss(logits, target, label_smoothing=0.1, gamma=0.5, alpha=0.7).sum()
    assert_same(loss, want)
    assert_same(gradients(loss, setting.model), gradients(want, setting.model))
    assert_same(log["tailr_weight"], sum(weights))
    assert log["scored"] == len(weights) and min(weights) < 0.9


def test_worked_by_hand():
    """p = 1/4, gamma = 1/2: 1/4 / (1/2 + 1/8) = 2/5; gamma = 1: p itself; gamma = 0: 1."""
    from own_criterion.weights import tailr_weight

    nll = -torch.tensor([0.25], dtype=torch.float64).log()
    assert_same(tailr_weight(nll, 0.5), [0.4])
    assert_same(tailr_weight(nll, 1.0), [0.25])
    assert_same(tailr_weight(torch.tensor([1000.0]), 0.0), [1.0])  # 1/p is more than a float
    assert_same(tailr_weight(nll, 1.0, least=0.3), [0.3])


def test_gamma_0_is_label_smoothed_cross_entropy(setting, monkeypatch):
    # fairseq normalises in float32 whatever the model's dtype: that rounding, and no more, goes.
    monkeypatch.setattr(fairseq.utils, "log_softmax", lambda x, dim, **_: x.log_softmax(dim))
    flags = {"label_smoothing": 0.1}
    ours = tiny_criterion("tailr", setting.task, tailr_gamma=0.0, **flags)
    fairseqs = tiny_criterion("label_smoothed_cross_entropy", setting.task, **flags)
    loss, _, _ = ours(setting.model, setting.sample)
    want, _, _ = fairseqs(setting.model, setting.sample)
    assert_same(loss, want)
    assert_same(gradients(loss, setting.model), gradients(want, setting.model))


@pytest.mark.parametrize("flag", ["tailr_gamma", "tailr_least"])
def test_values_out_of_range(setting, flag):
    with refuses(f"--{flag.replace('_', '-')}", "1.5"):
        tiny_criterion("tailr", setting.task, **{flag: 1.5})


def test_two_updates(world: World):
    """As its user trains it: the plugin's folder as --user-dir, and the figure in the log."""
    done = run(
        *("fairseq-train", world.folder / "data-bin" / "translation", "--user-dir", FOLDER),
        *(*TINY_TRANSLATION, "--criterion", "tailr", "--tailr-gamma", "0.1", "--gamma", "0.5"),
        *("--optimizer", "adam", "--lr", "1e-2", "--max-tokens", "512", "--max-update", "2"),
        *("--cpu", "--log-format", "simple", "--log-interval", "1", "--save-dir", world.folder),
    )
    assert "tailr_weight" in done.output and (world.folder / "checkpoint_last.pt").is_file()


def test_the_page_shows_the_files():
    page = (REPOSITORY / "docs" / "own-criterion.md").read_text(encoding="utf-8")
    tokens = MarkdownIt("commonmark").parse(page)
    shown = [token.content for token in tokens if token.info.strip() == "python"]
    files = ("weights.py", "tailr.py", "__init__.py")
    assert shown == [(FOLDER / name).read_text(encoding="utf-8") for name in files]
