"""The recipes: their commands parse, say what was published, and do not depend on the GPUs."""

import functools
import importlib.util
import math
import os
import re
import shlex
import sys

import fairseq.distributed.utils as distributed
import pytest
import torch
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq_commands import REPOSITORY
from refusals import assert_script_refused
from test_examples import parse, shell

from genft_fairseq.cli import genft

EXAMPLES = REPOSITORY / "examples"
TRANSLATION, LANGUAGE = EXAMPLES / "translation", EXAMPLES / "language_modeling"
SETUPS = {  # recipe and set-up: its scripts, as (folder, first argument)
    "multi30k": (TRANSLATION / "multi30k", ()),
    "wmt14 base": (TRANSLATION / "wmt14_en_de", ("base",)),
    "wmt14 big": (TRANSLATION / "wmt14_en_de", ("big",)),
    "wmt14 big-large-batch": (TRANSLATION / "wmt14_en_de", ("big-large-batch",)),
    "iwslt14": (TRANSLATION / "iwslt14_de_en", ()),
    "wikitext103 small": (LANGUAGE / "wikitext103", ("small",)),
    "wikitext103 medium": (LANGUAGE / "wikitext103", ("medium",)),
}
SCRIPTS = sorted(EXAMPLES.rglob("*.sh"))
SOURCED = {"settings.sh", "training.sh", "measuring.sh"}
# What may differ between methods that are compared.
METHOD = {"criterion", "gamma", "unlikelihood_alpha", "first_token_weight", "save_dir"}


@functools.cache
def commands(setup: str, script: str, *more: str, **environment: str) -> list[list[str]]:
    """What a script of the set-up prints with DRY_RUN=1, without data and without a GPU."""
    folder, arguments = SETUPS[setup]
    if not (folder / script).exists():
        return []
    done = shell("bash", folder / script, *arguments, *more, DRY_RUN="1", **environment)
    assert done.returncode == 0, done.stderr
    return [shlex.split(line) for line in done.stdout.splitlines()]


@functools.cache
def trained(setup: str, **environment: str) -> dict[str, object]:
    """The parsed flags of every run of train.sh and finetune.sh, by name."""
    both = [*commands(setup, "train.sh", **environment)]
    both += commands(setup, "finetune.sh", **environment)
    runs = [parse(words[1:]) for words in both if words[0] == "fairseq-train"]
    return {run.save_dir.split("/")[-1]: run for run in runs}


def tokens_an_update(run) -> int:
    return run.max_tokens * run.update_freq[0] * run.distributed_world_size


@pytest.mark.parametrize("setup", SETUPS)
def test_training_commands(setup):
    """One GPU and eight: the same flags and tokens an update, and half precision."""
    one, eight = trained(setup, GPUS="1"), trained(setup, GPUS="8")
    assert list(one) == list(eight) and "baseline" in one
    for name, run in one.items():
        assert not run.cpu and run.distributed_world_size == 1
        if setup == "multi30k":  # made for two CPU cores: no word about GPUs
            continue
        assert run.fp16 and eight[name].fp16
        assert tokens_an_update(run) == tokens_an_update(eight[name])
        places = {"max_tokens", "max_tokens_valid", "update_freq", "distributed_world_size"}
        places.add("distributed_num_procs")
        now, then = vars(run), vars(eight[name])
        assert {k: now[k] for k in now.keys() - places} == {k: then[k] for k in now.keys() - places}
    tuned = [vars(run) for name, run in one.items() if name != "baseline"]
    assert len(tuned) >= 3 and all("/baseline/" in run["finetune_from_model"] for run in tuned)
    for run in tuned:
        shared = run.keys() & tuned[0].keys() - METHOD
        assert {k: run[k] for k in shared} == {k: tuned[0][k] for k in shared}


