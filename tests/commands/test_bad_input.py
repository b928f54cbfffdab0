"""What a mistake gets: one clear line, a non-zero exit, and no checkpoint."""

import os
import shutil

import pytest
import torch
from fairseq_commands import (
    TINY_LANGUAGE_MODEL,
    TINY_TRANSLATION,
    USER_DIR,
    run,
    run_warm,
    train,
)
from genft_process import genft
from refusals import assert_refused


@pytest.mark.parametrize(
    ("criterion", "flag", "value"),
    [
        ("scalegrad", "--gamma", "0"),
        ("unlikelihood", "--gamma", "1.5"),
        ("scalegrad", "--gamma", "nan"),
        ("unlikelihood", "--unlikelihood-alpha", "-0.5"),
        ("first_token_auxiliary", "--first-token-weight", "1.2"),
        ("first_token_auxiliary", "--label-smoothing", "1"),
        ("scalegrad", "--ignore-prefix-size", "-2"),
    ],
)
def test_flag_out_of_range(criterion, flag, value, translation_data, tmp_path):
    done = train(
        *(translation_data, tmp_path, TINY_TRANSLATION, "--criterion", criterion),
        *(f"{flag}={value}", "--max-update", 2),
        check=False,
    )
    assert_refused(done, flag, value, unwritten=tmp_path)


def test_flag_out_of_range_in_two_processes(translation_data, tmp_path):
    """The child that fails has its line shown by the parent."""
    done = train(
        *(translation_data, tmp_path, TINY_TRANSLATION, "--criterion", "scalegrad"),
        *("--gamma", 7, "--distributed-world-size", 2, "--max-update", 2),
        check=False,
        run=run_warm,
    )
    assert_refused(done, "--gamma", "7", unwritten=tmp_path)


def test_unknown_criterion_flag(translation_data, tmp_path):
    done = train(
        *(translation_data, tmp_path, TINY_TRANSLATION, "--criterion", "scalegrad", "--gama", 1),
        check=False,
    )
    assert_refused(done, "--gama", unwritten=tmp_path)


