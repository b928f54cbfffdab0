"""The scheduled-sampling tasks through ``fairseq-train``: the same runs, to the bit."""

import re
from pathlib import Path

import pytest
import torch
from fairseq_commands import (
    TINY_LANGUAGE_MODEL,
    TINY_TRANSLATION,
    USER_DIR,
    moved,
    parameters,
    run,
    run_warm,
    train,
)
from refusals import assert_refused

MODELS = {"translation": TINY_TRANSLATION, "language_model": TINY_LANGUAGE_MODEL}
TASKS = list(MODELS)
DROPOUT = ["--dropout", 0.2]


def sampling(task: str) -> list[str]:
    """The tiny model's flags, with the plugin's task in place of fairseq's."""
    flags = list(MODELS[task])
    place = flags.index("--task") + 1
    flags[place] = f"scheduled_sampling_{flags[place]}"
    return flags


def last(folder: Path) -> dict[str, torch.Tensor]:
    return parameters(folder / "checkpoint_last.pt")


def assert_equal(got: dict[str, torch.Tensor], want: dict[str, torch.Tensor]) -> None:
    assert got.keys() == want.keys()
    different = [name for name in want if not torch.equal(got[name], want[name])]
    assert different == []


@pytest.mark.parametrize("task", TASKS)
def test_all_gold_is_ordinary_training(task, request, tmp_path):
    """Bit for bit with dropout, at a constant 1 and under a decay that is still above 1."""
    data = request.getfixturevalue(f"{task}_data")
    shared = ["--criterion", "scalegrad", "--gamma", 0.5, *DROPOUT, "--max-update", 3]
    train(data, tmp_path / "plain", MODELS[task], *shared)
    want = last(tmp_path / "plain")
    schedules = {
        "constant": ["--gold-probability", 1],
        "linear": ["--gold-schedule", "linear", "--gold-k", 5, "--gold-c", 1],
    }
    for name, flags in schedules.items():
        train(data, tmp_path / name, sampling(task), *shared, *flags)
        assert_equal(last(tmp_path / name), want)
    # And at 0, which is the default, training is another.
    train(data, tmp_path / "own", sampling(task), *shared)
    assert moved(want, last(tmp_path / "own"))


@pytest.mark.parametrize("task", TASKS)
def test_a_resumed_run_equals_one_in_one_piece(task, request, tmp_path):
    """Bit for bit, sampling and dropout on: stopped in the middle of an epoch after two updates."""
    data = request.getfixturevalue(f"{task}_data")
    flags = [
        *("--criterion", "label_smoothed_cross_entropy", *DROPOUT, "--update-freq", 2),
        *("--gold-schedule", "inverse_sigmoid", "--gold-k", 3, "--mix", "sample"),
        *("--sampling-passes", 2, "--save-interval-updates", 2),
    ]
    train(data, tmp_path / "whole", sampling(task), *flags, "--max-update", 4)
    train(data, tmp_path / "parts", sampling(task), *flags, "--max-update", 2)
    half = last(tmp_path / "parts")
    second = train(data, tmp_path / "parts", sampling(task), *flags, "--max-update", 4)
    assert re.search(r"Loaded checkpoint .*@ 2 updates", second.output)
    assert_equal(last(tmp_path / "parts"), last(tmp_path / "whole"))
    assert moved(half, last(tmp_path / "parts"))


def test_two_spawned_processes_equal_one(translation_data, tmp_path):
    """Every token's draw is its own: on which process its sentence lies makes no difference."""
    flags = [
        *("--criterion", "scalegrad", "--dropout", 0, "--optimizer", "sgd", "--lr", 0.5),
        *("--max-update", 3, "--gold-probability", 0.4, "--mix", "sample"),
    ]
    model = sampling("translation")
    train(
        *(translation_data, tmp_path / "two", model, *flags),
        *("--distributed-world-size", 2, "--ddp-backend", "pytorch_ddp"),
        run=run_warm,
    )
    train(translation_data, tmp_path / "one", model, *flags, "--update-freq", 2)
    want, got = last(tmp_path / "one"), last(tmp_path / "two")
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-5, atol=1e-5)
    # No agreement by inaction: with gold inputs the parameters are others by far.
    train(
        *(translation_data, tmp_path / "gold", model, *flags, "--update-freq", 2),
        *("--gold-probability", 1),
    )
    gold = last(tmp_path / "gold")
    assert max(float((gold[name] - want[name]).abs().max()) for name in want) > 1e-3


