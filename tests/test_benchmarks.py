"""The benchmark of the losses: what it writes, and what it makes of what it wrote."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from warm_python import warm_python

SCRIPT = Path(__file__).parent.parent / "benchmarks" / "losses.py"
SHAPES = ["1,9,40", "2,5,60", "1,256,16384"]  # the last large enough to see its memory
TINY = 2  # how many of them are too small for that
LOSSES = [
    "cross_entropy",
    "label_smoothed_cross_entropy",
    "scalegrad",
    "scalegrad_smoothed",
    "unlikelihood",
    "dense_masks",
]


def losses(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(warm_python().python), str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JSON of one run, printed and written alike; the dense masks are skipped at the last."""
    path = tmp_path_factory.mktemp("benchmark") / "losses.json"
    shapes = [argument for shape in SHAPES for argument in ("--shape", shape)]
    rounds = ["--repeats", 3, "--dense-repeats", 2, "--dense-limit-gib", 0.1]
    done = losses(*shapes, *rounds, "--output", path, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout == path.read_text()
    return path


@pytest.fixture(scope="module")
def results(report: Path) -> dict[str, Any]:
    return json.loads(report.read_text())


def test_json_has_the_documented_schema(results: dict[str, Any]) -> None:
    assert set(results) == {
        *("command", "versions", "hardware", "device", "threads", "dtype", "clock", "shapes")
    }
    assert results["command"].startswith("python benchmarks/losses.py --shape 1,9,40 ")
    assert set(results["versions"]) == {"python", "torch", "fairseq", "genft_fairseq"}
    assert results["device"]["type"] == "cpu"
    assert results["device"]["name"]
    assert results["hardware"]["cores"] >= 1
    assert results["clock"] == ("processor" if results["threads"] == 1 else "wall")
    assert results["dtype"] == "float32"
    assert [shape["shape"] for shape in results["shapes"]] == [
        [1, 9, 40],
        [2, 5, 60],
        [1, 256, 16384],
    ]
    assert [shape["logits_bytes"] for shape in results["shapes"]] == [1440, 2400, 2**24]
    for shape in results["shapes"][:TINY]:
        assert set(shape["losses"]) == set(LOSSES)
        for name, metrics in shape["losses"].items():
            assert set(metrics) == {
                *("loss_nats", "repeats", "median_s", "min_s", "ratio_median", "ratio_min"),
                *("ratio_quartiles", "wall", "peak_bytes", "peak_ratio"),
            }
            assert metrics["repeats"] == (2 if name == "dense_masks" else 3)
            assert 0 < metrics["min_s"] <= metrics["median_s"]
            for clock in (metrics, metrics["wall"]):
                low, high = clock["ratio_quartiles"]
                assert 0 < clock["ratio_min"] <= low <= clock["ratio_median"] <= high
            assert metrics["peak_bytes"] >= 0
        assert shape["losses"]["cross_entropy"]["ratio_quartiles"] == [1.0, 1.0]


def test_losses_agree_where_they_must(results: dict[str, Any]) -> None:
    for shape in results["shapes"][:TINY]:
        nats = {name: metrics["loss_nats"] for name, metrics in shape["losses"].items()}
        assert nats["dense_masks"] == pytest.approx(nats["scalegrad"], rel=1e-4)
        assert nats["unlikelihood"] > nats["cross_entropy"]
        # The others are losses of their own.
        assert len({round(value, 3) for value in nats.values()}) == len(LOSSES) - 1


def test_memory_counts_the_gradient_and_what_is_inside_kernels(results: dict[str, Any]) -> None:
    shape = results["shapes"][TINY]
    logits, metrics = shape["logits_bytes"], shape["losses"]
    # Log-probabilities, their gradient and that of the logits.
    assert metrics["cross_entropy"]["peak_bytes"] == pytest.approx(3 * logits, rel=0.15)
    # The gradient of the logits, and blocks of rows.
    assert 0.85 * logits < metrics["scalegrad"]["peak_bytes"] < 2.5 * logits


def test_dense_masks_are_skipped_with_a_reason(results: dict[str, Any]) -> None:
    assert "0.1" in results["shapes"][TINY]["losses"]["dense_masks"]["skipped"]
