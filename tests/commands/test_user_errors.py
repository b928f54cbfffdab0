"""fairseq's own user errors, through the real commands: one line with the flag or file."""

import re
import shutil
import sys

import pytest
import yaml
from fairseq_commands import (
    TINY_TRANSLATION,
    USER_DIR,
    run,
    run_warm,
    train,
)
from fid_folder import TINY_FID, keys_and_values, write_fid_folder
from refusals import assert_refused

CROSS_ENTROPY = ["--criterion", "label_smoothed_cross_entropy", "--max-update", 2]
PLUGIN = ["--user-dir", USER_DIR, "--cpu"]


def words(text):
    return text.split(" ")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (words("--finetune-from-model nowhere.pt"), ["--finetune-from-model", "nowhere.pt"]),
        (
            words("--finetune-from-model a.pt --reset-optimizer"),
            ["--finetune-from-model", "--reset-optimizer"],
        ),
        (
            words("--finetune-from-model a.pt --restore-file b.pt"),
            ["--finetune-from-model", "--restore-file"],
        ),
        (["--eval-bleu", "--eval-bleu-args", "{beam: 5}"], ["--eval-bleu-args", "{beam: 5}"]),
        (["--eval-bleu", "--eval-bleu-args", "[5]"], ["--eval-bleu-args", "[5]"]),
        (["--eval-bleu", "--eval-bleu-args", '{"beam": "five"}'], ["--eval-bleu-args", "five"]),
        (["--eval-bleu", "--eval-bleu-args", '{"lenpn": 1}'], ["--eval-bleu-args", "lenpn"]),
        (["--eval-bleu", "--eval-bleu-detok", "moze"], ["--eval-bleu-detok", "moze"]),
        (["--eval-bleu", "--eval-bleu-detok-args", "{"], ["--eval-bleu-detok-args", "{"]),
        (["--optimizer-overrides", "{lr"], ["--optimizer-overrides", "{lr"]),
        (["--adam-betas", "0.9"], ["--adam-betas", "0.9"]),
        (["--adam-betas", "(a, b)"], ["--adam-betas", "(a, b)"]),
        (words("--max-tokens 5"), ["--max-tokens", "5"]),
        (words("--max-tokens-valid 5"), ["--max-tokens-valid", "5"]),
        (words("--update-freq 0"), ["--update-freq", "0"]),
        (words("--log-interval 0"), ["--log-interval", "0"]),
        (words("--validate-interval 0"), ["--validate-interval", "0"]),
        (words("--num-workers -1"), ["--num-workers", "-1"]),
        (words("--required-batch-size-multiple 0"), ["--required-batch-size-multiple", "0"]),
        (words("--lr -1"), ["--lr", "-1"]),
        (words("--seed 99999999999"), ["--seed", "99999999999"]),
        (words("--dropout 2"), ["--dropout", "2"]),
        (words("--encoder-attention-heads 3"), ["--encoder-attention-heads", "16", "3"]),
        (words("--decoder-embed-dim 32"), ["--share-all-embeddings", "--decoder-embed-dim"]),
        (words("--optimizer adafactor --relative-step"), ["--optimizer adafactor"]),
        (words("--optimizer lamb"), ["--optimizer lamb"]),
        (words("--optimizer cpu_adam"), ["--optimizer cpu_adam"]),
        (words("--lr-scheduler polynomial_decay"), ["--total-num-update"]),
        (words("--lr-scheduler tri_stage"), ["--lr-scheduler tri_stage", "--phase-ratio"]),
        (words("--dataset-impl raw"), ["--dataset-impl", "raw"]),
        (words("--dataset-impl lazy"), ["--dataset-impl", "lazy"]),
        (words("--dataset-impl fasta"), ["--dataset-impl", "fasta"]),
        (words("--use-plasma-view"), ["--use-plasma-view"]),
        (words("--valid-subset nothing"), ["nothing"]),
        (words("--max-source-positions 5"), ["--skip-invalid-size-inputs-valid-test"]),
    ],
)
def test_training(flags, named, translation_data, tmp_path):
    save = tmp_path / "save"
    done = train(translation_data, save, TINY_TRANSLATION, *CROSS_ENTROPY, *flags, check=False)
    assert_refused(done, *named, unwritten=save)


