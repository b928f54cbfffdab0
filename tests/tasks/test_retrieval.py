"""``--task retrieval`` through the real commands: it learns, resumes, and says what is wrong."""

import re

import pytest
import tiny_retrieval
import torch
from fairseq_commands import OPTIMISATION, USER_DIR, moved, parameters, run, run_warm

from genft_fairseq.errors import UserError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny_retrieval.make_folder(tmp_path_factory.mktemp("retrieval"))


def train(data, save_dir, *flags, check=True):
    return run(
        "fairseq-train",
        *(data, "--user-dir", USER_DIR, *tiny_retrieval.TINY, *OPTIMISATION),
        *("--save-dir", save_dir, "--max-tokens", 1000, "--required-batch-size-multiple", 1),
        *("--num-workers", 0, *flags),
        check=check,
    )


def logged(done, name, kind="train"):
    lines = [line for line in done.output.splitlines() if f"INFO:{kind}:" in line]
    return [float(re.search(rf"\| {name} (\S+)", line)[1]) for line in lines]


def test_it_learns_what_can_be_learned_by_heart(data, tmp_path):
    """24 questions, each with the word of its passage's title; chance is 1 of about 24."""
    done = train(
        data, tmp_path, "--batch-size", 12, "--lr", "5e-3", "--max-epoch", 40, "--clip-norm", 1
    )
    accuracy, loss = logged(done, "accuracy"), logged(done, "loss")
    assert accuracy[0] < 0.3 and accuracy[-1] == 1
    assert loss[0] > 3 and loss[-1] < 0.1
    assert (
        "train: 24 examples; 4 without a passage that holds an answer are left out" in done.output
    )
    assert "valid: 8 examples; 1 without" in done.output


def test_validation_has_the_same_figures(data, tmp_path):
    train(data, tmp_path, "--batch-size", 12, "--max-epoch", 1)
    done = run(
        "fairseq-validate",
        *(data, "--user-dir", USER_DIR, "--task", "retrieval", "--batch-size", 4, "--cpu"),
        *("--path", tmp_path / "checkpoint_last.pt", "--valid-subset", "valid"),
    )
    assert re.search(r"accuracy [01]\.?\d* \| passages \d", done.output)


def test_max_tokens_bounds_the_batches(data, tmp_path):
    """A question has 5 tokens and its two passages 6 each: 17 of 40, so two a batch."""
    flags = ["--max-epoch", 1, "--max-tokens", 40, "--log-interval", 1]
    done = train(data, tmp_path, *flags)
    assert logged(done, "bsz") == [2]
    assert "num_updates 12" in done.output


def test_examples_larger_than_a_batch(data, tmp_path):
    """All are, by one token, which fairseq says in its own words."""
    done = train(data, tmp_path, "--max-epoch", 1, "--max-tokens", 16, check=False)
    assert done.returncode and "The dataset is empty" in done.error


def test_a_resumed_run_ends_with_the_same_parameters(data, tmp_path):
    """Also in the middle of an epoch, with positives and batches drawn anew in each."""
    flags = ["--batch-size", 5, "--positives", "random", "--save-interval-updates", 3]
    train(data, tmp_path / "whole", *flags, "--max-update", 14)
    train(data, tmp_path / "parts", *flags, "--max-update", 7)
    first = parameters(tmp_path / "parts" / "checkpoint_last.pt")
    train(data, tmp_path / "parts", *flags, "--max-update", 14)
    whole = parameters(tmp_path / "whole" / "checkpoint_last.pt")
    parts = parameters(tmp_path / "parts" / "checkpoint_last.pt")
    assert moved(first, parts)
    for name, want in whole.items():
        assert torch.equal(parts[name], want), name


def test_options_reach_the_data(data, tmp_path):
    """Without hard negatives a question has fewer passages to choose from."""
    flags = ["--batch-size", 24, "--max-epoch", 1]
    many = train(data, tmp_path / "2", *flags, "--hard-negatives", 2)
    none = train(data, tmp_path / "0", *flags, "--hard-negatives", 0)
    # Nobody but the first question has two passages with the answer: 24 positives.
    assert logged(none, "passages") == [24]
    assert logged(many, "passages")[0] > 48


