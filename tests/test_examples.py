"""The examples: their commands parse, they resume, and (slow) they learn what they claim."""

import fcntl
import json
import os
import re
import shlex
import subprocess

import pytest
from fairseq import options
from fairseq_commands import REPOSITORY
from refusals import assert_script_refused
from warm_python import warm_python


def shell(*command: object, **environment: str) -> subprocess.CompletedProcess:
    """With Python and fairseq's commands on the PATH, which have imported what takes long."""
    path = f"{warm_python().bin}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path, "GPUS": "0", **environment},  # else torch is asked
        cwd=REPOSITORY,
    )


def dry_run(script: str) -> dict[str, list[str]]:
    """The fairseq-train commands of a train.sh, by the name of their run."""
    arguments = ["runs"] if "demo" in script else ["data", "runs"]
    done = shell("bash", REPOSITORY / script, *arguments, DRY_RUN="1")
    assert done.returncode == 0, done.stderr
    commands = [shlex.split(line) for line in done.stdout.splitlines()]
    assert all(words[0] == "fairseq-train" for words in commands)
    folders = [words[words.index("--save-dir") + 1] for words in commands]
    return {
        folder.removeprefix("runs/"): words[1:]
        for folder, words in zip(folders, commands, strict=True)
    }


def parse(words: list[str]):
    """By fairseq's own parser, which refuses a flag that it does not know."""
    words = [w if w != "genft_fairseq" else str(REPOSITORY / w) for w in words]
    return options.parse_args_and_arch(options.get_training_parser(), words)


def test_demo_commands_parse():
    runs = dry_run("examples/demo/run.sh")
    assert len(runs) == 6
    for half in ("language_modeling", "translation"):
        mle, scalegrad = (parse(runs[f"{half}/{name}"]) for name in ("mle", "scalegrad"))
        assert scalegrad.gamma == 0.2
        assert mle.max_update == scalegrad.max_update
        assert mle.finetune_from_model == f"runs/{half}/baseline/checkpoint_best.pt"


def test_translation_commands_parse():
    runs = dry_run("examples/translation/multi30k/train.sh")
    assert list(runs) == ["baseline", "mle", "scalegrad-0.5", "scalegrad-0.2"]
    parsed = {name: parse(words) for name, words in runs.items()}
    assert parsed["scalegrad-0.5"].gamma == 0.5
    assert parsed["scalegrad-0.2"].gamma == 0.2
    # At equal updates, from the same baseline, and otherwise with the same flags.
    different = {"criterion", "gamma", "unlikelihood_alpha", "loss_chunk_size", "save_dir"}
    mle, scalegrad = (vars(parsed[name]) for name in ("mle", "scalegrad-0.5"))
    assert {k: v for k, v in mle.items() if k not in different} == {
        k: v for k, v in scalegrad.items() if k not in different
    }
    assert mle["finetune_from_model"] == "runs/baseline/checkpoint_best.pt"


def test_recorded_results_are_those_of_the_scripts():
    """results.json holds the flags that train.sh has today, and the page its figures."""
    folder = REPOSITORY / "examples" / "translation" / "multi30k"
    results = json.loads((folder / "results.json").read_text())
    for name, words in dry_run("examples/translation/multi30k/train.sh").items():
        recorded = shlex.split(results["commands"]["train"][name])[1:]
        places = {"data", "save_dir", "finetune_from_model"}  # where it lay on that machine
        now, then = vars(parse(words)), vars(parse(recorded))
        assert {k: now[k] for k in now.keys() - places} == {
            k: then[k] for k in then.keys() - places
        }
    page = (folder / "README.md").read_text()
    for metrics in results["runs"].values():
        assert f"{metrics['bleu']:.2f}" in page


def test_missing_data_is_one_line(tmp_path):
    done = shell(
        "bash", REPOSITORY / "examples/translation/multi30k/train.sh", tmp_path, tmp_path / "runs"
    )
    assert_script_refused(done, tmp_path, unwritten=tmp_path / "runs")


