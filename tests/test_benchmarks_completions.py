"""The benchmark of completions: its rows, what it writes, and that both programs write the same."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from refusals import assert_script_refused

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SCRIPT = BENCHMARKS / "completions.py"
SEARCHES = ["greedy", "greedy_step_by_step", "nucleus", "top_k", "beam"]
DRAWN = {"nucleus", "top_k"}
PREFIXES, B = 5, 3  # two batches, of which the slow searches complete the first


Call = Callable[..., Result]


@pytest.fixture
def completions(monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the script here: a process of its own would spend seconds on importing torch."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    script = importlib.import_module("completions")
    return lambda *arguments: CliRunner().invoke(script.main, [*map(str, arguments)])


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JSON of one run, printed and written alike."""
    path = tmp_path_factory.mktemp("benchmark") / "completions.json"
    model = ["--setting", "2,16,2", "--vocabulary", 60]
    text = ["--prefixes", PREFIXES, "--batch-size", B, "--prefix-length", 4, "--length", 12]
    rounds = ["--repeats", 2, "--slow-repeats", 1, "--memory", "1,6"]
    # Started cold, for the memory of processes that it starts in turn.
    command = [sys.executable, SCRIPT, *model, *text, *rounds, "--output", path, "--json"]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == path.read_text()
    return path


@pytest.fixture(scope="module")
def results(report: Path) -> dict[str, Any]:
    return json.loads(report.read_text())


def test_json_has_the_documented_schema(results: dict[str, Any]) -> None:
    assert set(results) == {
        *("command", "versions", "hardware", "threads", "clock", "protocol"),
        *("settings", "memory"),
    }
    assert results["command"].startswith("python benchmarks/completions.py --setting 2,16,2")
    packages = {"python", "torch", "fairseq", "transformers", "genft_fairseq"}
    assert set(results["versions"]) == packages
    assert results["hardware"]["cores"] >= 1
    assert (results["threads"], results["clock"]) == (1, "processor")
    assert results["protocol"] == {"batch_size": B, "prefix_length": 4, "length": 12}
    [setting] = results["settings"]
    assert setting["model"] == {"layers": 2, "width": 16, "heads": 2, "vocabulary": 60}
    assert setting["parameters"] == 60 * 16 + 1024 * 16 + 2 * (12 * 16**2 + 13 * 16) + 2 * 16
    for metrics in setting["searches"].values():
        assert set(metrics) == {"repeats", "prefixes", "agreeing", "processor", "wall"}
        for clock in ("processor", "wall"):
            times = metrics[clock]
            for side in ("ours", "theirs"):
                assert 0 < times[side]["min_s"] <= times[side]["median_s"]
                want = metrics["prefixes"] / times[side]["median_s"]
                assert times[side]["per_second"] == pytest.approx(want, abs=1e-3)
            low, high = times["ratio_quartiles"]
            assert 0 < times["ratio_min"] <= low <= times["ratio_median"] <= high
            if metrics["repeats"] == 1:
                want = times["theirs"]["median_s"] / times["ours"]["median_s"]
                assert times["ratio_median"] == pytest.approx(want, rel=1e-3, abs=1e-4)


def test_every_search_is_there_and_both_write_the_same_tokens(results: dict[str, Any]) -> None:
    [setting] = results["settings"]
    assert set(setting["searches"]) == set(SEARCHES)
    for name, metrics in setting["searches"].items():
        work = (metrics["repeats"], metrics["prefixes"])
        assert work == ((2, PREFIXES) if name == "greedy" else (1, B))
        assert metrics["agreeing"] == (None if name in DRAWN else metrics["prefixes"])


def test_memory_is_of_the_command_with_few_completions_and_with_many(
    results: dict[str, Any],
) -> None:
    memory = results["memory"]
    assert set(memory) == {"model", "runs", "growth_mib"}
    assert memory["model"] == results["settings"][0]["model"]
    few, many = memory["runs"]
    assert (few["completions"], many["completions"]) == (1, 6)
    # torch alone takes over a hundred MiB; a mark taken over from this process would be alike.
    assert 100 < few["peak_mib"] < 5000 and 100 < many["peak_mib"] < 5000
    assert memory["growth_mib"] == pytest.approx(many["peak_mib"] - few["peak_mib"], abs=0.051)


def test_the_model_writes_varied_text_and_stepping_reads_as_often_as_it_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    models = importlib.import_module("completion_models")
    searches = importlib.import_module("completion_searches")
    twins = models.build_twins((1, 16, 2), 60, (4, 20), tmp_path)
    calls = []
    decoder = twins.ours.model.decoder
    decoder.register_forward_pre_hook(lambda *_: calls.append(1))
    found = {}
    # One call for all but the last token of the prefix, or one each; then one a token.
    for name, expected in {"greedy": 1 + 12, "greedy_step_by_step": 7 + 12}.items():
        found[name] = searches.complete_by_ours(twins, searches.WAYS[name], 4, (4, 8, 12))
        assert len(calls) == expected
        calls.clear()
    assert found["greedy"].equal(found["greedy_step_by_step"])
    # Texts that repeat one token would agree too easily.
    assert all(len(set(row)) >= 4 for row in found["greedy"].tolist())


def test_without_transformers_the_extra_is_named(
    completions: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert_script_refused(completions(), "transformers", "genft_fairseq[hf]")