def test_other_criterions_are_refused(data, tmp_path):
    done = train(data, tmp_path, "--criterion", "cross_entropy", check=False)
    assert done.error == (
        "fairseq-train: error: --task retrieval needs --criterion in_batch_negatives, "
        "not cross_entropy"
    )


def test_other_models_are_refused(data, tmp_path):
    arguments = [flag for flag in tiny_retrieval.TINY if flag != "--share-encoders"]
    arguments[arguments.index("bi_encoder")] = "transformer_lm"
    done = run(
        "fairseq-train",
        *(data, "--user-dir", USER_DIR, *arguments[:6], *OPTIMISATION, "--save-dir", tmp_path),
        check=False,
    )
    assert done.returncode and "Traceback" not in done.error


BAD = {
    "question positions": (
        ["--max-question-positions", 1],
        r"--max-question-positions must lie in [2, inf), but is 1",
    ),
    "hard negatives": (
        ["--hard-negatives", -1],
        "--hard-negatives must lie in [0, inf), but is -1",
    ),
}


@pytest.mark.parametrize(("flags", "message"), BAD.values(), ids=BAD)
def test_flags_out_of_range(data, tmp_path, flags, message):
    done = train(data, tmp_path, *flags, check=False)
    assert done.error == f"fairseq-train: error: {message}"
    assert not list(tmp_path.iterdir())


def load(data):
    from genft_fairseq.tasks.retrieval import RetrievalConfig, RetrievalTask

    cfg = RetrievalConfig(data=str(data), seed=1, train_subset="train", dataset_impl=None)
    task = RetrievalTask.setup_task(cfg)
    task.load_dataset("train")
    return task


def test_a_folder_of_something_else(tmp_path, data):
    with pytest.raises(UserError, match=r"dict.question.txt does not exist: is .* a folder for"):
        load(tmp_path)
    (tmp_path / "dict.question.txt").write_text("word 1\n")
    with pytest.raises(UserError, match=r"dict.question.txt has no symbol <question>, <title>"):
        load(tmp_path)
    (tmp_path / "dict.question.txt").write_text((data / "dict.question.txt").read_text())
    with pytest.raises(FileNotFoundError, match=r"Dataset not found: .*train.question-answer"):
        load(tmp_path)
    for path in data.glob("train.question-answer.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(
        FileNotFoundError, match=r"Dataset not found: .*train.align.question-answer"
    ):
        load(tmp_path)


def test_the_task_predicts_no_text(data):
    task = load(data)
    assert task.target_dictionary is None and task.max_positions() is None
    assert len(task.dataset("train")) == 24


HYDRA_YAML = """
common: {{user_dir: {user_dir}, cpu: true}}
task: {{_name: retrieval, data: {data}, hard_negatives: 2}}
model: {{_name: bi_encoder, encoder_layers: 1, encoder_embed_dim: 16, encoder_ffn_embed_dim: 16,
         encoder_attention_heads: 2, pooling: first}}
criterion: {{_name: in_batch_negatives}}
optimizer: {{_name: adam}}
lr_scheduler: {{_name: fixed}}
dataset: {{batch_size: 8, num_workers: 0}}
optimization: {{max_update: 2, lr: [0.01]}}
checkpoint: {{save_dir: {save_dir}, no_epoch_checkpoints: true}}
"""


def test_hydra_train(data, tmp_path):
    (tmp_path / "config").mkdir()
    yaml = HYDRA_YAML.format(user_dir=USER_DIR, data=data, save_dir=tmp_path / "save")
    (tmp_path / "config" / "tiny.yaml").write_text(yaml)
    run_warm(
        "fairseq-hydra-train",
        *(f"--config-dir={tmp_path / 'config'}", "--config-name=tiny"),
        f"hydra.run.dir={tmp_path / 'hydra'}",
    )
    state = torch.load(tmp_path / "save" / "checkpoint_last.pt", weights_only=False)
    assert state["cfg"]["model"]["pooling"] == "first"
    assert state["cfg"]["task"]["hard_negatives"] == 2
    assert state["optimizer_history"][-1]["num_updates"] == 2
