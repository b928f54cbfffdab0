"""Training, resuming, fine-tuning, hydra: parameters move, flags are kept, figures logged."""

import re
from pathlib import Path

import pytest
import torch
from fairseq_commands import (
    OPTIMISATION,
    TINY_LANGUAGE_MODEL,
    TINY_TRANSLATION,
    USER_DIR,
    moved,
    parameters,
    run_cold,
    run_warm,
    train,
)

FIGURES = {
    "scalegrad": ("seen_mass", "--gamma", 0.3),
    "unlikelihood": ("unlikelihood", "--unlikelihood-alpha", 0.7),
    "first_token_auxiliary": ("first_token_nll", "--first-token-weight", 0.4),
}


@pytest.mark.parametrize("task", ["translation", "language_model"])
@pytest.mark.parametrize("criterion", FIGURES)
def test_finetune_then_resume(task, criterion, request, tmp_path):
    """Two updates from a baseline, then two more: the same flags, other parameters."""
    data = request.getfixturevalue(f"{task}_data")
    baseline = request.getfixturevalue(f"{task}_baseline") / "checkpoint_last.pt"
    model = TINY_TRANSLATION if task == "translation" else TINY_LANGUAGE_MODEL
    figure, flag, value = FIGURES[criterion]
    flags = ["--criterion", criterion, flag, value, "--report-accuracy"]

    first = train(
        *(data, tmp_path, model, *flags),
        *("--finetune-from-model", baseline, "--max-update", 2),
    )
    assert "loading pretrained model from" in first.output
    for logged in (figure, "nll_loss", "ppl", "accuracy"):
        assert re.search(rf"valid.*\b{logged} [\d.]+", first.output), logged
    after_two = tmp_path / "checkpoint_last.pt"
    assert moved(parameters(baseline), parameters(after_two))
    kept = torch.load(after_two, weights_only=False)
    assert kept["cfg"]["criterion"][flag[2:].replace("-", "_")] == value
    assert kept["cfg"]["criterion"]["_name"] == criterion

    two = parameters(after_two)
    second = train(data, tmp_path, model, *flags, "--max-update", 4)
    assert re.search(r"Loaded checkpoint .*@ 2 updates", second.output)
    assert "num_updates: 4" in second.output or "num_updates=4" in second.output
    assert moved(two, parameters(after_two))


def test_gamma_one_trains_as_fairseqs_criterion_does(translation_data, tmp_path):
    """The same parameters after five updates, label smoothing and accumulation included."""
    # Plain SGD: where a gradient is zero but for rounding (the bias of the keys), Adam divides the
    # rounding by its own size.
    shared = ["--optimizer", "sgd", "--label-smoothing", 0.1, "--dropout", 0.1]
    shared += ["--update-freq", 2, "--max-update", 5, "--lr", 0.5]
    common = (translation_data, tmp_path / "theirs", TINY_TRANSLATION)
    train(*common, "--criterion", "label_smoothed_cross_entropy", *shared)
    want = parameters(tmp_path / "theirs" / "checkpoint_last.pt")
    for criterion, flags in {
        "scalegrad": ["--gamma", 1],
        "unlikelihood": ["--unlikelihood-alpha", 0],
        "first_token_auxiliary": ["--first-token-weight", 0],
    }.items():
        folder = tmp_path / criterion
        train(translation_data, folder, TINY_TRANSLATION, "--criterion", criterion, *flags, *shared)
        got = parameters(folder / "checkpoint_last.pt")
        for name in want:
            torch.testing.assert_close(got[name], want[name], rtol=1e-5, atol=1e-6)


HYDRA_YAML = """\
# @package _group_
common: {{user_dir: {user_dir}, cpu: true, seed: 3, log_format: simple, log_interval: 1}}
task: {{_name: language_modeling, data: {data}, tokens_per_sample: 16}}
model: {{_name: transformer_lm, decoder_layers: 1, decoder_embed_dim: 16,
  decoder_output_dim: 16, decoder_input_dim: 16, decoder_ffn_embed_dim: 16,
  decoder_attention_heads: 2}}
criterion: {{_name: scalegrad, gamma: {gamma}}}
optimizer: {{_name: adam}}
lr_scheduler: {{_name: fixed}}
dataset: {{max_tokens: 128}}
optimization: {{max_update: 2, lr: [0.01]}}
checkpoint: {{save_dir: {save_dir}, no_epoch_checkpoints: true}}
"""


def hydra_train(data: Path, folder: Path, gamma: float):
    (folder / "config").mkdir()
    yaml = HYDRA_YAML.format(user_dir=USER_DIR, data=data, save_dir=folder / "save", gamma=gamma)
    (folder / "config" / "tiny.yaml").write_text(yaml)
    return run_cold(
        "fairseq-hydra-train",
        *(f"--config-dir={folder / 'config'}", "--config-name=tiny"),
        f"hydra.run.dir={folder / 'hydra'}",
    )


