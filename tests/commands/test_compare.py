"""``genft compare`` for real: two strategies, two seeds, a failure, an interruption."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from fairseq_commands import BIN, TINY_TRANSLATION, Done
from refusals import assert_refused
from warm_python import warm_python

from genft_fairseq import cli

UPDATES, EVERY = 80, 8
TRAIN = [
    *TINY_TRANSLATION[TINY_TRANSLATION.index("--arch") :],
    *("--optimizer", "adam", "--lr", "1e-2", "--max-tokens", "128"),
]
# With the commands of a study's own folder: decoding starts warm, while training, whose memory is
# measured, and the run that is to end its children by SIGTERM, start cold.
GENFT = """
import sys
sys.executable = sys.argv.pop(1)
from genft_fairseq.cli import main
main()
"""
BROKEN = {"name": "broken", "strategy": "unlikelihood", "flags": "--unlikelihood-alpha -3"}


@dataclass
class Study:
    """A comparison in a folder of its own."""

    folder: Path
    config: dict

    @property
    def path(self) -> Path:
        return self.folder / "compare.yaml"

    @property
    def output(self) -> Path:
        return self.folder / "runs"

    def write(self, **changes: object) -> str:
        self.path.write_text(yaml.safe_dump(self.config | changes))
        return str(self.path)


@pytest.fixture(scope="module")
def new_study(text, translation_data, translation_baseline, tmp_path_factory):
    def make(**config: object) -> Study:
        folder = tmp_path_factory.mktemp("study")
        shutil.copy(translation_baseline / "checkpoint_last.pt", folder / "baseline.pt")
        (folder / "bin").mkdir()
        (folder / "bin" / "fairseq-train").symlink_to(BIN / "fairseq-train")
        (folder / "bin" / "fairseq-generate").symlink_to(warm_python().bin / "fairseq-generate")
        shared = {
            **{"data": str(translation_data), "references": str(text / "test.de")},
            **{"source_lang": "en", "target_lang": "de", "baseline": "baseline.pt"},
            **{"output": "runs", "updates": UPDATES, "seeds": [1, 1001], "processes": 2},
            **{"threads": 1, "train": TRAIN, "generate": "--beam 2 --max-len-b 12"},
            "strategies": ["standard", "auxiliary"],
        }
        return Study(folder, shared | config)

    return make


@dataclass
class Calls:
    """How the three calls ended, and the results of the last two."""

    study: Study
    interrupted: Done
    continued: Done
    results: dict
    added: Done
    results_added: dict
    untouched: bool  # the first seed's runs, by the last call


@pytest.fixture(scope="module")
def comparison(new_study) -> Calls:
    """Interrupted as soon as a run has a checkpoint, continued to the end, and added to."""
    study = new_study(
        strategies=["standard", "auxiliary", BROKEN],
        decodings=[{"name": "blocked", "flags": "--no-repeat-ngram-size 1"}],
        seeds=[1],
    )
    study.write()
    runs = study.output / "seed-1"
    interrupted = run_compare(study, until=lambda: list(runs.glob("*/checkpoint_*_*.pt")))
    continued = run_compare(study)
    results = json.loads((study.output / "results.json").read_text())
    study.config |= {"seeds": [1, 1001], "strategies": ["standard"], "decodings": []}
    study.write()
    before = times(study, "seed-1/standard/*")
    added = run_compare(study)
    untouched = times(study, "seed-1/standard/*") == before
    results_added = json.loads((study.output / "results.json").read_text())
    return Calls(study, interrupted, continued, results, added, results_added, untouched)


def times(study: Study, pattern: str) -> dict[Path, int]:
    """When each file of the runs was last written."""
    return {path: path.stat().st_mtime_ns for path in study.output.glob(pattern)}


def run_compare(study: Study, until: Callable[[], object] | None = None) -> Done:
    """Run the command; end it by SIGTERM when ``until`` says so."""
    python = sys.executable if until is not None else str(warm_python().python)
    process = subprocess.Popen(
        [python, "-c", GENFT, str(study.folder / "bin" / "python"), "compare", str(study.path)],
        cwd=study.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 300
    while until is not None and not until() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    children = []
    if until is not None:
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=600)
    # Where nobody reaps orphans, what has ended stays as a zombie.
    alive = [c for c in children if c.is_running() and c.status() != psutil.STATUS_ZOMBIE]
    assert not alive
    return Done(process.returncode, out, err)


def finished(study: Study, name: str, seed: int = 1) -> dict:
    return json.loads((study.output / f"seed-{seed}" / name / "finished").read_text())


def test_interrupted(comparison):
    done = comparison.interrupted
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stdout == ""
    assert "SIGTERM" in done.error and "Traceback" not in done.stderr


def test_continued(comparison):
    resumed = []
    for name in ("standard", "auxiliary"):
        run = finished(comparison.study, name)
        assert run["updates"] == UPDATES
        kept = [c["updates"] for c in run["checkpoints"]]
        # fairseq keeps none where an epoch ends just then.
        assert {EVERY, UPDATES} <= set(kept) <= {*range(EVERY, UPDATES + 1, EVERY)}
        seconds = [c["train_seconds"] for c in run["checkpoints"]]
        assert seconds == sorted(seconds) and seconds[0] > 0
        assert 100 < run["average_memory_mib"] <= run["peak_memory_mib"] < 2000
        folder = comparison.study.output / "seed-1" / name
        loaded = f"Loaded checkpoint {folder}/checkpoint_last.pt (epoch"
        resumed.append(loaded in (folder / "train.log").read_text())
    assert any(resumed)


def test_a_failure_is_reported_and_the_others_go_on(comparison):
    done = comparison.continued
    assert done.returncode == 1
    assert "--unlikelihood-alpha" in done.stderr and "runs/seed-1/broken/train.log" in done.stdout
    (failure,) = comparison.results["systems"]["broken"]["failures"]
    assert "--unlikelihood-alpha" in failure["error"] and "-3" in failure["error"]


def test_results(comparison):
    results, study = comparison.results, comparison.study
    assert set(results["systems"]) == {"baseline", "standard", "auxiliary", "broken", "blocked"}
    standard, auxiliary = (results["systems"][name] for name in ("standard", "auxiliary"))
    for system in (standard, auxiliary):
        assert set(system["equal_updates"]) >= {"bleu", "chrf", "rep_4", "valid_nll_loss"}
        assert system["equal_updates"]["epoch_seconds"]["mean"] > 0
    assert list(auxiliary["equal_updates"]["p_value"]["seeds"]) == ["1"]
    assert standard["equal_time"]["updates"]["seeds"] == {"1": UPDATES}
    allowed = finished(study, "standard")["train_seconds"]
    checkpoints = finished(study, "auxiliary")["checkpoints"]
    distance = {c["updates"]: abs(c["train_seconds"] - allowed) for c in checkpoints}
    distance[0] = allowed
    nearest = min(distance, key=distance.get)
    assert auxiliary["equal_time"]["updates"]["seeds"] == {"1": nearest}
    assert "bleu" in auxiliary["equal_time"]
    assert results["systems"]["blocked"]["equal_updates"]["rep_1"]["mean"] == 0.0
    command = results["commands"]["train: standard, seed 1"]
    assert command.startswith("fairseq-train ") and " --save-dir runs/seed-1/standard " in command


def test_a_seed_is_added(comparison):
    done, output = comparison.added, comparison.study.output
    assert done.returncode == 0, done.stderr
    assert comparison.untouched
    bleu = comparison.results_added["systems"]["standard"]["equal_updates"]["bleu"]
    before = comparison.results["systems"]["standard"]["equal_updates"]["bleu"]["seeds"]
    assert set(bleu["seeds"]) == {"1", "1001"} and bleu["seeds"]["1"] == before["1"]
    assert bleu["half_width"] is not None
    for name in ("results.md", "curves.svg", "curves.png"):
        assert (output / name).stat().st_size > 500
    assert (output / "results.md").read_text() == done.stdout


@pytest.fixture
def call(monkeypatch, capsys):
    """The command in this process, which has fairseq imported already."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["genft", "compare", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    return run


