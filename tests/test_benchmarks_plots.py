"""The plots of the benchmarks: drawn of the JSON beside them, the same each time."""

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from refusals import assert_script_refused
from warm_python import warm_python

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
RESULTS = BENCHMARKS / "results"
MOST_BYTES = 80_000
MADE_ON = {
    "versions": {"python": "3.11", "torch": "2.13", "fairseq": "0.12", "genft_fairseq": "0.1"},
    "device": {"type": "cpu", "name": "some processor"},
    "threads": 1,
    "dtype": "float32",
    "clock": "processor",
}
TOPICS = [
    *("losses-cpu", "projection-cpu", "growth-cpu", "strategies-cpu", "training-cpu"),
    "fusion_in_decoder-cpu",
]


def plots(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(warm_python().python), str(BENCHMARKS / "plots.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def metrics(ratio: float, memory: float | None) -> dict[str, Any]:
    return {
        "ratio_median": ratio,
        "ratio_quartiles": [ratio * 0.9, ratio * 1.2],
        "us_per_position": 100 * ratio,
        "peak_bytes": int((memory or 0) * 2**20),
        "peak_ratio": memory,
    }


def made_results() -> dict[str, Any]:
    """Results of every benchmark, with the figures alone that plots show."""
    losses = {
        "cross_entropy": metrics(1, 1),
        "scalegrad": metrics(0.43, 0.6),
        "unlikelihood": metrics(0.5, None),
        "scalegrad_chunked_512": metrics(0.98, 0.14),
        "dense_masks": {"skipped": "too large"},
    }
    points = [
        {"size": size, "shape": [2, 3, 4, size], "losses": losses} for size in (512, 4096, 8192)
    ]
    setting = {"kind": "translation", "size": "small", "shape": [3, 4]}
    rows = {"label_smoothed_cross_entropy": metrics(1, 1), "scalegrad": metrics(1.1, 0.9)}
    strategies = {"teacher_forced": metrics(1, 1), "unrolled": metrics(28, 1)}
    sizes = {"encoder_layers": 3, "decoder_layers": 6, "width": 16, "heads": 4}
    reading = {
        "plain": {**metrics(1, None), "cross_attention_times_smaller": 1.0},
        "interval_3_kv_heads_1": {**metrics(2.43, None), "cross_attention_times_smaller": 24.0},
    }
    run = {"precision": "fp32", "processes": 2, "backend": "pytorch_ddp", "rows": rows}
    return {
        "losses-cpu": {"shapes": [{"shape": [1, 2, 8], "losses": losses}] * 2},
        "projection-cpu": {"shapes": [{"shape": [1, 2, 3, 8], "losses": losses}]},
        "growth-cpu": {"curves": {name: {"points": points} for name in ("vocabulary", "batch")}},
        "strategies-cpu": {"settings": [{**setting, "strategies": strategies}]},
        "training-cpu": {"settings": [{**setting, **run}]},
        "fusion_in_decoder-cpu": {
            "protocol": {"n_context": 20},
            "settings": [{"model": sizes, "beams": [{"beam": 4, "rows": reading}]}],
        },
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results and their plots."""
    path = tmp_path_factory.mktemp("results")
    made = made_results()
    # The clock of older results was the wall, and went without saying.
    for name, results in made.items():
        on = {k: v for k, v in MADE_ON.items() if name != "losses-cpu" or k != "clock"}
        (path / f"{name}.json").write_text(json.dumps({**on, **results}))
    # Where growth has losses of its own.
    growth = json.loads((path / "growth-cpu.json").read_text())
    for point in (p for curve in growth["curves"].values() for p in curve["points"]):
        for name in ("unlikelihood", "dense_masks"):
            del point["losses"][name]
    (path / "growth-cpu.json").write_text(json.dumps(growth))
    done = plots("--results", path)
    assert done.returncode == 0, done.stderr
    return path


def words(path: Path) -> str:
    """All text of an SVG."""
    root = ET.parse(path).getroot()
    return "\n".join("".join(element.itertext()) for element in root.iter() if element.text)


def test_committed_plots_show_the_committed_results() -> None:
    done = plots("--check")
    assert done.returncode == 0, done.stderr
    for path in RESULTS.glob("*.svg"):
        assert path.stat().st_size < MOST_BYTES


def test_plots_show_the_figures(folder: Path) -> None:
    losses = words(folder / "losses-cpu.svg")
    assert "0.43" in losses and "0.60" in losses
    projection = words(folder / "projection-cpu.svg")
    assert "0.98" in projection and "0.14" in projection
    assert "28.00" in words(folder / "strategies-cpu.svg")
    assert "1.10" in words(folder / "training-cpu.svg")
    fusion = words(folder / "fusion_in_decoder-cpu.svg")
    assert "2.43" in fusion and "24.00" in fusion


def test_the_same_results_make_the_same_files(folder: Path, tmp_path: Path) -> None:
    for path in folder.glob("*.json"):
        shutil.copy(path, tmp_path)
    assert plots("--results", tmp_path).returncode == 0
    for path in folder.glob("*.svg"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_check_tells_old_plots_from_new_ones(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        shutil.copy(path, tmp_path)
    assert plots("--results", tmp_path, "--check").returncode == 0

    source = tmp_path / "projection-cpu.json"
    results = json.loads(source.read_text())
    results["shapes"][0]["losses"]["scalegrad"]["ratio_median"] = 0.44
    source.write_text(json.dumps(results))
    (tmp_path / "growth-cpu.svg").unlink()
    (tmp_path / "training-cpu.json").unlink()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    done = plots("--results", tmp_path, "--check")
    assert done.returncode == 2
    message = done.stderr.splitlines()[-1]
    for name in ("projection", "growth", "training"):
        assert f"{name}-cpu.svg" in message
    assert "losses-cpu" not in message
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_missing_results_are_not_drawn(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "losses-cpu.json", tmp_path)
    done = plots("--results", tmp_path)
    assert done.returncode == 0
    assert all(f"{name}.json" in done.stderr for name in TOPICS[1:])
    assert [path.name for path in tmp_path.glob("*.svg")] == ["losses-cpu.svg"]


@pytest.mark.parametrize("text", ["no JSON", "[]", "{}", '{"shapes": [{"losses": {}}]}'])
def test_a_strange_file_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "losses-cpu.json").write_text(text)
    assert_script_refused(plots("--results", tmp_path), "losses-cpu.json")
    assert not list(tmp_path.glob("*.svg"))