def test_no_size_of_a_batch(translation_data, tmp_path):
    done = run(
        "fairseq-train",
        *(translation_data, *PLUGIN, *TINY_TRANSLATION, *CROSS_ENTROPY, "--optimizer", "adam"),
        *("--save-dir", tmp_path),
        check=False,
    )
    assert_refused(done, "--max-tokens", "--batch-size", unwritten=tmp_path)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--criterion", "scalegrad"], ["--reset-optimizer", "ScaleGradCriterion"]),
        ([*CROSS_ENTROPY, "--optimizer", "sgd"], ["--reset-optimizer", "SGD"]),
    ],
)
def test_resuming_as_another_run(flags, named, translation_data, translation_baseline, tmp_path):
    save = shutil.copytree(translation_baseline, tmp_path / "save")
    before = {path.name: path.read_bytes() for path in save.iterdir()}
    done = train(translation_data, save, TINY_TRANSLATION, *flags, check=False)
    assert_refused(done, *named)
    assert {path.name: path.read_bytes() for path in save.iterdir()} == before


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (words("--max-tokens 5"), ["--max-tokens", "5"]),
        (words("--finetune-from-model nowhere.pt"), ["--finetune-from-model", "nowhere.pt"]),
        (words("--best-checkpoint-metric bleu"), ["--best-checkpoint-metric", "bleu"]),
    ],
)
def test_in_two_processes(flags, named, translation_data, tmp_path):
    done = train(
        *(translation_data, tmp_path, TINY_TRANSLATION, *CROSS_ENTROPY, *flags),
        *("--distributed-world-size", 2),
        check=False,
        run=run_warm,
    )
    assert_refused(done, *named, unwritten=tmp_path)


# --- decoding ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (words("--sampling --beam 3"), ["--sampling", "--nbest", "3"]),
        (words("--sampling-topk 3"), ["--sampling-topk"]),
        (
            words("--sampling --diverse-beam-groups 1 --nbest 5"),
            ["--sampling", "--diverse-beam-groups"],
        ),
        (words("--beam 3 --diverse-beam-groups 2"), ["--beam 3", "--diverse-beam-groups 2"]),
        (words("--beam 0"), ["--beam", "0"]),
        (words("--temperature 0"), ["--temperature", "0"]),
        (words("--min-len 9 --max-len-b 5"), ["--min-len 9", "--max-len-b 5"]),
        (["--model-overrides", "{beam"], ["--model-overrides", "{beam"]),
        (["--model-overrides", "[1]"], ["--model-overrides", "[1]"]),
        (words("--bpe subword_nmt"), ["--bpe subword_nmt", "--bpe-codes"]),
        (words("--bpe sentencepiece"), ["--bpe sentencepiece", "--sentencepiece-model"]),
        (words("--bpe subword_nmt --bpe-codes /no/codes"), ["--bpe subword_nmt", "/no/codes"]),
        (words("--bpe fastbpe --bpe-codes /no/codes"), ["--bpe fastbpe"]),
        (words("--lm-path /no/lm.pt"), ["--lm-path", "/no/lm.pt"]),
        (words("--max-tokens 5"), ["--max-tokens", "5"]),
        (words("--dataset-impl raw"), ["--dataset-impl", "raw"]),
        (words("--post-process nothing"), ["--post-process", "nothing"]),
    ],
)
def test_generating(flags, named, translation_data, translation_baseline, tmp_path):
    model = translation_baseline / "checkpoint_last.pt"
    done = run("fairseq-generate", translation_data, *PLUGIN, "--path", model, *flags, check=False)
    assert_refused(done, *named)


def test_scorers_that_are_not_installed(translation_data, translation_baseline, monkeypatch):
    monkeypatch.setitem(sys.modules, "editdistance", None)
    done = run(
        *("fairseq-generate", translation_data, *PLUGIN, "--scoring", "wer"),
        *("--path", translation_baseline / "checkpoint_last.pt"),
        check=False,
    )
    assert_refused(done, "--scoring wer", "editdistance")