def test_hydra_train_with_a_yaml(language_model_data, tmp_path):
    hydra_train(language_model_data, tmp_path, gamma=0.4)
    state = torch.load(tmp_path / "save" / "checkpoint_last.pt", weights_only=False)
    criterion = state["cfg"]["criterion"]
    assert (criterion["_name"], criterion["gamma"]) == ("scalegrad", 0.4)
    assert state["optimizer_history"][-1]["num_updates"] == 2


PLUGIN_FLAGS = [
    *("--criterion", "scalegrad", "--report-accuracy", "--dropout", "0"),
    *("--optimizer", "sgd", "--lr", "0.5"),
]


def two_processes(data: Path, folder: Path, *flags: object):
    return train(
        *(data, folder, TINY_TRANSLATION, *PLUGIN_FLAGS),
        *("--distributed-world-size", 2, "--max-update", 3, *flags),
        run=run_warm,
    )


@pytest.mark.parametrize("backend", ["pytorch_ddp", "legacy_ddp"])
def test_two_cpu_processes_equal_one(backend, translation_data, tmp_path):
    """``--cpu --distributed-world-size 2`` alone; the parameters of one process, two batches."""
    two_processes(translation_data, tmp_path / "two", "--ddp-backend", backend)
    train(
        *(translation_data, tmp_path / "one", TINY_TRANSLATION, *PLUGIN_FLAGS),
        *("--update-freq", 2, "--max-update", 3),
    )
    want = parameters(tmp_path / "one" / "checkpoint_last.pt")
    got = parameters(tmp_path / "two" / "checkpoint_last.pt")
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-5, atol=1e-5)

    # And a resume by two processes: the second one receives the checkpoint from the first.
    resumed = two_processes(
        translation_data, tmp_path / "two", "--ddp-backend", backend, "--max-update", 5
    )
    assert re.search(r"Loaded checkpoint .*@ 3 updates", resumed.output)
    assert moved(got, parameters(tmp_path / "two" / "checkpoint_last.pt"))


def test_torchrun_equals_the_two_flags(translation_data, tmp_path):
    two_processes(translation_data, tmp_path / "spawned")
    run_warm(
        "torchrun",
        *("--standalone", "--nproc_per_node", 2, "--no-python", "fairseq-train"),
        *(translation_data, "--user-dir", USER_DIR, *TINY_TRANSLATION, *OPTIMISATION),
        *(*PLUGIN_FLAGS, "--max-update", 3, "--save-dir", tmp_path / "launched"),
    )
    want = parameters(tmp_path / "spawned" / "checkpoint_last.pt")
    got = parameters(tmp_path / "launched" / "checkpoint_last.pt")
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-6, atol=1e-7)


def test_finetunes_what_plain_fairseq_trained(translation_data, tmp_path):
    """A baseline that never knew the plugin: another process, fairseq alone."""
    plain = run_warm(
        "fairseq-train",
        *(translation_data, *TINY_TRANSLATION, *OPTIMISATION, "--criterion", "cross_entropy"),
        *("--max-update", 2, "--save-dir", tmp_path / "plain"),
    )
    assert "genft" not in plain.output
    baseline = tmp_path / "plain" / "checkpoint_last.pt"
    train(
        *(translation_data, tmp_path / "tuned", TINY_TRANSLATION, "--criterion", "unlikelihood"),
        *("--finetune-from-model", baseline, "--max-update", 2),
    )
    tuned = parameters(tmp_path / "tuned" / "checkpoint_last.pt")
    assert moved(parameters(baseline), tuned)


def test_batch_buckets(translation_data, tmp_path):
    """``--num-batch-buckets`` needs names that numpy has dropped or renamed."""
    done = train(
        *(translation_data, tmp_path, TINY_TRANSLATION, "--criterion", "unlikelihood"),
        *("--num-batch-buckets", 3, "--max-update", 2),
    )
    assert "bucketing target lengths" in done.output  # in fairseq's words
    assert (tmp_path / "checkpoint_last.pt").exists()


@pytest.mark.parametrize("chunk", [0, 16])
def test_masked_language_models(chunk, language_model_data, tmp_path):
    """The perplexity is of the masked tokens, as with fairseq's own criterion."""
    model = [
        *("--task", "masked_lm", "--arch", "roberta", "--encoder-layers", 1),
        *("--encoder-embed-dim", 16, "--encoder-ffn-embed-dim", 16),
        *("--encoder-attention-heads", 2, "--tokens-per-sample", 32, "--lr", 0),
        *("--sample-break-mode", "eos", "--max-update", 1, "--no-save", "--criterion"),
    ]
    shown = []
    for criterion in (["masked_lm"], ["scalegrad", "--gamma", 1, "--loss-chunk-size", chunk]):
        done = train(language_model_data, tmp_path, [*model, *criterion], "--num-workers", 0)
        shown.append(re.search(r"valid on 'valid' subset .*\| ppl ([\d.]+)", done.output)[1])
    assert float(shown[0]) > 10
    assert shown[0] == shown[1]
