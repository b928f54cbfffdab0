"""The benchmark of long inputs: what it writes, shows and refuses."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
RECORDED = BENCHMARKS / "results" / "long_inputs-cpu.json"
Call = Callable[..., Result]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    script = importlib.import_module("long_inputs")
    return lambda *arguments: CliRunner().invoke(script.main, [*map(str, arguments)])


def test_a_small_run(bench: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every figure of every row; memory, which fresh processes measure, is another test's."""
    measurement = importlib.import_module("long_input_measurement")
    monkeypatch.setattr(measurement, "peak_bytes", lambda w, name, shape, *_: shape[0] * 1000)
    output = tmp_path / "long.json"
    sizes = ["--layers", 1, "--width", 64, "--length", 4, "--vocabulary", 40, "--repeats", 1]
    rows = ["--rows", "t5_linear,t5_eager,fairseq", "--shape", "2,16", "--shape", "1,32"]
    done = bench(*sizes, *rows, "--output", output, "--json")
    assert done.exit_code == 0, done.output
    results: dict[str, Any] = json.loads(output.read_text())
    assert [(s["texts"], s["tokens"]) for s in results["shapes"]] == [(2, 16), (1, 32)]
    for shape in results["shapes"]:
        assert set(shape["rows"]) == {"t5_linear", "t5_eager", "fairseq"}
        for metrics in shape["rows"].values():
            for which in ("training", "decoding"):
                assert 0 < metrics[which]["min_s"] <= metrics[which]["median_s"]
                assert metrics[which]["peak_bytes"] == 1000 * shape["texts"]
        for name in ("t5_eager", "fairseq"):  # compared with themselves
            assert shape["rows"][name]["training"]["ratio_median"] == 1


def test_growth_of_memory(bench: Call) -> None:
    results = json.loads(RECORDED.read_text())
    tables = importlib.import_module("long_input_tables")
    same = [s for s in results["shapes"] if s["texts"] * s["tokens"] == 4096]
    first, last = (
        shape["rows"]["bart_eager"]["training"]["peak_bytes"] for shape in (same[0], same[-1])
    )
    assert tables.growth(results, "bart_eager", "training") == pytest.approx(last / first)
