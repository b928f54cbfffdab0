"""The benchmark of the strategies: its rows, what it writes, and that what it times is right."""

import importlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from warm_python import warm_python

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SCRIPT = BENCHMARKS / "strategies.py"
STRATEGIES = [
    "teacher_forced",
    *("scheduled_argmax", "scheduled_sample", "scheduled_expected", "scheduled_argmax_twice"),
    *("generative_never", "generative_greedy", "generative_sampling"),
    *("unrolled_cached", "unrolled"),
    *("sequence_never", "sequence"),
    *("risk_sampling", "risk_beam"),
]
B, T = 3, 6  # of the translations; 2 x 9 of the language model
# Tokens written one by one: all but the first input, all, all of up to five candidates.
GENERATED = {
    **dict.fromkeys(["generative_greedy", "generative_sampling"], B * (T - 1)),
    **dict.fromkeys(["unrolled_cached", "unrolled"], B * (T - 1)),
    "sequence": B * T,
    "risk_sampling": 5 * B * T,
    "risk_beam": 5 * B * T,
}


def strategies(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(warm_python().python), str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JSON of one run, printed and written alike; naive unrolling is skipped at the last."""
    path = tmp_path_factory.mktemp("benchmark") / "strategies.json"
    settings = ["--setting", f"translation,tiny,{B},{T}", "--setting", "language,tiny,2,9"]
    settings += ["--setting", "translation,tiny,2,64"]
    rounds = ["--repeats", 2, "--unrolled-repeats", 1, "--unrolled-limit-gib", 0.01]
    done = strategies(*settings, *rounds, "--output", path, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout == path.read_text()
    return path


@pytest.fixture(scope="module")
def results(report: Path) -> dict[str, Any]:
    return json.loads(report.read_text())


def test_json_has_the_documented_schema(results: dict[str, Any]) -> None:
    assert set(results) == {
        *("command", "versions", "hardware", "device", "threads", "clock", "settings")
    }
    assert results["command"].startswith("python benchmarks/strategies.py --setting translation,")
    assert set(results["versions"]) == {"python", "torch", "fairseq", "genft_fairseq"}
    assert results["hardware"]["cores"] >= 1
    assert results["device"]["name"]
    assert (results["threads"], results["clock"]) == (1, "processor")
    kinds = [(s["kind"], s["size"], s["shape"]) for s in results["settings"]]
    assert kinds == [
        ("translation", "tiny", [B, T]),
        ("language", "tiny", [2, 9]),
        ("translation", "tiny", [2, 64]),
    ]
    for setting in results["settings"]:
        assert setting["model"]["vocabulary"] == 40
        for name, metrics in setting["strategies"].items():
            if "skipped" in metrics:
                continue
            assert set(metrics) == {
                *("generated", "repeats", "median_s", "min_s", "ratio_median", "ratio_min"),
                *("ratio_quartiles", "ratio_max", "ratio_per_token", "wall"),
            }
            assert metrics["repeats"] == (1 if name.startswith("unrolled") else 2)
            for clock in (metrics, metrics["wall"]):
                assert 0 < clock["min_s"] <= clock["median_s"]
                low, high = clock["ratio_quartiles"]
                assert 0 < clock["ratio_min"] <= low <= clock["ratio_median"] <= high
            assert metrics["ratio_quartiles"][1] <= metrics["ratio_max"]
        assert setting["strategies"]["teacher_forced"]["ratio_quartiles"] == [1.0, 1.0]


def test_every_strategy_is_there_and_writes_full_length(results: dict[str, Any]) -> None:
    translation, language, long = (setting["strategies"] for setting in results["settings"])
    assert set(translation) == set(long) == set(STRATEGIES)
    assert set(language) == {"teacher_forced", "sequence_never", "sequence"}
    assert language["sequence"]["generated"] == 2 * 6
    for name, metrics in translation.items():
        assert metrics["generated"] == GENERATED.get(name, 0)
        per_token = metrics["ratio_per_token"]
        if name in GENERATED:
            want = metrics["ratio_median"] * B * T / GENERATED[name]
            assert per_token == pytest.approx(want, rel=1e-2)
        else:
            assert per_token is None
    assert set(long["unrolled"]) == {"skipped"}
    assert "0.01" in long["unrolled"]["skipped"]


def test_unrolling_is_what_generative_rollout_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    models = importlib.import_module("strategy_models")
    updates = importlib.import_module("strategy_updates")
    size = models.SIZES["tiny"]
    task = models.build_task("translation", models.dictionary_of(size), T)
    sample = models.build_sample("translation", task, B, T, "cpu")
    found = {}
    for name in ("generative_greedy", "unrolled_cached", "unrolled"):
        model = models.build_model("translation", task, size, T)
        for module in model.modules():
            if hasattr(module, "p") and hasattr(module, "apply_during_inference"):
                module.p = 0.0  # dropout
        update = updates.build_update(name, "translation", task, T)
        loss = update.run(sample, model, models.build_optimizer(model), 0)["loss"]
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        assert gradient.abs().sum() > 0
        found[name] = (loss, gradient)
    for name in ("unrolled_cached", "unrolled"):
        torch.testing.assert_close(found[name], found["generative_greedy"], rtol=1e-4, atol=1e-6)
