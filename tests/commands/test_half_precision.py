"""Training and decoding in half precision on a CPU, by the real commands."""

import copy
import functools
import re

import fairseq_cli.train
import pytest
import torch._dynamo  # an optimizer imports it: once here, rather than once a run
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.distributed import utils as distributed_utils
from fairseq_commands import (
    OPTIMISATION,
    TINY_LANGUAGE_MODEL,
    TINY_TRANSLATION,
    USER_DIR,
    parameters,
    run,
)
from forked_runs import ForkedRun, ranks
from refusals import assert_refused

EPSILON = {"fp16": 2.0**-10, "bf16": 2.0**-7, "amp": 2.0**-10}
MODES = {
    "--fp16": "fp16",
    "--memory-efficient-fp16": "fp16",
    "--bf16": "bf16",
    "--memory-efficient-bf16": "bf16",
    "--amp": "amp",
}
every_mode = pytest.mark.parametrize("mode", MODES)
SCALED = [["--fp16"], ["--fp16", "--fp16-no-flatten-grads"], ["--memory-efficient-fp16"], ["--amp"]]
every_scaled = pytest.mark.parametrize("flags", SCALED, ids=" ".join)

SEQUENCE = {"sequence_rate": 1.0, "sequence_ngram": 1}
TRANSLATION = {
    "scalegrad": {"gamma": 0.5},
    "unlikelihood": {"unlikelihood_alpha": 0.7, "label_smoothing": 0.1},
    "first_token_auxiliary": {"first_token_weight": 0.3},
    "generative_rollout": {"rollout_rate": 1.0},
    "sequence_unlikelihood": {**SEQUENCE, "sequence_max_len_a": 1.0, "sequence_max_len_b": 5},
    "minimum_risk": {"risk_candidates": 3, "risk_alpha": 0.5, "risk_reward": "chrf"},
    "scheduled_sampling_translation": {"mix": "sample"},
}
LANGUAGE_MODEL = {
    **{name: TRANSLATION[name] for name in ("scalegrad", "unlikelihood", "first_token_auxiliary")},
    "generative_rollout": {"rollout_rate": 1.0, "rollout_prefix_length": 4},
    "sequence_unlikelihood": {
        **{**SEQUENCE, "sequence_prefix_length": 5, "sequence_completion_length": 8}
    },
    "scheduled_sampling_language_modeling": {},
}
CASES = [
    *(("translation", name) for name in TRANSLATION),
    *(("language_model", name) for name in LANGUAGE_MODEL),
]


def losses(done):
    """Of each update, in bits."""
    return [float(loss) for loss in re.findall(r"train_inner.*?\bloss=([^,]*),", done.output)]


def scales(done):
    return [
        float(scale) for scale in re.findall(r"train_inner.*\bloss_scale=([\d.]+)", done.output)
    ]


@pytest.fixture(scope="module")
def two_updates(request, tmp_path_factory):
    """Two updates of a task and criterion from the baseline, in some precision.

    Configured as hydra hands it over: parsing flags takes longer than two updates do.
    """

    @functools.cache
    def base(kind):
        model = TINY_TRANSLATION if kind == "translation" else TINY_LANGUAGE_MODEL
        baseline = request.getfixturevalue(f"{kind}_baseline") / "checkpoint_last.pt"
        words = [
            *(request.getfixturevalue(f"{kind}_data"), "--user-dir", USER_DIR, *model),
            *(*OPTIMISATION, "--criterion", "scalegrad", "--dropout", 0, "--max-update", 2),
            *("--finetune-from-model", baseline, "--disable-validation", "--num-workers", 0),
        ]
        args = options.parse_args_and_arch(options.get_training_parser(), list(map(str, words)))
        return convert_namespace_to_omegaconf(args), parameters(baseline)

    def train(kind, name, **common):
        cfg, before = copy.deepcopy(base(kind))
        own = (TRANSLATION if kind == "translation" else LANGUAGE_MODEL)[name]
        if name.startswith("scheduled_sampling"):
            cfg.task = {**cfg.task, "_name": name, **own}
        else:
            cfg.criterion = {"_name": name, **own}
        cfg.common.update(common)
        cfg.checkpoint.save_dir = str(tmp_path_factory.mktemp("run"))
        start = functools.partial(distributed_utils.call_main, cfg, fairseq_cli.train.main)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fairseq_cli.train, "cli_main", start)
            done = run("fairseq-train")
        after = parameters(f"{cfg.checkpoint.save_dir}/checkpoint_last.pt")
        moved = torch.cat([(after[key] - before[key]).flatten() for key in sorted(before)])
        return losses(done), moved

    return functools.cache(train)


