"""Imported encoder-decoders in training: every criterion and task, and what may be added."""

import copy
import functools
import json
import math
import re
import shutil

import fairseq_cli.train
import pytest
import torch
from encoder_decoder_folder import binarized, fine_tuned, import_model
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.distributed import utils as distributed_utils
from fairseq_commands import OPTIMISATION, USER_DIR, moved, parameters, run, train
from refusals import assert_refused

SIZES = {"train": 24, "valid": 5}
PLAIN = {"_name": "scalegrad", "gamma": 0.5}
CRITERIA = {
    "scalegrad": {"gamma": 0.3, "label_smoothing": 0.1},
    "unlikelihood": {"unlikelihood_alpha": 0.7, "gamma": 0.5},
    "first_token_auxiliary": {"first_token_weight": 0.4},
    "generative_rollout": {"rollout_rate": 1.0, "rollout_search": "sampling"},
    "sequence_unlikelihood": {
        **{"sequence_rate": 1.0, "sequence_ngram": 1},
        **{"sequence_max_len_a": 0.0, "sequence_max_len_b": 8},
    },
    "minimum_risk": {
        **{"risk_candidates": 3, "risk_alpha": 0.5, "risk_reward": "chrf"},
        **{"risk_max_len_a": 0.0, "risk_max_len_b": 8},
    },
}
# Two updates, whose sizes are the gradients'.
UPDATES = ["--optimizer", "sgd", "--lr", 0.1, "--clip-norm", 1, "--max-update", 2]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder of import-hf, and data for it."""

    @functools.cache
    def made(kind):
        folder = tmp_path_factory.mktemp(kind)
        import_model(folder, kind)
        return folder / "fairseq", binarized(folder / "fairseq", folder / "data", SIZES)

    return made


@pytest.fixture(scope="module")
def trained(models, tmp_path_factory):
    """Two updates of a kind of model with some settings; its last checkpoint, and the losses.

    Configured as hydra hands it over: parsing flags takes longer than two updates do.
    """
    runs = {}

    @functools.cache
    def base(kind):
        imported, data = models(kind)
        words = [data, "--user-dir", USER_DIR, *fine_tuned(imported), *OPTIMISATION, *UPDATES]
        words += ["--criterion", "scalegrad", "--dropout", 0, "--num-workers", 0]
        words += ["--disable-validation"]
        args = options.parse_args_and_arch(options.get_training_parser(), list(map(str, words)))
        return convert_namespace_to_omegaconf(args)

    def two_updates(kind, criterion, task, model, common):
        cfg = copy.deepcopy(base(kind))
        cfg.task, cfg.criterion = {**cfg.task, **task}, criterion
        cfg.common.update(common)
        cfg.checkpoint.save_dir = str(tmp_path_factory.mktemp("run"))

        def start():
            vars(cfg.model).update(model)  # in the forked process: a copy shares it
            distributed_utils.call_main(cfg, fairseq_cli.train.main)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fairseq_cli.train, "cli_main", start)
            done = run("fairseq-train")
        assert f"loading pretrained model from {models(kind)[0] / 'model.pt'}" in done.output
        found = re.findall(r"train_inner.*?\bloss=([^,]*),", done.output)
        losses = [float(loss) for loss in found]
        assert len(losses) == 2 and all(map(math.isfinite, losses))
        return parameters(f"{cfg.checkpoint.save_dir}/checkpoint_last.pt"), losses

    def train_once(kind, criterion=PLAIN, task=None, model=None, **common):
        settings = (kind, criterion, task or {}, model or {}, common)
        key = json.dumps(settings)
        if key not in runs:
            runs[key] = two_updates(*settings)
        return runs[key]

    return train_once


def assert_close(got, want):
    assert got.keys() == want.keys()
    for name in want:
        torch.testing.assert_close(got[name], want[name], rtol=1e-5, atol=1e-6)


def distance(one, other):
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion(criterion, models, trained):
    """The parameters move, and to the same place with the logits of five positions at a time."""
    flags = {"_name": criterion, **CRITERIA[criterion]}
    whole, _ = trained("t5", flags)
    start = parameters(models("t5")[0] / "model.pt")
    assert distance(start, whole) > 1e-3
    bias = "decoder.output_projection.bias"
    assert torch.equal(start[bias], whole[bias])
    assert_close(trained("t5", {**flags, "loss_chunk_size": 5})[0], whole)


def test_the_criteria_are_different(trained):
    """No agreement by inaction."""
    ends = [trained("t5", {"_name": name, **flags})[0] for name, flags in CRITERIA.items()]
    assert all(distance(a, b) > 1e-4 for i, a in enumerate(ends) for b in ends[:i])


@pytest.mark.parametrize("mix", ["argmax", "expected_embedding"])
@pytest.mark.parametrize("kind", ["t5", "bert2bert"])
def test_scheduled_sampling(kind, mix, trained):
    gold, _ = trained(kind)
    task = {"_name": "scheduled_sampling_translation", "mix": mix}
    assert distance(gold, trained(kind, task={**task, "gold_probability": 0.3})[0]) > 1e-4
    assert not moved(gold, trained(kind, task={**task, "gold_probability": 1.0})[0])


# What a softmax over keys does not see: a constant that is added to all of them.
UNSEEN = ("k_proj.bias", "key.bias")


@pytest.mark.parametrize("kind", ["bart", "bert2bert", "bert2gpt2"])
def test_the_other_models(kind, models, trained):
    """All is trained but constants that are none of the model's parameters, and what has no use."""
    whole, _ = trained(kind)
    start = parameters(models(kind)[0] / "model.pt")
    still = {name for name in start if torch.equal(start[name], whole[name])}
    unused = {name for name in start if ".unused." in name}
    assert bool(unused) == kind.startswith("bert") and unused <= still
    # Added to logits: BART's own, and to what GPT-2 has not; of BERT they are parameters.
    constants = {"decoder.output_projection.bias"} if kind != "bert2bert" else set()
    still = {name for name in still if not name.endswith(UNSEEN)}
    assert still - unused == constants
    assert_close(trained(kind, {**PLAIN, "loss_chunk_size": 5})[0], whole)