def test_done_already(comparison, call, tmp_path):
    """Nothing runs again; the results come as JSON alone, and go into a page."""
    study = comparison.study
    page = tmp_path / "README.md"
    page.write_text("Title\n<!-- comparison:begin -->\nold\n<!-- comparison:end -->\nrest\n")
    before = times(study, "seed-*/*/*")
    done = call(study.path, "--json", "--page", page)
    assert (done.returncode, done.stderr) == (0, "")
    results = json.loads(done.stdout)
    assert results["seeds"] == [1, 1001]
    assert times(study, "seed-*/*/*") == before
    assert "standard" in page.read_text() and "old" not in page.read_text()
    assert json.loads((tmp_path / "results.json").read_text()) == results
    assert (tmp_path / "curves.svg").exists()


def test_an_alias_goes_on_where_the_strategy_stopped(comparison, call):
    study = comparison.study
    before = times(study, "seed-*/*/*")
    done = call(study.write(strategies=["standard", "first-token"], seeds=[1]), "--json")
    study.write()
    assert (done.returncode, done.stderr) == (0, "")
    assert set(json.loads(done.stdout)["systems"]) == {"baseline", "standard", "auxiliary"}
    assert times(study, "seed-*/*/*") == before


def test_a_changed_baseline_is_refused(comparison, call):
    study = comparison.study
    baseline = study.folder / "baseline.pt"
    original = baseline.read_bytes()
    shutil.copy(study.output / "seed-1" / "standard" / "checkpoint_last.pt", baseline)
    try:
        done = call(study.path)
    finally:
        baseline.write_bytes(original)
    assert_refused(done, baseline, study.output)
    assert done.stdout == ""


