"""The benchmark of growth: its curves, and what it makes of them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from warm_python import warm_python

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "growth.py"
LOSSES = [
    *("cross_entropy", "label_smoothed_cross_entropy", "scalegrad"),
    *("scalegrad_chunked_512", "unlikelihood_chunked_512"),
]
SHAPES = {
    "length": [[8, 4, 8, 64], [1, 32, 8, 64]],
    "vocabulary": [[2, 6, 8, 40], [2, 6, 8, 50], [2, 6, 8, 60]],
    "batch": [[1, 6, 8, 64], [3, 6, 8, 64]],
}
SIZES = {"length": [4, 32], "vocabulary": [40, 50, 60], "batch": [1, 3]}


def growth(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(warm_python().python), str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JSON of one run, printed and written alike."""
    path = tmp_path_factory.mktemp("benchmark") / "growth.json"
    sizes = ["--shape", "2,6,8,64", "--lengths", "4,32", "--vocabularies", "40,50,60"]
    done = growth(*sizes, "--batches", "1,3", "--repeats", 2, "--output", path, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout == path.read_text()
    return path


@pytest.fixture(scope="module")
def results(report: Path) -> dict[str, Any]:
    return json.loads(report.read_text())


def test_json_has_the_documented_schema(results: dict[str, Any]) -> None:
    assert set(results) == {
        *("command", "versions", "hardware", "device", "threads", "dtype", "clock", "curves")
    }
    assert results["command"].startswith("python benchmarks/growth.py --shape 2,6,8,64 ")
    assert (results["threads"], results["clock"]) == (1, "processor")
    for metrics in (
        metrics
        for curve in results["curves"].values()
        for point in curve["points"]
        for metrics in point["losses"].values()
    ):
        assert set(metrics) == {
            *("loss_nats", "repeats", "median_s", "min_s", "ratio_median", "ratio_min"),
            *("ratio_quartiles", "wall", "peak_bytes", "peak_ratio", "us_per_position"),
        }
        assert metrics["repeats"] == 2


def test_a_curve_varies_one_size(results: dict[str, Any]) -> None:
    points = {name: curve["points"] for name, curve in results["curves"].items()}
    assert {name: [p["shape"] for p in curve] for name, curve in points.items()} == SHAPES
    assert {name: [p["size"] for p in curve] for name, curve in points.items()} == SIZES
    for point in (point for curve in points.values() for point in curve):
        B, T, _, V = point["shape"]
        assert point["logits_bytes"] == B * T * V * 4
        assert set(point["losses"]) == set(LOSSES)
        for metrics in point["losses"].values():
            micro = metrics["median_s"] / (B * T) * 1e6
            assert metrics["us_per_position"] == pytest.approx(micro, abs=1e-3)
