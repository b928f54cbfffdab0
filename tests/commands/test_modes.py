"""The four modes on tiny data, by fairseq's real commands."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.tasks import TASK_REGISTRY
from fairseq_commands import BIN, OPTIMISATION, TINY_TRANSLATION, moved, parameters, run, run_warm
from genft_process import genft as genft_process
from refusals import assert_refused

from genft_fairseq.cli import genft
from genft_fairseq.experiments.strategies import ALIASES, STRATEGIES
from genft_fairseq.report.gather import gather

# Those whose parts are there; for language models those that do more than weigh tokens.
TOKEN_LOSSES = ("auxiliary", "scalegrad", "unlikelihood")
RUNNABLE = [
    (name, task)
    for name, strategy in STRATEGIES.items()
    for task in strategy.tasks
    if strategy.criterion[0] in CRITERION_REGISTRY and strategy.task_prefix + task in TASK_REGISTRY
    if task == "translation" or name not in TOKEN_LOSSES
]
# Where a default is for longer text.
SHORT = {
    "sequence-unlikelihood": ["--sequence-prefix-length", 4, "--sequence-completion-length", 6]
}


@pytest.fixture
def of(request):
    """The data and the baseline of a task."""

    def find(task: str) -> tuple[Path, Path]:
        kind = {"translation": "translation", "language_modeling": "language_model"}[task]
        folder = request.getfixturevalue(f"{kind}_baseline")
        return request.getfixturevalue(f"{kind}_data"), folder / "checkpoint_last.pt"

    return find


def printed(*arguments: object) -> list[str]:
    result = CliRunner().invoke(genft, [str(word) for word in arguments])
    assert result.exit_code == 0, result.exception or result.stderr
    (line,) = result.stdout.splitlines()
    return shlex.split(line)


@pytest.mark.parametrize(("strategy", "task"), RUNNABLE)
def test_fine_tuning_needs_no_flags_of_the_architecture(strategy, task, of, tmp_path):
    data, baseline = of(task)
    words = printed(
        *("finetune", data, "--strategy", strategy, "--baseline", baseline, "--dry-run"),
        *("--save-dir", tmp_path / "run", "--", *OPTIMISATION, "--max-update", 2),
        *SHORT.get(strategy, []),
    )
    assert not list(tmp_path.iterdir())
    done = run(*words)
    assert f"loading pretrained model from {baseline}" in done.output
    before, after = parameters(baseline), parameters(tmp_path / "run" / "checkpoint_last.pt")
    assert {name: p.shape for name, p in before.items()} == {n: p.shape for n, p in after.items()}
    assert moved(before, after)


def test_every_strategy_by_its_default_folder(of):
    for name, strategy in STRATEGIES.items():
        data, baseline = of("translation")
        words = printed("finetune", data, "--strategy", name, "--baseline", baseline, "--dry-run")
        assert words[words.index("--task") + 1] == strategy.task_prefix + "translation"
        assert words[words.index("--criterion") + 1] == strategy.criterion[0]
        assert words[words.index("--save-dir") + 1] == f"checkpoints/{name}"


@pytest.mark.parametrize(("alias", "strategy"), ALIASES.items())
def test_an_alias_is_the_same_command(alias, strategy, of):
    data, baseline = of("translation")
    for words in (["train", data], ["finetune", data, "--baseline", baseline]):
        own = printed(*words, "--dry-run", "--strategy", strategy)
        assert printed(*words, "--dry-run", "--strategy", alias) == own
        assert own[own.index("--save-dir") + 1] == f"checkpoints/{strategy}"


def test_the_default_folder_is_not_the_baselines_own(of, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, baseline = of("translation")
    for strategy in ("standard", "scalegrad"):
        own = tmp_path / "checkpoints" / strategy / "checkpoint_best.pt"
        own.parent.mkdir(parents=True)
        shutil.copy(baseline, own)
        words = ["finetune", data, "--strategy", strategy, "--baseline", own, "--dry-run"]
        words = printed(*words)
        assert words[words.index("--save-dir") + 1] == f"checkpoints/{strategy}-finetuned"


def test_the_words_of_a_command_as_json(of, tmp_path):
    data, baseline = of("translation")
    words = ["test", str(data), "--path", str(baseline), "--json"]
    dry = CliRunner().invoke(genft, [*words, "--dry-run"])
    assert json.loads(dry.stdout) == printed(*words[:-1], "--dry-run")
    assert_refused(genft_process(*words), "--json", "--dry-run")


def test_an_architecture_of_the_users_own(of, tmp_path):
    data, baseline = of("translation")
    own = ["--arch", "transformer_tiny", "--encoder-layers", "1"]
    words = printed(
        *("finetune", data, "--strategy", "standard", "--baseline", baseline, "--dry-run"),
        *("--save-dir", tmp_path / "run", "--", *own),
    )
    assert words.count("--arch") == 1 and "--decoder-layers" not in words
    assert words[-len(own) :] == own


def test_begin_go_on_and_refuse(of, tmp_path, capfd, monkeypatch, warm_python):
    """The way through: each run is a new process, as a user's is."""
    monkeypatch.setattr(sys, "executable", str(warm_python.python))  # the commands lie beside it
    data, baseline = of("translation")
    save_dir = tmp_path / "run"

    def finetune(updates: int, *, strategy: str = "scalegrad", base: Path = baseline) -> list[str]:
        return [
            *("finetune", str(data), "--strategy", strategy, "--baseline", str(base)),
            *("--save-dir", str(save_dir), "--", *OPTIMISATION, "--max-update", str(updates)),
        ]

    words = printed(*finetune(2))
    log = "".join(capfd.readouterr())
    assert f"loading pretrained model from {baseline}" in log
    record = json.loads((save_dir / "genft.json").read_text())
    assert record["strategy"] == "scalegrad" and record["baseline"]["path"] == str(baseline)
    assert shlex.split(record["command"]) == words

    printed(*finetune(4))
    log = "".join(capfd.readouterr())
    assert f"Loaded checkpoint {save_dir / 'checkpoint_last.pt'} (epoch 1 @ 2 updates)" in log
    assert json.loads((save_dir / "genft.json").read_text()) == record

    # what `genft report` reads
    kept = (save_dir / "genft.log").read_text()
    assert kept.count("| done training in ") == 2
    assert shlex.split((save_dir / "command").read_text())[-2:] == ["--max-update", "4"]
    (found,) = gather([str(save_dir)]).trainings
    assert (found.state, sorted(found.metrics("training"))) == ("finished", [1, 2, 3, 4])
    assert found.versions

    before = {path: path.stat().st_mtime_ns for path in save_dir.iterdir()}
    result = CliRunner().invoke(genft, finetune(4))  # fairseq-train would make a fifth
    assert result.exit_code == 0 and f"{save_dir}" in result.stdout
    assert "fairseq-train" not in result.stdout
    assert printed("finetune", "--dry-run", *finetune(4)[1:])[0] == "fairseq-train"
    other = tmp_path / "other.pt"
    torch.save({**torch.load(baseline, weights_only=False), "another": 1}, other)
    began = [save_dir, "scalegrad", baseline]
    assert_refused(genft_process(*finetune(9, base=other)), *began, other)
    assert_refused(genft_process(*finetune(9, strategy="standard")), *began, "standard")
    assert_refused(genft_process("train", data, "--save-dir", save_dir), *began, "standard")
    done = genft_process(
        *("finetune", data, "--strategy", "standard", "--baseline", baseline),
        *("--save-dir", baseline.parent),
    )
    assert_refused(done, baseline.parent, "genft.json")
    assert {path: path.stat().st_mtime_ns for path in save_dir.iterdir()} == before
    assert capfd.readouterr().out == ""