@pytest.mark.parametrize("command", ["generate", "interactive", "validate", "eval-lm"])
@pytest.mark.parametrize("path", [[], ["--path", "/no/such.pt"]])
def test_no_checkpoint(command, path, translation_data, language_model_data, tmp_path):
    data = language_model_data if command == "eval-lm" else translation_data
    size = ["--max-tokens", 128] if command == "validate" else []
    results = ["--results-path", tmp_path / "results"] if command == "generate" else []
    done = run(f"fairseq-{command}", data, *PLUGIN, *size, *path, *results, check=False)
    assert_refused(done, "--path", *path[1:], unwritten=tmp_path / "results")


@pytest.mark.parametrize("command", ["generate", "eval-lm", "validate"])
def test_overrides_of_every_command(
    command, translation_data, translation_baseline, language_model_data, language_model_baseline
):
    is_lm = command == "eval-lm"
    data = language_model_data if is_lm else translation_data
    model = (language_model_baseline if is_lm else translation_baseline) / "checkpoint_last.pt"
    done = run(
        *(f"fairseq-{command}", data, *PLUGIN, "--path", model, "--max-tokens", 128),
        *("--model-overrides", "{'a': open}"),
        check=False,
    )
    assert_refused(done, "--model-overrides", "{'a': open}")


def test_interactive(translation_data, translation_baseline, tmp_path):
    command = [
        *("fairseq-interactive", translation_data, *PLUGIN, "--max-len-b", 5),
        *("--path", translation_baseline / "checkpoint_last.pt"),
    ]
    sizes = ["--batch-size", 4, "--buffer-size", 2]
    assert_refused(run(*command, *sizes, check=False), "--batch-size 4", "--buffer-size 2")
    text = tmp_path / "latin"
    text.write_bytes("w1 w2\ncaf\xe9\n".encode("latin-1"))
    assert_refused(run(*command, "--input", text, check=False), text, "line 2")
    sizes = ["--batch-size", 4, "--buffer-size", 4]
    assert run(*command, *sizes, stdin="w1\nw2\n").stdout.count("H-") == 2


def test_the_languages_of_a_tokeniser(translation_data, translation_baseline, language_model_data):
    """They are the data folder's, as the task finds them."""
    command = [
        *("--user-dir", USER_DIR, "--cpu", "--max-len-b", 5, "--tokenizer", "moses"),
        *("--path", translation_baseline / "checkpoint_last.pt"),
    ]
    found = run("fairseq-generate", translation_data, *command)
    given = run("fairseq-generate", translation_data, *command, "-s", "en", "-t", "de")
    assert sorted(found.stdout.splitlines()) == sorted(given.stdout.splitlines())
    done = run("fairseq-generate", language_model_data, *command, check=False)
    assert_refused(done, "--tokenizer moses", "--source-lang")


@pytest.mark.parametrize("kind", ["translation", "language_modeling"])
def test_validation_finds_the_task_in_the_checkpoint(kind, request):
    translation = kind == "translation"
    data = request.getfixturevalue("translation_data" if translation else "language_model_data")
    folder = request.getfixturevalue(
        "translation_baseline" if translation else "language_model_baseline"
    )
    command = [
        *("fairseq-validate", data, *PLUGIN, "--max-tokens", 128),
        *("--path", folder / "checkpoint_last.pt", "--log-format", "json"),
    ]

    def metrics(done):
        return re.findall(r'"valid_(?:loss|ppl)": "[\d.]+"', done.output)

    found = metrics(run(*command))
    assert found and found == metrics(run(*command, "--task", kind))


# --- preprocessing -------------------------------------------------------------------------------