@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("script", ["finetune.sh", "generate.sh"])
def test_other_commands(setup, script):
    """By the parser of the command that each is for; every trained run is generated from."""
    printed = commands(setup, script, GPUS="0")
    scores = {"translation": TRANSLATION, "language_modeling": LANGUAGE}
    for program, *words in printed:
        if program == "fairseq-generate":
            words = [w if w != "genft_fairseq" else str(REPOSITORY / w) for w in words]
            parsed = options.parse_args_and_arch(options.get_generation_parser(), words)
            assert parsed.cpu and parsed.gen_subset == "test"
        elif program == "genft":
            accept(genft.commands[words[0]], words[1:])
        elif program == "python3":
            accept(loaded(scores[words[0].split("/")[1]] / "score.py").main, words[1:])
        else:
            assert program == "fairseq-train"  # parsed by the test above
    if script == "generate.sh":
        paths = [words[words.index("--path") + 1] for words in printed if "--path" in words]
        assert [path.split("/")[-2] for path in paths] == list(trained(setup, GPUS="0"))
        assert printed[-1][0] == "python3"


def accept(command, words: list[str]) -> None:
    """click's parser, which refuses a flag that it does not know; the files need not exist."""
    context = command.context_class(command)
    command.make_parser(context).parse_args(list(words))


def loaded(path):
    """A script of the examples as a module; as for python, its folder is searched first."""
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_score", path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


TRANSFORMER = {"label_smoothing": 0.1, "adam_betas": "(0.9, 0.98)", "warmup_updates": 4000}
TRANSFORMER |= {"lr_scheduler": "inverse_sqrt", "optimizer": "adam", "clip_norm": 0.0}
WMT = TRANSFORMER | {"encoder_layers": 6, "decoder_layers": 6, "share_all_embeddings": True}
BIG = WMT | {"decoder_embed_dim": 1024, "encoder_ffn_embed_dim": 4096, "dropout": 0.3}
BIG |= {"encoder_attention_heads": 16, "decoder_attention_heads": 16, "encoder_embed_dim": 1024}
LM = TRANSFORMER | {"label_smoothing": 0.0, "max_update": 50_000, "tokens_per_sample": 512}
LM |= {"lr": [5e-4], "weight_decay": 0.01, "dropout": 0.1, "share_decoder_input_output_embed": True}
# From the papers and fairseq's pages, not from the scripts: tokens an update, and flags.
PUBLISHED = {
    "wmt14 base": (
        8 * 4096,
        WMT
        | {"encoder_embed_dim": 512, "decoder_embed_dim": 512, "encoder_ffn_embed_dim": 2048}
        | {"encoder_attention_heads": 8, "dropout": 0.1, "max_update": 100_000}
        | {"adam_eps": 1e-9, "keep_interval_updates": 5},
    ),
    "wmt14 big": (
        8 * 3584,
        BIG | {"max_update": 300_000, "adam_eps": 1e-9, "keep_interval_updates": 20},
    ),
    "wmt14 big-large-batch": (128 * 3584, BIG | {"lr": [1e-3], "weight_decay": 0.0}),
    "iwslt14": (
        4096,
        TRANSFORMER
        | {"arch": "transformer_iwslt_de_en", "dropout": 0.3, "weight_decay": 1e-4, "lr": [5e-4]}
        | {"share_decoder_input_output_embed": True, "source_lang": "de", "target_lang": "en"},
    ),
    "wikitext103 small": (
        2 * 16 * 2048,
        LM | {"decoder_layers": 12, "decoder_embed_dim": 768, "decoder_attention_heads": 12},
    ),
    "wikitext103 medium": (
        2 * 16 * 2048,
        LM | {"decoder_layers": 24, "decoder_embed_dim": 1024, "decoder_attention_heads": 16},
    ),
}


@pytest.mark.parametrize("setup", PUBLISHED)
def test_the_published_hyper_parameters(setup):
    tokens, flags = PUBLISHED[setup]
    run = trained(setup, GPUS="8")["baseline"]
    assert tokens_an_update(run) == tokens
    assert {name: getattr(run, name) for name in flags} == flags
    if setup in ("wmt14 base", "wmt14 big"):  # Vaswani et al., equation 3, at its top
        peak = run.encoder_embed_dim**-0.5 * run.warmup_updates**-0.5
        assert math.isclose(run.lr[0], peak, rel_tol=0.02)


