"""Stopped anywhere and started again: the batches, the learning rate, the patience, the end."""

import io
import random
import re
import types

import numpy as np
import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data import FairseqDataset, iterators
from fairseq.data.iterators import EpochBatchIterator
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

VIRTUAL_EPOCHS = [
    *("--task", "translation_multi_simple_epoch", "--lang-pairs", "en-de,de-en"),
    *("--langs", "en,de", "--encoder-langtok", "tgt", *TINY_TRANSLATION[6:]),
]
TEMPERATURE = ["--sampling-method", "temperature", "--virtual-data-size", 150]
ROUND_ROBIN = ["--sampling-method", "RoundRobin"]
ROBERTA = [
    *("--arch", "roberta", "--encoder-layers", 1, "--encoder-embed-dim", 16),
    *("--encoder-ffn-embed-dim", 16, "--encoder-attention-heads", 2),
]
MASKED = ["--task", "masked_lm", *ROBERTA, "--sample-break-mode", "eos", "--tokens-per-sample"]
DENOISING = [
    *("--task", "denoising", *TINY_TRANSLATION[6:], "--tokens-per-sample", 32, "--mask", 0.3),
    *("--mask-length", "subword", "--replace-length", 1, "--insert", 0.1, "--rotate", 0.3),
]


@pytest.fixture
def trained(request, tmp_path):
    """Train in a folder, and return what its last checkpoint holds and what was printed."""

    def train(folder, *flags, task="translation", model=None, shards=1):
        data = ":".join([str(request.getfixturevalue(f"{task}_data"))] * shards)
        command = [data, "--user-dir", USER_DIR, *(model or MODELS[task])]
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


@pytest.mark.parametrize(
    ("task", "shards", "model"),
    [
        ("translation", 1, [*VIRTUAL_EPOCHS, "--virtual-epoch-size", 60]),
        ("translation", 2, [*VIRTUAL_EPOCHS, "--virtual-epoch-size", 60, *TEMPERATURE]),
        ("translation", 1, [*VIRTUAL_EPOCHS, *ROUND_ROBIN]),
        ("language_model", 1, DENOISING),
        ("language_model", 1, [*MASKED, 32]),
        ("language_model", 1, [*MASKED, 6, "--shorten-method", "random_crop"]),
    ],
    ids=["virtual", "virtual-shards", "round-robin", "denoising", "masked", "random-crop"],
)
def test_data_that_are_drawn(task, shards, model, trained):
    """Wherever a run stops, and with any number of workers, the draws are those of the epoch."""
    given = {"task": task, "shards": shards, "model": model}
    flags = ["--batch-size", 16, "--max-epoch", 5, "--disable-validation"]
    want, _ = trained("whole", *flags, **given)
    assert updates(want) >= 10
    for stop in (3, updates(want) // 2, updates(want) - 1):
        trained("parts", *flags, "--max-update", stop, **given)
    got, output = trained("parts", *flags, "--num-workers", 1, **given)
    assert f"@ {stop} updates)" in output
    assert_same(got, want)


class Drawn(FairseqDataset):
    """Numbers of all three global generators, and the epoch."""

    epoch = 1

    def __getitem__(self, index):
        return [torch.rand(()).item(), np.random.rand(), random.random(), self.epoch, index]

    def __len__(self):
        return 8

    def collater(self, samples):
        return [*samples, torch.rand(()).item()]

    def set_epoch(self, epoch):
        self.epoch = epoch


def epochs(numbers, workers=0, dataset=None, fixed=False, **settings):
    """What an iterator over four batches yields in some epochs, the first of them its first."""
    dataset = dataset or Drawn()
    dataset.set_epoch(numbers[0])
    iterator = EpochBatchIterator(
        *(dataset, dataset.collater, [[0, 1], [2, 3], [4, 5], [6, 7]]),
        **{"epoch": numbers[0], "num_workers": workers, "buffer_size": 4, "seed": 3, **settings},
    )
    return [list(iterator.next_epoch_itr(set_dataset_epoch=not fixed)) for _ in numbers]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_what_a_batch_draws(workers):
    """Depends on the seed, the epoch and the batch, and leaves the generators alone."""
    want = epochs([1, 2])
    before = torch.initial_seed(), random.getstate(), np.random.get_state()[1].copy()
    assert epochs([1, 2], workers, reuse_dataloader=True) == want
    assert epochs([2], workers) == want[1:]
    assert epochs([1], workers, seed=4) != want[:1]
    assert torch.initial_seed() == before[0] and random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()
    assert iterators.torch.utils.data.DataLoader is torch.utils.data.DataLoader  # for streams
    numbers = [sample[0] for batch in want[0] for sample in batch[:-1]]
    assert len(set(numbers)) == 8 and want[0] != want[1]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_validation_draws_the_same_every_time(workers):
    first, second, third = epochs([1, 2, 3], workers, fixed=True, reuse_dataloader=True)
    key = lambda batches: sorted(map(str, batches))  # noqa: E731 (the order is shuffled here)
    assert key(first) == key(second) == key(third)


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
    assert updates(again) == 9 and "train_inner" not in output
    more, _ = trained("parts", *flags, "--patience", 4)
    assert updates(more) == 15


def test_a_run_that_has_ended(trained):
    flags = [*SENTENCES, "--max-update", 4]
    want, _ = trained("run", *flags)
    got, output = trained("run", *flags)
    assert_same(got, want)
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
