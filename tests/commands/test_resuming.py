"""Stopped anywhere and started again: the batches, the learning rate, the patience, the end."""

import io
import re
import types

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq_cli import train as training
from fairseq_commands import TINY_LANGUAGE_MODEL, TINY_TRANSLATION, USER_DIR, moved, parameters
from forked_runs import ForkedRun

TRAINING = [
    *("--criterion", "scalegrad", "--gamma", 0.5, "--dropout", 0.2, "--cpu", "--seed", 3),
    *("--optimizer", "adam", "--lr", "1e-2", "--required-batch-size-multiple", 1),
    *("--max-epoch", 4, "--num-workers", 0, "--log-format", "simple", "--log-interval", 1),
]
# Three batches an epoch; and some that their length makes, of which each epoch has as many.
SENTENCES = ["--batch-size", 30]
TOKENS = ["--max-tokens", 130]
MODELS = {"translation": TINY_TRANSLATION, "language_model": TINY_LANGUAGE_MODEL}


@pytest.fixture
def trained(request, tmp_path):
    """Train in a folder, and return what its last checkpoint holds and what was printed."""

    def train(folder, *flags, task="translation"):
        command = [request.getfixturevalue(f"{task}_data"), "--user-dir", USER_DIR, *MODELS[task]]
        command += [*TRAINING, *flags, "--save-dir", tmp_path / str(folder)]
        (done,) = ForkedRun([command]).checked()
        last = tmp_path / str(folder) / "checkpoint_last.pt"
        return torch.load(last, weights_only=False), done.output

    return train


def updates(state):
    return state["optimizer_history"][-1]["num_updates"]


def lr(state):
    return state["last_optimizer_state"]["param_groups"][0]["lr"]


def assert_same(state, want):
    assert updates(state) == updates(want)
    assert lr(state) == lr(want)
    assert not moved(state["model"], want["model"])


@pytest.mark.parametrize(
    ("task", "flags"),
    [
        ("translation", SENTENCES),
        ("translation", TOKENS),
        ("translation", [*SENTENCES, "--curriculum", 1]),
        ("translation", [*TOKENS, "--update-ordered-indices-seed"]),
        ("translation", [*TOKENS, "--loss-chunk-size", 9]),
        ("language_model", SENTENCES),
    ],
    ids=str,
)
def test_the_batches_of_later_epochs(task, flags, trained):
    """At the end of an epoch and within the next, what is left is read, and nothing twice."""
    want, _ = trained("whole", *flags, task=task)
    an_epoch = updates(want) // 4
    for stop in (an_epoch, an_epoch + 2, 2 * an_epoch + 1):
        trained("parts", *flags, "--max-update", stop, task=task)
    got, output = trained("parts", *flags, task=task)
    assert f"@ {stop} updates)" in output
    assert_same(got, want)


def test_the_curriculum_ends(trained):
    """After the first epoch the batches are shuffled, as without ``--curriculum``."""
    orders = [["--curriculum", 1], ["--curriculum", 9], []]
    first, never, always = (trained(str(flags), *SENTENCES, *flags)[0] for flags in orders)
    assert moved(first["model"], never["model"]) and moved(first["model"], always["model"])


@pytest.mark.parametrize("warmup", [0, 4])
def test_the_learning_rate_of_a_plateau(warmup, trained):
    """No improvement is good enough: the rate is halved after every second one."""
    flags = [*SENTENCES, "--lr-scheduler", "reduce_lr_on_plateau", "--lr-patience", 1]
    flags += ["--lr-shrink", 0.5, "--lr-threshold", 0.5, "--warmup-updates", warmup]
    flags += ["--max-epoch", 7]
    want, _ = trained("whole", *flags)
    assert lr(want) < 0.01
    for stop in (3, 8, 12, 21):
        got, _ = trained("parts", *flags, "--max-update", stop)
    assert_same(got, want)


def test_the_patience_that_is_left(trained):
    """With a learning rate of 0 nothing improves: after the first validation, two are too many."""
    flags = [*SENTENCES, "--lr", 0, "--patience", 2, "--max-epoch", 9]
    whole, _ = trained("whole", *flags)
    assert updates(whole) == 9
    for epochs in (1, 2, 9):
        got, _ = trained("parts", *flags, "--max-epoch", epochs)
    assert updates(got) == 9
    # Started again it makes no update; with more patience it goes on from where it was.
    again, output = trained("parts", *flags)
    assert updates(again) == 9 and "nothing is left to do" in output
    more, _ = trained("parts", *flags, "--patience", 4)
    assert updates(more) == 15


def test_a_run_that_has_ended(trained):
    flags = [*SENTENCES, "--max-update", 4]
    want, _ = trained("run", *flags)
    got, output = trained("run", *flags)
    assert_same(got, want)
    assert "nothing is left to do: 4 of --max-update 4 updates" in output
    assert not re.search("train_inner|valid on", output)
    more, _ = trained("run", *flags, "--max-update", 5)
    assert updates(more) == 5


def test_a_baseline_is_no_run_to_go_on_with(trained, tmp_path):
    """Its updates, its patience and its last validation are not the fine-tuned model's."""
    trained("baseline", *SENTENCES, "--lr", 0, "--patience", 2)
    baseline = tmp_path / "baseline" / "checkpoint_last.pt"
    flags = ["--finetune-from-model", baseline, "--patience", 2, "--max-update", 7]
    tuned, _ = trained("tuned", *SENTENCES, *flags)
    assert updates(tuned) == 7
    assert moved(tuned["model"], parameters(baseline))


def test_a_second_run_of_one_process_counts_anew():
    """The patience of the first, which is over, is not its own."""
    training.should_stop_early.num_runs = 5
    checkpoint_utils.save_checkpoint.best = 1.0
    trainer = types.SimpleNamespace(checkpoint_suffix="", get_train_iterator=lambda **_: None)
    with pytest.raises(AttributeError):  # it goes no further without a configuration
        checkpoint_utils.load_checkpoint(types.SimpleNamespace(), trainer)
    assert not vars(training.should_stop_early)
    assert not hasattr(checkpoint_utils.save_checkpoint, "best")


class FailsOnce(io.BytesIO):
    """A file on a disk that is full for a moment."""

    failed = False

    def write(self, content):
        if self.tell() > 1000 and not self.failed:
            self.failed = True
            super().write(bytes(content)[: len(content) // 2])
            raise OSError("No space left on device")
        return super().write(content)


def test_a_second_attempt_begins_at_the_beginning(monkeypatch):
    monkeypatch.setattr(checkpoint_utils.time, "sleep", lambda seconds: None)
    file = FailsOnce()
    checkpoint_utils._torch_persistent_save({"model": torch.ones(1000)}, file)
    file.seek(0)
    assert file.failed and torch.equal(torch.load(file)["model"], torch.ones(1000))