def test_two_at_once_are_refused(tmp_path):
    """The lock of a run that goes on is respected, whoever holds it."""
    data, run = tmp_path / "data", tmp_path / "runs" / "baseline"
    data.mkdir()
    (data / "dict.en.txt").touch()
    run.mkdir(parents=True)
    with open(run / "lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = shell(
            "bash", REPOSITORY / "examples/translation/multi30k/train.sh", data, tmp_path / "runs"
        )
    assert_script_refused(done, run)
    assert {path.name for path in run.iterdir()} == {"lock"}


def test_other_flags_are_refused(tmp_path):
    """A finished run is reused only for the command that made it."""
    run = tmp_path / "runs" / "baseline"
    run.mkdir(parents=True)
    (run / "command").write_text("fairseq-train other flags\n")
    (run / "finished").touch()
    data = tmp_path / "data"
    data.mkdir()
    (data / "dict.en.txt").touch()
    done = shell(
        "bash", REPOSITORY / "examples/translation/multi30k/train.sh", data, tmp_path / "runs"
    )
    assert_script_refused(done, run)
    assert {path.name for path in run.iterdir()} <= {"command", "finished", "lock"}


@pytest.mark.slow
def test_demo_shows_less_repetition(tmp_path):
    """`make demo`: ScaleGrad repeats less than MLE at equal updates; a second call reuses all."""
    command = ("bash", REPOSITORY / "examples/demo/run.sh", tmp_path)
    first = shell(*command)
    assert first.returncode == 0, first.stderr
    repetition = {
        name: json.loads((folder / "evaluation.json").read_text())["model"]["seq_rep_4"]
        for name in ("baseline", "mle", "scalegrad")
        for folder in [tmp_path / "language_modeling" / name]
    }
    assert repetition["scalegrad"] < 0.8 * repetition["mle"]
    second = shell(*command)
    assert first.stdout.splitlines()[-20:] == second.stdout.splitlines()[-20:]


@pytest.mark.slow
def test_scalegrad_learns_the_toy_translation(tmp_path):
    """English number words to German: a tiny Transformer trained by ScaleGrad alone."""
    assert (
        shell("data-prep/prepare-toy.sh", "--only", "translation", "--out", tmp_path).returncode
        == 0
    )
    data, user_dir = tmp_path / "translation", REPOSITORY / "genft_fairseq"
    trained = shell(
        *("fairseq-train", data, "--user-dir", user_dir, "--cpu", "--save-dir", tmp_path / "run"),
        *("-s", "en", "-t", "de", "--arch", "transformer_tiny", "--share-all-embeddings"),
        *("--encoder-embed-dim", 128, "--decoder-embed-dim", 128, "--dropout", 0),
        *("--encoder-ffn-embed-dim", 256, "--decoder-ffn-embed-dim", 256, "--seed", 1),
        *("--encoder-attention-heads", 4, "--decoder-attention-heads", 4),
        *("--criterion", "scalegrad", "--gamma", 0.5, "--label-smoothing", 0.1),
        *("--optimizer", "adam", "--lr", 3e-3, "--lr-scheduler", "inverse_sqrt"),
        *("--warmup-updates", 300, "--clip-norm", 1, "--max-tokens", 1500, "--max-update", 720),
        *("--no-epoch-checkpoints",),
    )
    assert trained.returncode == 0, trained.stderr
    generated = shell(
        *("fairseq-generate", data, "--user-dir", user_dir, "--cpu", "--beam", 5),
        *(
            "--path",
            tmp_path / "run" / "checkpoint_last.pt",
            "--remove-bpe",
            "--scoring",
            "sacrebleu",
        ),
    )
    assert generated.returncode == 0, generated.stderr
    assert float(re.search(r"BLEU = ([\d.]+)", generated.stdout)[1]) > 85
    assert len(re.findall(r"^H-", generated.stdout, re.MULTILINE)) == 500