def test_another_command_is_refused(comparison, call):
    study = comparison.study
    study.write(train=[*TRAIN, "--dropout", "0.3"])
    done = call(study.path)
    study.write()
    folder = study.output / "seed-1" / "standard"
    assert_refused(done, folder / "command")
    assert done.stdout == ""


def test_what_failed_may_have_other_flags(comparison, call):
    """Nothing was trained there, so the mended flags are no other run's."""
    study = comparison.study
    mended = BROKEN | {"flags": "--unlikelihood-alpha 3"}
    done = call(study.write(strategies=["standard", mended]), "--dry-run")
    study.write()
    assert done.returncode == 0 and "--unlikelihood-alpha 3 " in done.stdout


def test_two_calls_at_once_are_refused(comparison, call):
    study = comparison.study
    with (study.output / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = call(study.path)
    assert_refused(done, study.output)


def test_a_dry_run_writes_nothing(new_study, call):
    study = new_study()
    done = call(study.write(), "--dry-run")
    assert done.returncode == 0, done.stderr
    commands = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert len(commands) == 1 + 2 * 5
    assert {command.split()[0] for command in commands} == {"fairseq-train", "fairseq-generate"}
    assert not study.output.exists()


def test_bad_input_writes_nothing(new_study, call, tmp_path):
    study = new_study()
    (study.folder / "two.de").write_text("one\ntwo\n")
    (study.folder / "no.pt").write_text("no checkpoint")
    page = tmp_path / "page.md"
    page.write_text("no markers")
    full = tmp_path / "full"  # whose results could not be written after the training
    (full / "results.json").mkdir(parents=True)
    (full / "page.md").write_text("<!-- comparison:begin -->\n<!-- comparison:end -->\n")
    data = study.config["data"]
    for changes, arguments, named in (
        ({"update": 3}, (), [study.path, "update"]),
        ({"references": "two.de"}, (), [study.folder / "two.de", "2", "12"]),
        ({"source_lang": "fr"}, (), [data, "test.fr-de.fr"]),
        ({"baseline": "no.pt"}, (), [study.folder / "no.pt"]),
        ({}, ("--page", page), ["--page", page, "<!-- comparison:begin -->"]),
        ({}, ("--page", full / "page.md"), ["--page", full / "results.json"]),
        ({}, ("--page", tmp_path / "x"), ["--page", tmp_path / "x"]),
    ):
        done = call(study.write(**changes), *arguments)
        assert_refused(done, *named, unwritten=study.output)
        assert done.stderr.count("\n") == 1