def test_what_a_run_ends_with_is_in_its_log(of, tmp_path, capfd):
    data, _ = of("translation")
    words = ["train", str(data), "--strategy", "scalegrad", "--save-dir", str(tmp_path / "run")]
    result = CliRunner().invoke(
        genft, [*words, "--", *TINY_TRANSLATION[6:], *OPTIMISATION, "--gamma=2"]
    )
    error = capfd.readouterr().err.splitlines()[-1]
    assert result.exit_code == 1 and "--gamma" in error
    (found,) = gather([str(tmp_path / "run")]).trainings
    assert found.state == "crashed" and error in found.last_lines


def test_a_baseline_of_the_other_task(of):
    data, _ = of("translation")
    _, baseline = of("language_modeling")
    done = genft_process("finetune", data, "--strategy", "standard", "--baseline", baseline)
    assert_refused(done, baseline, "language_modeling", "translation")


def test_training_is_ended_by_sigterm_and_goes_on(of, tmp_path):
    data, baseline = of("language_modeling")
    save_dir = tmp_path / "run"
    flags = [*OPTIMISATION, "--save-interval-updates", "3", "--keep-interval-updates", "1"]
    flags += ["--num-workers", "0"]  # those that load data may complain when they are ended
    arguments = [
        *("finetune", str(data), "--strategy", "unlikelihood", "--baseline", str(baseline)),
        *("--save-dir", str(save_dir), "--", *flags, "--max-update"),
    ]
    with subprocess.Popen(
        [BIN / "genft", *arguments, "1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        line = process.stdout.readline()
        assert line.startswith("fairseq-train ") and line.endswith(" --max-update 1000000\n")
        deadline = time.monotonic() + 120
        while not (save_dir / "checkpoint_last.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        log = process.communicate(timeout=60)[0]
    assert process.returncode == 143
    assert "Traceback" not in log
    state = torch.load(save_dir / "checkpoint_last.pt", weights_only=False)
    reached = state["optimizer_history"][-1]["num_updates"]
    assert reached >= 3
    done = run(*printed("finetune", "--dry-run", *arguments[1:], reached + 2))
    assert f"@ {reached} updates)" in done.output
    assert f"num_updates: {reached + 2}" in done.output


@pytest.mark.parametrize("search", ["beam", "greedy"])
def test_testing_a_translation_model(search, of, tmp_path):
    data, checkpoint = of("translation")
    words = printed(
        *("test", data, "--path", checkpoint, "--search", search, "--split", "valid"),
        *("--results", tmp_path / "results", "--dry-run", "--", "--max-len-b", 12),
    )
    run(*words)
    output = (tmp_path / "results" / "generate-valid.txt").read_text()
    assert len(re.findall(r"^H-\d+\t", output, re.M)) == 40
    beam = {"beam": 5, "greedy": 1}[search]
    assert f"Generate valid with beam={beam}:" in output


def test_testing_a_language_model(of, tmp_path):
    data, checkpoint = of("language_modeling")
    words = printed(
        *("test", data, "--path", checkpoint, "--results", tmp_path, "--dry-run"),
        *("--", "--prefix-length", 5, "--length", 6),
    )
    run_warm(*words)  # not here: the processes that other tests fork would lack its threads
    metrics = json.loads((tmp_path / "evaluation-test.json").read_text())
    assert metrics["split"] == "test" and metrics["completions"]


@pytest.mark.parametrize("task", ["translation", "language_modeling"])
def test_inference(task, of, tmp_path):
    data, checkpoint = of(task)
    text = "w1 w2 w3\nw4 w5\n"
    (tmp_path / "text").write_text(text)
    inference = ("inference", data, "--path", checkpoint, "--search", "greedy", "--dry-run")
    extra = ("--", "--max-len-b", 12)
    done = run(*printed(*inference, *extra), stdin=text)
    assert len(re.findall(r"^H-\d+\t", done.output, re.M)) == 2
    done = run(*printed(*inference, "--input", tmp_path / "text", *extra))
    assert len(re.findall(r"^H-\d+\t", done.output, re.M)) == 2
