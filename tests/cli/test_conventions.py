"""What every ``genft`` command does alike: its help, its exit status, its JSON, its silence."""

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner
from fairseq_commands import BIN
from genft_process import GenftProcess, Terminal, genft, without_controls
from refusals import assert_refused
from tiny_gpt2 import hugging_face_folder

from genft_fairseq import cli

COMMANDS = sorted(cli.genft.commands)
OUTPUT = ["--output", "written"]
# What names a file or folder that is not there.
MISSING = {
    "average-checkpoints": ["nowhere.pt", *OUTPUT],
    "compare": ["nowhere.yaml"],
    "evaluate-lm": ["nowhere", "--path", "nowhere.pt"],
    "evaluate-qa": ["nowhere", "--path", "nowhere.pt"],
    "evaluate-summaries": ["--predictions-from", "nowhere", "--references", "nowhere"],
    "export-hf": ["nowhere.pt", "written"],
    "finetune": ["nowhere", "--strategy", "scalegrad", "--baseline", "nowhere.pt"],
    "import-hf": ["nowhere", "written"],
    "inference": ["nowhere", "--path", "nowhere.pt"],
    "preprocess": ["nowhere.jsonl", *OUTPUT],
    "report": ["nowhere"],
    "retrieve": ["nowhere.tsv", "--questions", "nowhere.json", *OUTPUT],
    "test": ["nowhere", "--path", "nowhere.pt"],
    "train": ["nowhere"],
}
# What needs no trained model to work; tests/commands/test_conventions.py has the others.
WORKING = {
    "average-checkpoints": ["a.pt", "b.pt", *OUTPUT],
    "doctor": [],
    "evaluate-qa": ["--predictions-from", "answers.jsonl", "--references", "questions.jsonl"],
    "evaluate-summaries": ["--predictions-from", "lines", "--references", "lines"],
    "export-hf": ["imported/model.pt", "written"],
    "import-hf": ["gpt2", "written"],
    "preprocess": ["documents.jsonl", *OUTPUT],
    "retrieve": ["passages.tsv", "--questions", "questions.jsonl", *OUTPUT],
    "user-dir": [],
}