@pytest.fixture
def latin(tmp_path):
    for language in ("en", "de"):
        (tmp_path / f"latin.{language}").write_bytes("w1\ncaf\xe9\n".encode("latin-1"))
    return tmp_path / "latin"


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--trainpref {latin}", ["--trainpref", "latin.en", "line 2"]),
        ("--trainpref {text}/train --validpref {latin}", ["--validpref", "latin.en", "line 2"]),
        (
            "--trainpref {text}/train --testpref {text}/test,{latin} --workers 2",
            ["--testpref", "latin.en", "line 2"],
        ),
        ("--trainpref {text}/train --testpref /no/test", ["--testpref", "/no/test.en"]),
        ("--validpref {text}/valid", ["--trainpref", "--srcdict"]),
        ("--trainpref {text}/train --srcdict /no/dict", ["--srcdict", "/no/dict"]),
        ("--trainpref {text}/train --dataset-impl huffman", ["--dataset-impl", "huffman"]),
        ("--trainpref {text}/train --workers 0", ["--workers", "0"]),
        (
            "--trainpref {text}/train --joined-dictionary --srcdict {text}/a --tgtdict {text}/b",
            ["--joined-dictionary", "--srcdict", "--tgtdict"],
        ),
    ],
)
def test_preprocessing(flags, named, text, latin, tmp_path):
    done = run(
        *("fairseq-preprocess", "--user-dir", USER_DIR, "-s", "en", "-t", "de"),
        *("--destdir", tmp_path / "data"),
        *words(flags.format(text=text, latin=latin)),
        check=False,
    )
    assert_refused(done, *named, unwritten=tmp_path / "data")


@pytest.mark.parametrize("flags", [["-s", "en", "-t", "de"], ["--only-source"]])
def test_a_dictionary_that_is_there(flags, text, tmp_path):
    name = "dict.txt" if "--only-source" in flags else "dict.de.txt"
    (tmp_path / name).write_text("w1 1\n")
    suffix = ".en" if "--only-source" in flags else ""
    done = run(
        *("fairseq-preprocess", "--user-dir", USER_DIR, *flags, "--destdir", tmp_path),
        *("--trainpref", f"{text / 'train'}{suffix}"),
        check=False,
    )
    assert_refused(done, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "w1 1\n"


def test_an_empty_text(text, translation_data, tmp_path):
    """fairseq-preprocess writes it; nothing can read it."""
    for language in ("en", "de"):
        (tmp_path / f"empty.{language}").write_text("")
    dictionary = translation_data / "dict.en.txt"
    run(
        *("fairseq-preprocess", "--user-dir", USER_DIR, "-s", "en", "-t", "de"),
        *("--srcdict", dictionary, "--tgtdict", dictionary, "--destdir", tmp_path / "data"),
        *("--trainpref", text / "train", "--validpref", tmp_path / "empty"),
    )
    done = train(
        *(tmp_path / "data", tmp_path / "save", TINY_TRANSLATION, *CROSS_ENTROPY), check=False
    )
    assert_refused(done, "valid.en-de.en.bin", unwritten=tmp_path / "save")


# --- hydra ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"criterion": {"_name": "scalegrad", "gamm": 0.5}}, ["criterion.gamm"]),
        ({"criterion": {"_name": "scalegrad", "gamma": "half"}}, ["criterion.gamma", "half"]),
        ({"criterion": {"_name": "scalegrad", "gamma": 1.5}}, ["--gamma", "1.5"]),
        ({"optimizer": {"_name": "adamm"}}, ["--optimizer", "adamm"]),
        ({"criterion": {"_name": "scalegrat"}}, ["--criterion", "scalegrat"]),
        ({"common": {"log_interval": 0}}, ["--log-interval", "0"]),
        ({"dataset": {"max_tokens": None}}, ["--max-tokens", "--batch-size"]),
        ({"checkpoint": {"finetune_from_model": "/no/x.pt"}}, ["--finetune-from-model", "/no/x"]),
        ({"checkpoint": {"best_checkpoint_metric": "bleu"}}, ["--best-checkpoint-metric", "bleu"]),
        ({"dataset": {"max_tokens": 5}, "task": {"sample_break_mode": "eos"}}, ["--max-tokens"]),
    ],
)
def test_hydra(change, named, language_model_data, tmp_path):
    settings = {
        "common": {"user_dir": USER_DIR, "cpu": True},
        "task": {
            "_name": "language_modeling",
            "data": str(language_model_data),
            "tokens_per_sample": 16,
        },
        "criterion": {"_name": "scalegrad", "gamma": 0.5},
        "dataset": {"max_tokens": 128},
        "optimization": {"max_update": 2, "lr": [0.01]},
        "optimizer": {"_name": "adam"},
        "lr_scheduler": {"_name": "fixed"},
        "model": {
            "_name": "transformer_lm",
            "decoder_layers": 1,
            "decoder_embed_dim": 16,
            "decoder_ffn_embed_dim": 16,
            "decoder_attention_heads": 2,
        },
        "checkpoint": {"save_dir": str(tmp_path / "save")},
    }
    for group, values in change.items():
        own_name = "_name" in values
        settings[group] = values if own_name else {**settings[group], **values}
    header = "# @package _group_\n"
    (tmp_path / "made.yaml").write_text(header + yaml.safe_dump(settings))
    done = run_warm(
        *("fairseq-hydra-train", "--config-dir", tmp_path, "--config-name", "made"),
        f"hydra.run.dir={tmp_path / 'run'}",
        check=False,
    )
    assert_refused(done, *named, unwritten=tmp_path / "save")