@every_mode
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_two_updates_are_about_those_of_float32(kind, name, mode, two_updates):
    """The first loss is rounded and no more; by the second a rollout may have chosen otherwise."""
    want, usual = two_updates(kind, name)
    got, moved = two_updates(kind, name, **{mode[2:].replace("-", "_"): True})
    assert len(got) == len(want) == 2
    bound = 2 * EPSILON[MODES[mode]] * max(1.0, want[0]) + 0.001  # as it is printed
    assert got[0] == pytest.approx(want[0], abs=bound)
    assert got[1] == pytest.approx(want[1], rel=0.05, abs=0.05)
    # Adam moves a parameter by the learning rate, 0.01, in its first update.
    assert 0.01 < moved.abs().max() < 0.03
    assert torch.cosine_similarity(moved, usual, dim=0) > 0.9
    assert not torch.equal(moved, usual)  # float32 under another name


def command(data, *flags):
    """``fairseq-train`` of a small translation model; no dropout, so that figures compare."""
    criterion = ["--criterion", "scalegrad", "--gamma", 0.5, "--dropout", 0]
    return [data, "--user-dir", USER_DIR, *TINY_TRANSLATION, *OPTIMISATION, *criterion, *flags]


@pytest.fixture(scope="module")
def in_float32(translation_data, tmp_path_factory):
    """The losses of four updates, and of three of two batches each."""

    def found(*flags):
        folder = tmp_path_factory.mktemp("float32")
        arguments = command(translation_data, *flags, "--disable-validation")
        return losses(run("fairseq-train", *arguments, "--save-dir", folder))

    return found("--max-update", 4), found("--max-update", 3, "--update-freq", 2)


@every_mode
def test_resume_and_decode(mode, translation_data, in_float32, tmp_path):
    arguments = command(translation_data, mode, "--save-dir", tmp_path)
    begun = run("fairseq-train", *arguments, "--max-update", 2, "--fp16-init-scale", 64)
    resumed = run("fairseq-train", *arguments, "--max-update", 4)
    assert re.search(r"Loaded checkpoint .*@ 2 updates", resumed.output)
    bound = 4 * EPSILON[MODES[mode]]
    assert losses(begun) + losses(resumed) == pytest.approx(in_float32[0], rel=bound)
    # fairseq saves no scale of --amp, and bf16 has none.
    kept = {"fp16": {64}, "amp": {128}, "bf16": set()}
    assert set(scales(resumed)) == kept[MODES[mode]]
    for more in ([], ["--fp16"]) if mode == "--fp16" else ([],):
        done = run(
            *("fairseq-generate", translation_data, "--user-dir", USER_DIR, "--cpu", *more),
            *("--path", tmp_path / "checkpoint_last.pt", "--max-len-b", 12),
        )
        found = re.findall(r"^H-\d+\t(\S+)\t", done.output, re.MULTILINE)
        assert len(found) == 12 and all(-20 < float(score) < 0 for score in found)


@every_mode
def test_two_processes_equal_two_batches(mode, translation_data, in_float32, tmp_path):
    backend = "legacy_ddp" if "memory" in mode else "pytorch_ddp"
    flags = ["--disable-validation", "--max-update", 3, "--ddp-backend", backend]
    arguments = command(translation_data, mode, *flags, "--save-dir", tmp_path)
    done = ForkedRun(ranks(arguments, 2, tmp_path / "store")).checked()
    assert losses(done[0]) == pytest.approx(in_float32[1], rel=4 * EPSILON[MODES[mode]])