@pytest.mark.parametrize("kind", ["t5", "bart", "bert2gpt2"])
def test_checkpointed_activations_change_nothing(kind, trained):
    """Dropout included, which is drawn again as it was."""
    want, _ = trained(kind, model={"dropout": 0.2})
    got, _ = trained(kind, model={"dropout": 0.2, "checkpoint_activations": True})
    assert_close(got, want)
    assert distance(want, trained(kind)[0]) > 1e-4


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("kind", ["t5", "bart", "bert2bert"])
def test_half_precision(kind, precision, trained):
    whole, want = trained(kind)
    half, got = trained(kind, **{precision: True}, fp16_init_scale=4)
    epsilon = {"fp16": 2.0**-10, "bf16": 2.0**-7}[precision]
    assert got == pytest.approx(want, abs=2 * epsilon * max(want) + 0.001)  # as it is printed
    assert moved(half, whole)  # or it would be float32 under another name


# --- going on ------------------------------------------------------------------------------------

RUN = [*("--criterion", "scalegrad", "--gamma", 0.5, "--dropout", 0.2, "--lr", "1e-3")]
RUN += ["--max-tokens", 150, "--disable-validation"]


def test_a_resumed_run_equals_one_in_one_piece(models, tmp_path):
    """Bit for bit, dropout on, stopped within an epoch; and it is of the model that it was."""
    imported, data = models("t5")
    model = [*fine_tuned(imported), *RUN]
    train(data, tmp_path / "whole", model, "--max-update", 4)
    train(data, tmp_path / "parts", model, "--max-update", 2)
    whole, last = (tmp_path / name / "checkpoint_last.pt" for name in ("whole", "parts"))
    half = parameters(last)
    # What the model is stands in the checkpoint: a copy of the folder is as good.
    copied = shutil.copytree(imported, tmp_path / "copied")
    done = train(data, tmp_path / "parts", [*fine_tuned(copied), *RUN], "--max-update", 4)
    assert re.search(r"Loaded checkpoint .*@ 2 updates", done.output)
    assert not moved(parameters(whole), parameters(last)) and moved(half, parameters(last))

    # Another model is not.
    before = last.read_bytes()
    import_model(tmp_path / "other", "t5", num_layers=1)
    other = [*fine_tuned(tmp_path / "other" / "fairseq"), *RUN]
    done = train(data, tmp_path / "parts", other, "--max-update", 5, check=False)
    assert_refused(done, "--hugging-face")
    assert last.read_bytes() == before