@pytest.mark.parametrize(
    ("task", "flags", "named"),
    [
        ("translation", ["--gold-probability", 1.5], ["--gold-probability", 1.5]),
        (
            "language_model",
            ["--gold-schedule", "exponential", "--gold-k", 1],
            ["--gold-schedule", "exponential", "--gold-k", 1],
        ),
        ("translation", ["--gold-schedule", "sigmoid"], ["--gold-schedule", "sigmoid"]),
        ("language_model", ["--mix", "beam"], ["--mix", "beam"]),
        (
            "language_model",
            [
                *("--mix", "expected_embedding", "--adaptive-input"),
                *("--adaptive-input-cutoff", "8,16"),
            ],
            ["--mix", "expected_embedding", "AdaptiveInput"],
        ),
    ],
)
def test_a_mistake_ends_with_one_line(task, flags, named, request, tmp_path):
    data = request.getfixturevalue(f"{task}_data")
    done = train(
        *(data, tmp_path / "save", sampling(task), "--criterion", "cross_entropy"),
        *("--max-update", 2, *flags),
        check=False,
    )
    assert_refused(done, *named, unwritten=tmp_path / "save")


def test_what_was_trained_decodes_like_any_other(translation_data, tmp_path):
    """fairseq-generate, by the task that the checkpoint names."""
    train(
        *(translation_data, tmp_path, sampling("translation"), "--criterion", "scalegrad"),
        *("--max-update", 2, "--gold-schedule", "confidence"),
    )
    done = run(
        "fairseq-generate",
        *(translation_data, "--user-dir", USER_DIR, "--path", tmp_path / "checkpoint_last.pt"),
        *("--task", "scheduled_sampling_translation", "--cpu", "--max-len-b", 5),
    )
    assert done.stdout.count("H-") == 12


# fairseq resolves what the model takes from the task before it imports the plugin, and so before it
# knows the defaults of the plugin's tasks: therefore add_bos_token and max_target_positions.
HYDRA_YAML = """\
# @package _group_
common: {{user_dir: {user_dir}, cpu: true, seed: 3, log_format: simple, log_interval: 1}}
task: {{_name: scheduled_sampling_language_modeling, data: {data}, tokens_per_sample: 16,
  add_bos_token: false, max_target_positions: null,
  gold_schedule: {schedule}, gold_probability: {probability}, gold_k: 0.5, mix: sample}}
model: {{_name: transformer_lm, decoder_layers: 1, decoder_embed_dim: 16,
  decoder_output_dim: 16, decoder_input_dim: 16, decoder_ffn_embed_dim: 16,
  decoder_attention_heads: 2}}
criterion: {{_name: cross_entropy}}
optimizer: {{_name: adam}}
lr_scheduler: {{_name: fixed}}
dataset: {{max_tokens: 128}}
optimization: {{max_update: 2, lr: [0.01]}}
checkpoint: {{save_dir: {save_dir}, no_epoch_checkpoints: true}}
"""


def hydra_train(data: Path, folder: Path, **task: object):
    (folder / "config").mkdir()
    yaml = HYDRA_YAML.format(user_dir=USER_DIR, data=data, save_dir=folder / "save", **task)
    (folder / "config" / "tiny.yaml").write_text(yaml)
    return run_warm(
        "fairseq-hydra-train",
        *(f"--config-dir={folder / 'config'}", "--config-name=tiny"),
        f"hydra.run.dir={folder / 'hydra'}",
    )


def test_hydra_builds_the_task(language_model_data, tmp_path):
    hydra_train(language_model_data, tmp_path, schedule="composite", probability=0.9)
    state = torch.load(tmp_path / "save" / "checkpoint_last.pt", weights_only=False)
    task = state["cfg"]["task"]
    assert task["_name"] == "scheduled_sampling_language_modeling"
    assert (str(task["gold_schedule"]), task["gold_probability"]) == ("composite", 0.9)
    assert (task["gold_k"], str(task["mix"])) == (0.5, "sample")
    assert state["optimizer_history"][-1]["num_updates"] == 2