# --- non-autoregressive models -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("criterion", "arch", "noise"),
    [
        ("scalegrad", "cmlm_transformer", "full_mask"),
        ("first_token_auxiliary", "levenshtein_transformer", "random_delete"),
        ("generative_rollout", "nonautoregressive_transformer", "full_mask"),
        ("sequence_unlikelihood", "cmlm_transformer", "random_mask"),
        ("minimum_risk", "cmlm_transformer", "full_mask"),
    ],
)
def test_models_that_do_not_write_from_left_to_right(
    criterion, arch, noise, translation_data, tmp_path
):
    model = [arch if word == "transformer" else word for word in TINY_TRANSLATION]
    model[model.index("translation")] = "translation_lev"
    done = train(
        *(translation_data, tmp_path, model, "--noise", noise, "--apply-bert-init"),
        *("--criterion", criterion, "--max-update", 2),
        check=False,
    )
    assert_refused(done, f"--criterion {criterion}", unwritten=tmp_path)


def test_scheduled_sampling_of_such_a_model(translation_data, tmp_path):
    model = ["cmlm_transformer" if word == "transformer" else word for word in TINY_TRANSLATION]
    model[model.index("translation")] = "scheduled_sampling_translation"
    done = train(
        *(translation_data, tmp_path, model, *CROSS_ENTROPY, "--apply-bert-init"), check=False
    )
    assert_refused(done, "--task scheduled_sampling_translation", unwritten=tmp_path)


@pytest.mark.parametrize("arch", ["transformer", "cmlm_transformer"])
def test_fusion_in_decoder_of_a_model_that_reads_one_text(arch, tmp_path):
    splits = {"train": keys_and_values(8), "valid": keys_and_values(4)}
    data = write_fid_folder(tmp_path / "data", splits)
    model = [arch if word == "fid_transformer" else word for word in TINY_FID]
    bert = ["--apply-bert-init"] if arch == "cmlm_transformer" else []
    done = train(data, tmp_path / "save", model, *CROSS_ENTROPY, *bert, check=False)
    assert_refused(done, "--task fid", "--arch", unwritten=tmp_path / "save")


@pytest.mark.parametrize("break_mode", ["none", "eos"])
@pytest.mark.parametrize("context", [0, 3])
def test_blocks_longer_than_the_model(
    break_mode, context, language_model_data, language_model_baseline
):
    """fairseq skips them, and prints the perplexity of what is left: of nothing, 1."""
    command = [
        *("fairseq-eval-lm", language_model_data, *PLUGIN, "--context-window", context),
        *("--path", language_model_baseline / "checkpoint_last.pt"),
        *("--sample-break-mode", break_mode, "--tokens-per-sample"),
    ]
    if break_mode == "none":
        assert_refused(run(*command, 17, check=False), "--tokens-per-sample 17", "16")
    assert "Evaluated 0 tokens" not in run(*command, 16).output