@every_scaled
def test_a_loss_scale_that_overflows_is_halved_until_it_does_not(
    flags, translation_data, in_float32, tmp_path
):
    first = 2**22
    done = run(
        *("fairseq-train", *command(translation_data, *flags, "--fp16-init-scale", first)),
        *("--max-update", 4, "--disable-validation", "--save-dir", tmp_path),
    )
    named = re.findall(r"setting (?:loss scale to:|scale to to) ([\d.]+)", done.output)
    tried = [float(scale) for scale in named]
    assert len(tried) > 3 and tried == [first / 2**n for n in range(1, len(tried) + 1)]
    assert set(scales(done)) == {tried[-1]}
    # Of other batches: those whose update was left out are not tried again.
    assert losses(done) == pytest.approx(in_float32[0], rel=0.2)


@every_scaled
def test_the_least_loss_scale_ends_the_run_in_one_line(flags, translation_data, tmp_path):
    done = run(
        *("fairseq-train", *command(translation_data, *flags, "--fp16-init-scale", 2**22)),
        *("--min-loss-scale", 2**20, "--max-update", 4, "--save-dir", tmp_path),
        check=False,
    )
    assert_refused(done, "--min-loss-scale", float(2**20))
    assert [path.name for path in tmp_path.iterdir()] == ["crash.pt"]  # fairseq's own


REFUSED = [
    (["--fp16", "--bf16"], ["--fp16", "--bf16"]),
    (["--memory-efficient-fp16", "--amp"], ["--memory-efficient-fp16", "--amp"]),
    (["--bf16", "--amp", "--distributed-world-size", 2], ["--bf16", "--amp"]),
    (["--fp16", "--amp", "--criterion", "cross_entropy", "--gamma", 1], ["--fp16", "--amp"]),
    (["--tpu"], ["--tpu", "torch_xla"]),
]


@pytest.mark.parametrize(("flags", "named"), REFUSED)
def test_two_precisions_are_refused_before_anything_is_written(
    flags, named, translation_data, tmp_path
):
    arguments = command(translation_data, *flags, "--save-dir", tmp_path / "save")
    if "cross_entropy" in flags:
        arguments = [word for word in arguments if word not in ("--gamma", 0.5, 1)]
    assert_refused(run("fairseq-train", *arguments, check=False), *named, unwritten=tmp_path)


HYDRA = """\
# @package _group_
common: {{user_dir: {user_dir}, cpu: true, log_format: simple, log_interval: 1, {precision}}}
task: {{_name: language_modeling, data: {data}, tokens_per_sample: 16}}
model: {{_name: transformer_lm, decoder_layers: 1, decoder_embed_dim: 16,
  decoder_output_dim: 16, decoder_input_dim: 16, decoder_ffn_embed_dim: 16,
  decoder_attention_heads: 2}}
criterion: {{_name: scalegrad, gamma: 0.5}}
optimizer: {{_name: adam}}
lr_scheduler: {{_name: fixed}}
dataset: {{max_tokens: 128, disable_validation: true}}
optimization: {{max_update: 2, lr: [0.01]}}
checkpoint: {{save_dir: {save_dir}, no_epoch_checkpoints: true}}
"""


def hydra_train(data, folder, precision):
    settings = {"user_dir": USER_DIR, "data": data, "save_dir": folder / "save"}
    (folder / "tiny.yaml").write_text(HYDRA.format(precision=precision, **settings))
    place = [f"--config-dir={folder}", "--config-name=tiny", f"hydra.run.dir={folder / 'hydra'}"]
    return run("fairseq-hydra-train", *place, check=False)


def test_hydra(language_model_data, tmp_path):
    done = hydra_train(language_model_data, tmp_path, "memory_efficient_bf16: true")
    state = torch.load(tmp_path / "save" / "checkpoint_last.pt", weights_only=False)
    assert done.returncode == 0 and state["cfg"]["common"]["bf16"]
    assert state["optimizer_history"][-1]["optimizer_name"] == "MemoryEfficientFP16Optimizer"


def test_hydra_is_refused_before_anything_is_written(language_model_data, tmp_path):
    done = hydra_train(language_model_data, tmp_path, "fp16: true, bf16: true")
    assert_refused(done, "--fp16", "--bf16", unwritten=tmp_path / "save")
