"""The benchmark of output projection and loss: its rows agree, and chunks need less memory."""

import importlib
import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from refusals import refuses
from warm_python import warm_python

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SCRIPT = BENCHMARKS / "projection.py"
# The first is tiny; at the second, logits of 64 MiB, memory shows.
SHAPES = [[2, 9, 8, 40], [8, 128, 16, 16384]]
LOSSES = [
    *("cross_entropy", "label_smoothed_cross_entropy", "scalegrad"),
    *("scalegrad_chunked_256", "scalegrad_chunked_512", "scalegrad_chunked_1024"),
    *("scalegrad_smoothed_chunked_512", "unlikelihood_chunked_512", "likelihood_chunked_512"),
    "dense_masks",
]


def projection(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(warm_python().python), str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JSON of one run, printed and written alike; the dense masks are skipped at the last."""
    path = tmp_path_factory.mktemp("benchmark") / "projection.json"
    shapes = [word for shape in SHAPES for word in ("--shape", ",".join(map(str, shape)))]
    rounds = ["--repeats", 2, "--dense-repeats", 1, "--dense-limit-gib", 0.1]
    done = projection(*shapes, *rounds, "--output", path, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout == path.read_text()
    return path


@pytest.fixture(scope="module")
def results(report: Path) -> dict[str, Any]:
    return json.loads(report.read_text())


@pytest.fixture
def columns(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("projection_columns")


def test_json_has_the_documented_schema(results: dict[str, Any]) -> None:
    assert set(results) == {
        *("command", "versions", "hardware", "device", "threads", "dtype", "clock", "shapes")
    }
    assert results["command"].startswith("python benchmarks/projection.py --shape 2,9,8,40 ")
    assert results["hardware"]["cores"] >= 1
    assert (results["threads"], results["clock"]) == (1, "processor")
    assert [shape["shape"] for shape in results["shapes"]] == SHAPES
    assert [shape["logits_bytes"] for shape in results["shapes"]] == [2 * 9 * 40 * 4, 2**26]
    for shape in results["shapes"]:
        assert set(shape["losses"]) == set(LOSSES)
        for name, metrics in shape["losses"].items():
            if "skipped" in metrics:
                continue
            assert set(metrics) == {
                *("loss_nats", "repeats", "median_s", "min_s", "ratio_median", "ratio_min"),
                *("ratio_quartiles", "wall", "peak_bytes", "peak_ratio"),
            }
            assert metrics["repeats"] == (1 if name == "dense_masks" else 2)
            for clock in (metrics, metrics["wall"]):
                assert 0 < clock["min_s"] <= clock["median_s"]
                low, high = clock["ratio_quartiles"]
                assert 0 < clock["ratio_min"] <= low <= clock["ratio_median"] <= high
        assert shape["losses"]["cross_entropy"]["ratio_quartiles"] == [1.0, 1.0]
    assert "0.1" in results["shapes"][1]["losses"]["dense_masks"]["skipped"]


def test_losses_agree_where_they_must(results: dict[str, Any]) -> None:
    for shape in results["shapes"]:
        losses = shape["losses"].items()
        nats = {name: metrics["loss_nats"] for name, metrics in losses if "loss_nats" in metrics}
        for size in (256, 512, 1024):
            assert nats[f"scalegrad_chunked_{size}"] == pytest.approx(nats["scalegrad"], rel=1e-5)
        assert nats["likelihood_chunked_512"] == pytest.approx(nats["cross_entropy"], rel=1e-5)
        assert nats["unlikelihood_chunked_512"] > nats["cross_entropy"]
        if "dense_masks" in nats:
            assert nats.pop("dense_masks") == pytest.approx(nats["scalegrad"], rel=1e-4)
            # The others are losses of their own.
            assert len({f"{value:.4g}" for value in nats.values()}) == 5


def test_chunks_hold_a_part_of_the_logits(results: dict[str, Any]) -> None:
    shape = results["shapes"][1]
    logits, losses = shape["logits_bytes"], shape["losses"]
    peaks = {name: metrics.get("peak_bytes") for name, metrics in losses.items()}
    # Logits, log-probabilities and a gradient of either.
    assert peaks["cross_entropy"] == pytest.approx(3 * logits, rel=0.15)
    # Logits and their gradient.
    assert 1.9 * logits < peaks["scalegrad"] < 2.6 * logits
    # A quarter of them and a half, each overwritten by its gradient, and blocks of rows.
    assert 0.25 * logits < peaks["scalegrad_chunked_256"] < 0.8 * logits
    assert 0.5 * logits < peaks["scalegrad_chunked_512"] < 1.1 * logits
    assert losses["scalegrad_chunked_256"]["peak_ratio"] < 0.3


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("likelihood_chunked_5", "cross_entropy"),
        ("scalegrad_chunked_5", "scalegrad"),
        ("scalegrad_smoothed_chunked_5", "scalegrad_smoothed"),
        ("unlikelihood_chunked_5", "unlikelihood"),
        ("dense_masks", "scalegrad"),
    ],
)
def test_rows_have_the_loss_and_gradients_of_their_twins(
    columns: ModuleType, name: str, other: str
) -> None:
    measurement = importlib.import_module("loss_measurement")
    inputs = columns.make_inputs((2, 9, 8, 40), torch.float32, "cpu")
    found, wanted = (
        measurement.forward_backward(columns.build_loss(each), inputs) for each in (name, other)
    )
    assert [gradient.shape for gradient in found[1]] == [(2, 9, 8), (40, 8)]
    assert all(gradient.abs().sum() > 0 for gradient in found[1])
    tolerance = 10 if name == "dense_masks" else 1  # they add 1e-8 to every probability
    torch.testing.assert_close(found, wanted, rtol=1e-4 * tolerance, atol=1e-5 * tolerance)


def test_a_run_whose_losses_differ_is_refused(columns: ModuleType) -> None:
    refused = importlib.import_module("loss_comparison").NoResultError
    losses = {"scalegrad": {"loss_nats": 100.0}, "scalegrad_chunked_512": {"loss_nats": 100.01}}
    point = {"shape": [1, 2, 3, 8], "losses": losses}
    columns.require_agreement([point], "bfloat16")
    with refuses("scalegrad_chunked_512", "100.01", error=refused):
        columns.require_agreement([point], "float32")
    losses["scalegrad_chunked_512"] = {"loss_nats": float("nan")}
    with refuses("scalegrad_chunked_512", "nan", error=refused):
        columns.require_agreement([point], "bfloat16")