def test_task_without_a_target_dictionary(language_model_data, tmp_path):
    """A real fairseq task that has none, through the real command."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.tsv").write_text("/nowhere\n")
    done = run(
        "fairseq-train",
        *(tmp_path / "data", "--user-dir", USER_DIR, "--task", "audio_pretraining", "--cpu"),
        *("--arch", "wav2vec2", "--criterion", "scalegrad", "--max-tokens", 100),
        *("--save-dir", tmp_path / "save", "--optimizer", "adam"),
        check=False,
    )
    assert_refused(done, "--criterion scalegrad", "AudioPretraining")
    assert not list((tmp_path / "save").glob("*.pt"))


def test_missing_data_folder(tmp_path):
    done = train(
        *(tmp_path / "nowhere", tmp_path / "save", TINY_TRANSLATION, "--criterion", "scalegrad"),
        check=False,
    )
    assert_refused(done, tmp_path / "nowhere")
    assert not list((tmp_path / "save").glob("*.pt"))


@pytest.mark.parametrize(
    "missing",
    ["dict.de.txt", "train.en-de.de.idx", "valid.en-de.en.bin", "valid.en-de.de.idx"],
)
def test_half_prepared_data_folder(missing, translation_data, tmp_path):
    data = shutil.copytree(translation_data, tmp_path / "data")
    (data / missing).unlink()
    done = train(
        *(data, tmp_path / "save", TINY_TRANSLATION, "--criterion", "scalegrad"),
        *("--max-update", 2),
        check=False,
    )
    assert_refused(done, data)
    assert not list((tmp_path / "save").glob("*.pt"))


@pytest.mark.parametrize("missing", ["dict.txt", "train.bin", "valid.idx"])
def test_half_prepared_language_model_folder(missing, language_model_data, tmp_path):
    data = shutil.copytree(language_model_data, tmp_path / "data")
    (data / missing).unlink()
    done = train(
        *(data, tmp_path / "save", TINY_LANGUAGE_MODEL, "--criterion", "scalegrad"),
        *("--max-update", 2),
        check=False,
    )
    assert_refused(done, data)
    assert not list((tmp_path / "save").glob("*.pt"))


@pytest.mark.parametrize(
    ("cut", "keep"),
    [
        ("train.en-de.en.idx", 0),
        ("train.en-de.en.idx", 30),
        ("train.en-de.de.bin", 30),
        ("valid.en-de.de.idx", 30),
    ],
)
def test_truncated_data(cut, keep, translation_data, tmp_path):
    data = shutil.copytree(translation_data, tmp_path / "data")
    os.truncate(data / cut, keep)
    done = train(
        *(data, tmp_path / "save", TINY_TRANSLATION, "--criterion", "scalegrad"),
        *("--max-update", 2),
        check=False,
    )
    assert_refused(done, data / cut, keep)
    assert not list((tmp_path / "save").glob("*.pt"))


def test_source_only_data_is_decoded(text, translation_data, translation_baseline, tmp_path):
    """What training refuses is what decoding is for."""
    run(
        "fairseq-preprocess",
        *("--user-dir", USER_DIR, "-s", "en", "-t", "de", "--only-source", "--destdir", tmp_path),
        *(f"--trainpref={text / 'test'}", "--srcdict", translation_data / "dict.en.txt"),
    )
    shutil.copy(translation_data / "dict.de.txt", tmp_path)
    done = run(
        "fairseq-generate",
        *(tmp_path, "--user-dir", USER_DIR, "--cpu", "--max-len-b", 5, "--gen-subset", "train"),
        *("-s", "en", "-t", "de", "--path", translation_baseline / "checkpoint_last.pt"),
    )
    assert done.stdout.count("H-") == 12


def test_adaptive_softmax_is_supported(language_model_data, tmp_path):
    """Not an error: such a model trains on its exact full distribution."""
    done = train(
        *(language_model_data, tmp_path, TINY_LANGUAGE_MODEL, "--criterion", "scalegrad"),
        *("--adaptive-softmax-cutoff", "8,16", "--max-update", 2),
    )
    assert "seen_mass" in done.output
    assert (tmp_path / "checkpoint_last.pt").exists()


# --- checkpoints ---------------------------------------------------------------------------------


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def poisoned(checkpoint, target, payload):
    state = torch.load(checkpoint, weights_only=False)
    state["extra_state"]["note"] = payload
    torch.save(state, target)
    return target


@pytest.mark.parametrize("command", ["generate", "resume", "finetune", "resume with two processes"])
def test_checkpoint_that_carries_code(command, translation_data, translation_baseline, tmp_path):
    marker, save = tmp_path / "executed", tmp_path / "save"
    save.mkdir()
    name = "evil.pt" if command in ("generate", "finetune") else "checkpoint_last.pt"
    source = translation_baseline / "checkpoint_last.pt"
    evil = poisoned(source, (tmp_path if name == "evil.pt" else save) / name, Payload(marker))
    if command == "generate":
        done = run(
            "fairseq-generate",
            *(translation_data, "--user-dir", USER_DIR, "--path", evil, "--cpu"),
            check=False,
        )
    else:
        flags = ["--criterion", "scalegrad", "--max-update", 4]
        flags += ["--finetune-from-model", evil] if command == "finetune" else []
        flags += ["--distributed-world-size", 2] if "two" in command else []
        done = train(translation_data, save, TINY_TRANSLATION, *flags, check=False, run=run_warm)
    assert_refused(done, evil, "mkdir", "GENFT_TRUST_CHECKPOINT")
    assert not marker.exists()
    assert {path.name for path in save.iterdir()} <= {"checkpoint_last.pt"}


@pytest.mark.parametrize("command", ["eval-lm", "interactive", "validate", "evaluate-lm"])
def test_no_command_runs_the_code_of_a_checkpoint(
    command, language_model_data, language_model_baseline, tmp_path
):
    marker = tmp_path / "executed"
    source = language_model_baseline / "checkpoint_last.pt"
    evil = poisoned(source, tmp_path / "evil.pt", Payload(marker))
    if command == "evaluate-lm":
        done = genft("evaluate-lm", language_model_data, "--path", evil, "--cpu")
    else:
        flags = ["--max-tokens", 128]
        flags += ["--task", "language_modeling"] if command != "eval-lm" else []
        done = run(
            f"fairseq-{command}",
            *(language_model_data, "--user-dir", USER_DIR, "--path", evil, "--cpu", *flags),
            check=False,
        )
    assert_refused(done, evil, "mkdir")
    assert not marker.exists()


def test_checkpoint_whose_configuration_carries_code(
    translation_data, translation_baseline, tmp_path
):
    """fairseq evaluates configuration strings; ours are literals and nothing else."""
    marker = tmp_path / "executed"
    state = torch.load(translation_baseline / "checkpoint_last.pt", weights_only=False)
    state["cfg"]["model"].adaptive_softmax_cutoff = f"__import__('os').mkdir({str(marker)!r})"
    evil = tmp_path / "evil.pt"
    torch.save(state, evil)
    done = run(
        "fairseq-generate",
        *(translation_data, "--user-dir", USER_DIR, "--path", evil, "--cpu"),
        check=False,
    )
    assert_refused(done, "mkdir")
    assert not marker.exists()


def test_truncated_checkpoint(translation_data, translation_baseline, tmp_path):
    whole = (translation_baseline / "checkpoint_last.pt").read_bytes()
    broken = tmp_path / "broken.pt"
    broken.write_bytes(whole[: len(whole) // 2])
    done = run_warm(
        "fairseq-generate",
        *(translation_data, "--user-dir", USER_DIR, "--path", broken, "--cpu"),
        check=False,
    )
    assert_refused(done, broken)


def test_trusted_by_name(translation_data, translation_baseline, tmp_path):
    """Only the file that the user names is loaded without the check."""
    marker = tmp_path / "executed"
    evil = poisoned(
        translation_baseline / "checkpoint_last.pt", tmp_path / "evil.pt", Payload(marker)
    )
    run_warm(
        "fairseq-generate",
        *(translation_data, "--user-dir", USER_DIR, "--path", evil, "--cpu", "--max-len-b", 5),
        GENFT_TRUST_CHECKPOINT=str(evil),
    )
    assert marker.exists()


# --- genft ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--path", "nowhere.pt"], ["--path", "nowhere.pt"]),
        (["--path", "{model}", "--split", "missing"], ["--split", "missing"]),
        (
            ["--path", "{model}", "--prefix-length", "9", "--length", "90"],
            ["--prefix-length", "--length", "9", "90", "16"],
        ),
        (["--path", "{model}", "--prefix-length", "9999"], ["--prefix-length", "9999", "10098"]),
        (["--path", "{model}", "--length", "0"], ["--length", "0"]),
        (["--path", "{translation}"], ["{translation}"]),
        (["--path", "{model}", "--output", "/proc/no/f.json"], ["--output", "/proc/no/f.json"]),
    ],
)
def test_evaluate_lm(
    arguments, named, language_model_data, language_model_baseline, translation_baseline, request
):
    names = {
        "model": language_model_baseline / "checkpoint_last.pt",
        "translation": translation_baseline / "checkpoint_last.pt",
    }
    data = language_model_data
    if "{translation}" in arguments:
        data = request.getfixturevalue("translation_data")
    done = genft("evaluate-lm", data, "--cpu", *(word.format(**names) for word in arguments))
    assert_refused(done, *(word.format(**names) for word in named))
    assert done.returncode == 2