# What they show on a terminal: the time left, where it is known how much there is to do.
TIME_LEFT = r"━+ .*\d:\d\d:\d\d"
SHOWN = {
    "average-checkpoints": TIME_LEFT,
    "export-hf": r"\w",
    "import-hf": r"\w",
    "preprocess": TIME_LEFT,
    "retrieve": TIME_LEFT,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the commands of ``WORKING`` work."""
    folder = tmp_path_factory.mktemp("conventions")
    for number, name in enumerate(("a.pt", "b.pt")):
        torch.save({"model": {"w": torch.full((2,), float(number))}}, folder / name)
    passages = "id\ttext\ttitle\na\tParis is the capital of France.\tParis\n"
    (folder / "passages.tsv").write_text(passages)
    question = {"question": "What is the capital of France?", "answers": ["Paris"]}
    (folder / "questions.jsonl").write_text(json.dumps(question) + "\n")
    (folder / "answers.jsonl").write_text(json.dumps({"prediction": "Paris"}) + "\n")
    (folder / "lines").write_text("a summary of something\n")
    (folder / "documents.jsonl").write_text(json.dumps({"text": "a b c d e"}) + "\n")
    (folder / "gpt2").mkdir()
    torch.manual_seed(0)
    hugging_face_folder(folder / "gpt2")
    assert genft("import-hf", folder / "gpt2", folder / "imported").returncode == 0
    return folder


def one_line(text: str) -> str:
    """The only line that was printed."""
    (line,) = text.splitlines()
    return line


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_every_flag_and_choice(name, monkeypatch):
    # Which click keeps from the first call, and tests call commands without the group's settings.
    monkeypatch.setattr(cli.genft.commands[name], "_help_option", None)
    result = CliRunner().invoke(cli.genft, [name, "--help"], terminal_width=200)
    assert result.exit_code == 0
    assert CliRunner().invoke(cli.genft, [name, "-h"], terminal_width=200).output == result.output
    for parameter in cli.genft.commands[name].params:
        if isinstance(parameter, click.Option):
            assert all(flag in result.output for flag in parameter.opts)
        if isinstance(parameter.type, click.Choice):
            assert "|".join(parameter.type.choices) in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_flag(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = genft(name, "--no-such-flag")
    assert (done.returncode, done.stdout) == (2, "")
    assert_refused(done, "--no-such-flag", f"genft {name} --help")
    one_line(done.stderr)


@pytest.mark.parametrize("name", sorted({*COMMANDS} - {"doctor", "user-dir"}))
def test_a_file_that_is_not_there(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = genft(name, *MISSING[name])
    assert (done.returncode, done.stdout) == (2, "")
    assert_refused(done, "nowhere", unwritten=tmp_path)
    one_line(done.stderr)


def test_no_command_and_no_such_command():
    done = genft()
    assert (done.returncode, done.stdout) == (2, "")
    assert all(name in done.stderr for name in COMMANDS)
    done = genft("trian")
    assert (done.returncode, done.stdout) == (2, "")
    assert "trian" in one_line(done.stderr)


@pytest.mark.parametrize("name", WORKING)
def test_json_is_all_there_is_on_a_pipe(name, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    done = genft(name, *WORKING[name], "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)
    assert genft(name, *MISSING.get(name, ["--no-such-flag"]), "--json").stdout == ""


@pytest.mark.parametrize("name", WORKING)
def test_words_are_all_there_is_on_a_pipe(name, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    done = genft(name, *WORKING[name])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() and not done.stdout.startswith("{")
    assert "\x1b" not in done.stdout and "\r" not in done.stdout


@pytest.mark.parametrize("name", SHOWN)
def test_a_bar_on_a_terminal(name, files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in files.iterdir():
        (tmp_path / path.name).symlink_to(path)
    terminal = Terminal()
    try:
        process = GenftProcess(name, *WORKING[name], stderr=terminal.descriptor, TERM="xterm")
        shown = without_controls(terminal.watch(process))
    finally:
        terminal.close()
    done = process.wait()
    assert done.returncode == 0 and done.stdout
    assert re.search(SHOWN[name], shown), shown


def test_json_of_what_was_made(files, tmp_path, monkeypatch):
    monkeypatch.chdir(files)

    def made(name: str, *arguments: object) -> dict:
        return json.loads(genft(name, *arguments, "--json").stdout)

    averaged = made("average-checkpoints", "a.pt", "b.pt", "--output", tmp_path / "c.pt")
    assert averaged == {"output": str(tmp_path / "c.pt"), "checkpoints": ["a.pt", "b.pt"]}
    cut = made(
        *("preprocess", "documents.jsonl", "--window", 3, "--stride", 2),
        *("--output", tmp_path / "passages.tsv"),
    )
    assert (cut["documents"], cut["passages"]) == (1, 2)
    imported = made("import-hf", "gpt2", tmp_path / "imported")
    assert imported["model"] == str(tmp_path / "imported" / "model.pt")
    assert imported["flags"][:2] == ["--task", "language_modeling"]
    exported = made("export-hf", "imported/model.pt", tmp_path / "exported")
    # fairseq's symbols for the ends of lines, and what is unknown, are left behind.
    assert 1000 < exported["parameters"] < imported["parameters"]
    assert made("user-dir") == {"user_dir": str(Path(cli.__file__).parent.parent)}


@contextlib.contextmanager
def waiting(folder: Path):
    """``genft preprocess`` that waits for the next document, its output begun."""
    read, write = os.pipe()
    os.write(write, b'{"text": "a b c"}\n')
    process = GenftProcess("preprocess", f"/dev/fd/{read}", "--output", folder / "passages.tsv")
    try:
        deadline = time.monotonic() + 30
        while process.is_running() and not list(folder.glob("*.tmp")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(0.05)
        yield process
    finally:
        os.close(read)
        os.close(write)
        if process.is_running():
            process.signal(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_work_with_one_line(number, tmp_path):
    with waiting(tmp_path) as process:
        process.signal(number)
        done = process.wait()
    assert (done.returncode, done.stdout) == (128 + number, "")
    assert number.name in one_line(done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with waiting(tmp_path) as process:
            process.signal(signal.SIGHUP)
            time.sleep(0.2)
            assert process.is_running()
            process.signal(signal.SIGTERM)
            assert process.wait().returncode == 143
    finally:
        signal.signal(signal.SIGHUP, before)


@contextlib.contextmanager
def closed_pipe():
    """One that nobody reads any more, as behind ``| head -1``."""
    read, write = os.pipe()
    os.close(read)
    try:
        yield write
    finally:
        os.close(write)


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"]])
def test_a_closed_pipe_is_no_error(arguments):
    with closed_pipe() as pipe:
        done = genft(*arguments, stdout=pipe)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_closed_pipe_of_a_table(arguments):
    with closed_pipe() as pipe:
        done = genft("doctor", *arguments, stdout=pipe)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.fixture
def full():
    """A device on which there is no space."""
    device = os.open("/dev/full", os.O_WRONLY)
    yield device
    os.close(device)


@pytest.mark.parametrize("arguments", [["--help"], ["compare", "--help"], ["doctor"], ["user-dir"]])
def test_a_full_device_is_one_line(arguments, full):
    done = genft(*arguments, stdout=full)
    assert done.returncode == 2
    assert "No space left on device" in one_line(done.stderr)  # the system's words


def test_the_installed_script_ends_so_as_well():
    """With an interpreter of its own, which writes once more at its end."""
    command = f"set -o pipefail; {BIN / 'genft'} doctor | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGPIPE, "", "")
