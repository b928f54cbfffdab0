"""What every ``genft`` command does alike, of those that need data and a model."""

import importlib.util
import json
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from genft_process import GenftProcess, Terminal, genft, without_controls
from refusals import assert_refused


@pytest.fixture(scope="session")
def evaluation(language_model_data: Path, language_model_baseline: Path) -> list[object]:
    """A short ``genft evaluate-lm``."""
    checkpoint = language_model_baseline / "checkpoint_last.pt"
    return [
        *("evaluate-lm", language_model_data, "--path", checkpoint, "--cpu"),
        *("--prefix-length", 2, "--length", 3, "--batch-size", 1),
    ]


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    opened = Terminal()
    yield opened
    opened.close()


def test_a_bar_tells_the_time_left_on_a_terminal(evaluation, terminal):
    process = GenftProcess(*evaluation, stderr=terminal.descriptor, TERM="xterm")
    shown = terminal.watch(process)
    done = process.wait()
    assert done.returncode == 0 and done.stdout and "\x1b" not in done.stdout
    assert re.search(r"━ .*\d:\d\d:\d\d", without_controls(shown)), shown
    assert shown.endswith("\x1b[2K")  # it is gone when the work is done


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_no_bar_elsewhere(arguments, evaluation, terminal):
    """Neither on a pipe nor, where JSON is asked for, on a terminal."""
    streams = {"stderr": terminal.descriptor} if arguments else {}
    process = GenftProcess(*evaluation, *arguments, **streams)
    shown = terminal.watch(process)
    done = process.wait()
    assert (done.returncode, done.stderr, shown) == (0, "", "")
    assert not arguments or json.loads(done.stdout)["split"] == "test"


def test_an_interrupt_takes_the_bar_away(evaluation, terminal, tmp_path):
    output = tmp_path / "figures.json"
    process = GenftProcess(
        *(*evaluation, "--prefix-length", 1, "--length", 14, "--output", output),
        stderr=terminal.descriptor,
        TERM="xterm",
    )
    terminal.watch(process, until="━")
    process.signal(signal.SIGINT)
    done = process.wait()
    assert (done.returncode, done.stdout) == (130, "")
    last = terminal.read().splitlines()[-1]
    assert "SIGINT" in last and "Traceback" not in terminal.text
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def study(translation_data: Path, translation_baseline: Path, tmp_path: Path) -> Path:
    """A comparison that could begin."""
    shutil.copy(translation_baseline / "checkpoint_last.pt", tmp_path / "baseline.pt")
    (tmp_path / "test.de").write_text("w1\n" * 12)
    config = {
        **{"data": str(translation_data), "baseline": "baseline.pt", "output": "runs"},
        **{"source_lang": "en", "target_lang": "de", "references": "test.de"},
        **{"updates": 2, "seeds": [1], "strategies": ["standard", "scalegrad"]},
        **{"train": ["--max-tokens", "128"], "generate": "--beam 2"},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    return tmp_path / "study.yaml"


def test_the_commands_of_a_comparison_as_json(study):
    done = genft("compare", study, "--dry-run", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    planned = json.loads(done.stdout)
    titles = {p["title"] for p in planned}
    assert {"train: standard, seed 1", "train: scalegrad, seed 1"} <= titles
    assert {Path(p["command"][0]).name for p in planned} == {"fairseq-train", "fairseq-generate"}
    assert not (study.parent / "runs").exists()


def test_a_comparison_that_could_draw_nothing_does_not_begin(study, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        *("importlib.util.find_spec", lambda name: None if name == "matplotlib" else find(name))
    )
    done = genft("compare", study)
    assert_refused(done, "matplotlib", unwritten=study.parent / "runs")