def test_the_published_decoding_and_fine_tuning():
    generate, *_ = [w for w in commands("wmt14 base", "generate.sh") if w[0] == "fairseq-generate"]
    words = [w if w != "genft_fairseq" else str(REPOSITORY / w) for w in generate[1:]]
    parsed = options.parse_args_and_arch(options.get_generation_parser(), words)
    assert (parsed.beam, parsed.lenpen, parsed.max_len_a, parsed.max_len_b) == (4, 0.6, 1, 50)
    tuned = trained("wmt14 base", GPUS="1")
    assert {run.max_epoch for name, run in tuned.items() if name != "baseline"} == {10}
    assert [tuned[f"scalegrad-{gamma}"].gamma for gamma in (0.2, 0.5, 0.8)] == [0.2, 0.5, 0.8]
    assert [tuned[f"first-token-{w}"].first_token_weight for w in (0.1, 0.3)] == [0.1, 0.3]
    assert tuned["unlikelihood"].unlikelihood_alpha == 1.0
    lm = trained("wikitext103 small", GPUS="8")["scalegrad-0.2"]  # Lin et al.: one GPU
    assert (lm.tokens_per_sample, tokens_an_update(lm), lm.max_update) == (300, 300, 35_000)
    assert (lm.lr, lm.gamma, lm.clip_norm, lm.dropout) == ([2e-5], 0.2, 0.0, 0.0)


def test_eight_processes_are_started(monkeypatch):
    """What fairseq makes of the command on a machine with eight GPUs."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    started = []
    monkeypatch.setattr(torch.multiprocessing, "spawn", lambda **how: started.append(how["nprocs"]))
    for gpus in ("8", "1"):
        run = trained("wmt14 base", GPUS=gpus)["baseline"]
        config = convert_namespace_to_omegaconf(run)
        distributed.call_main(config, lambda *_: started.append("here"))
    assert started == [8, "here"]


def test_the_environment(tmp_path):
    """Precision, memory and further flags; what cannot be is refused in one line."""
    words = commands(
        "wmt14 base", "train.sh", "d", "r", "--", "--lr", "1", PRECISION="bf16", GPUS="1"
    )
    run = parse(words[0][1:])
    assert run.bf16 and not run.fp16 and run.lr == [1.0] and run.data == "d"
    assert run.save_dir == "r/baseline"
    small = trained("wmt14 big", GPUS="4", MAX_TOKENS="1792")["baseline"]
    assert (small.max_tokens, small.update_freq) == (1792, [4])
    script = SETUPS["wmt14 base"][0] / "train.sh"
    for value, arguments, environment in (
        ("4096", (), {"GPUS": "3", "DRY_RUN": "1"}),
        ("PRECISION=fp16", (), {"GPUS": "0", "PRECISION": "fp16"}),
        ("GPUS", (), {"GPUS": "two"}),
        ("huge", ("huge",), {"GPUS": "0"}),
        (tmp_path, ("base", tmp_path), {"GPUS": "0"}),
    ):
        assert_script_refused(shell("bash", script, *arguments, **environment), value)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_scripts(script):
    """The shell reads them, and the preparation that they name writes where they look."""
    assert shell("bash", "-n", script).returncode == 0
    assert os.access(script, os.X_OK) == (script.name not in SOURCED)
    text = script.read_text()
    settings = script.parent / "settings.sh"
    everything = text + (settings.read_text() if settings.exists() else "")
    if '--out "$data' in text:  # it says itself where the preparation writes
        return
    for preparation in re.findall(r"data-prep/prepare-[\w-]+\.sh", text):
        folders = set(re.findall(r"\$root/(data-bin/[\w-]+)", everything))
        named = shell("bash", preparation, "--help").stdout + everything
        written = re.findall(r"(?:default: |--out )(data-bin/[\w-]+)", named)
        assert folders & set(written)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"GPUS": "08"}, ["GPUS", "08"]),
        ({"GPUS": "5000"}, ["4096", "5000"]),
        ({"MAX_TOKENS": "0"}, ["MAX_TOKENS", "0"]),
        ({"METHODS": "mle typo"}, ["typo"]),
        ({"METHODS": "scalegrad-abc"}, ["scalegrad-abc"]),
        ({"METHODS": " "}, ["METHODS"]),
        ({"DRY_RUN": "0"}, ["DRY_RUN", "0"]),
        ({"PRECISION": "fp8"}, ["PRECISION", "fp8"]),
    ],
)
def test_wrong_settings_are_told_before_anything_is_trained(wrong, named):
    done = shell("bash", TRANSLATION / "iwslt14_de_en" / "train.sh", **{"DRY_RUN": "1", **wrong})
    assert_script_refused(done, *named)
