"""The benchmark of Fusion-in-Decoder: its rows, what it writes, and that its rows read the same."""

import importlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result
from warm_python import warm_python

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SCRIPT = BENCHMARKS / "fusion_in_decoder.py"
COMBINED = "first_k_8_interval_3_kv_heads_1"
ROWS = [
    *("concatenated", "copied", "plain", "kv_heads_1", "interval_3", "interval_3_kv_heads_1"),
    *("first_k_8", "first_k_32", COMBINED),
]
ENCODERS = ["concatenated", "together", "in_parts"]
# Questions, passages, tokens of each, hypotheses, tokens of an answer; layers, width and heads.
B, N, L, BEAM, T = 2, 3, 10, 3, 6
LAYERS, WIDTH, HEADS, FLOAT = 3, 16, 4, 4
# Keys and values of a question, in all layers.
PLAIN_CACHE = N * L * 2 * WIDTH * LAYERS * FLOAT

Call = Callable[..., Result]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JSON of one run, printed and written alike."""
    path = tmp_path_factory.mktemp("benchmark") / "fusion_in_decoder-cpu.json"
    model = ["--setting", f"1,{LAYERS},{WIDTH},{HEADS}", "--vocabulary", 60]
    text = ["--n-context", N, "--passage-tokens", L, "--questions", B, "--length", T]
    rounds = ["--passages-at-once", 2, "--beam", 1, "--beam", BEAM, "--repeats", 2]
    command = [warm_python().python, SCRIPT, *model, *text, *rounds, "--output", path, "--json"]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == path.read_text()
    return path


@pytest.fixture(scope="module")
def results(report: Path) -> dict[str, Any]:
    return json.loads(report.read_text())


def check_times(times: dict[str, Any]) -> None:
    low, high = times["ratio_quartiles"]
    assert times["repeats"] == 2
    assert 0 < times["min_s"] <= times["median_s"]
    assert 0 < times["ratio_min"] <= low <= times["ratio_median"] <= high


def test_json_has_the_documented_schema(results: dict[str, Any]) -> None:
    assert set(results) == {
        *("command", "versions", "hardware", "device", "threads", "dtype", "clock"),
        *("protocol", "settings"),
    }
    assert results["command"].startswith("python benchmarks/fusion_in_decoder.py --setting 1,3,16,")
    assert (results["threads"], results["clock"]) == (1, "processor")
    assert results["protocol"] == {
        **{"n_context": N, "passage_tokens": L, "passages_at_once": 2},
        **{"questions": B, "length": T},
    }
    [setting] = results["settings"]
    assert setting["model"] == {
        **{"encoder_layers": 1, "decoder_layers": LAYERS, "width": WIDTH, "heads": HEADS},
        "vocabulary": 60,
    }
    attention, inner = 4 * (WIDTH**2 + WIDTH), 8 * WIDTH**2 + 5 * WIDTH
    layers = (1 + LAYERS) * (attention + inner + 4 * WIDTH) + LAYERS * (attention + 2 * WIDTH)
    assert setting["parameters"] == 3 * 60 * WIDTH + layers
    assert set(setting["encoders"]) == set(ENCODERS)
    for name, metrics in setting["encoders"].items():
        check_times(metrics), check_times(metrics["wall"])
        assert metrics["seconds_per_question"] == pytest.approx(metrics["median_s"] / B, abs=1e-6)
        rows, length = (B, N * L) if name == "concatenated" else (B * N, L)
        assert metrics["attention_bytes"] == rows * HEADS * length**2 * FLOAT
        assert metrics["inference_peak_bytes"] >= 0 and metrics["training_peak_bytes"] >= 0


def test_every_row_writes_full_length_and_is_compared_with_plain(results: dict[str, Any]) -> None:
    [setting] = results["settings"]
    assert [point["beam"] for point in setting["beams"]] == [1, BEAM]
    for point in setting["beams"]:
        assert set(point["rows"]) == set(ROWS)
        for name, metrics in point["rows"].items():
            check_times(metrics), check_times(metrics["wall"])
            assert (metrics["questions"], metrics["tokens"]) == (B, B * T)
            want = B * T / metrics["median_s"]
            assert metrics["tokens_per_second"] == pytest.approx(want, rel=1e-2)
            assert metrics["encoder"] == ("concatenated" if name == "concatenated" else "together")
            encoder = setting["encoders"][metrics["encoder"]]["seconds_per_question"]
            assert metrics["encoder_seconds_per_question"] == encoder
            whole = encoder + metrics["median_s"] / B
            assert metrics["seconds_per_question"] == pytest.approx(whole, abs=1e-6)
        assert point["rows"]["plain"]["ratio_quartiles"] == [1.0, 1.0]


def test_copies_change_no_answer(results: dict[str, Any]) -> None:
    for point in results["settings"][0]["beams"]:
        same = {name: metrics["agreeing"] for name, metrics in point["rows"].items()}
        assert same == {**dict.fromkeys(ROWS), "plain": B, "copied": B}


def test_caches_are_what_keys_and_values_take(results: dict[str, Any]) -> None:
    parts = {
        **dict.fromkeys(["concatenated", "copied", "plain", "first_k_32"], 1.0),
        **{"kv_heads_1": 1 / HEADS, "interval_3": 1 / 3, "first_k_8": 8 / L},
        **{"interval_3_kv_heads_1": 1 / 3 / HEADS, COMBINED: 8 / L / 3 / HEADS},
    }
    for point in results["settings"][0]["beams"]:
        for name, metrics in point["rows"].items():
            copies = point["beam"] if name in ("concatenated", "copied") else 1
            held = PLAIN_CACHE * parts[name] * copies
            # A number for each position says whether it is padding, and one of 8 bytes for each
            # layer and batch how many hypotheses share it.
            beside = N * L * LAYERS * copies * FLOAT + LAYERS * 8 / B
            assert held - 1 <= metrics["cross_attention_bytes"] <= held + beside
            shared = HEADS if "kv_heads_1" in name else 1
            text = T * 2 * WIDTH * LAYERS * FLOAT * point["beam"] / shared
            assert metrics["self_attention_bytes"] == pytest.approx(text, abs=1)
            plain = point["rows"]["plain"]["cross_attention_bytes"]
            want = plain / metrics["cross_attention_bytes"]
            assert metrics["cross_attention_times_smaller"] == pytest.approx(want, abs=1e-3)


def test_rows_are_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an economy saves nothing it changes nothing, and answers vary."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    models = importlib.import_module("fusion_models")
    decoding = importlib.import_module("fusion_decoding")
    size = models.Size(1, LAYERS, WIDTH, HEADS, 60)
    task = models.task_of(size)
    names = ["plain", "copied", "first_k_32", "interval_3", "kv_heads_1"]
    readers = models.build_readers(names, size, task, (B, N, L), "cpu")
    shared = readers["plain"].model.state_dict()
    for name, reader in readers.items():
        own = reader.model.state_dict()
        assert own["encoder.layers.0.fc1.weight"].data_ptr() == (
            shared["encoder.layers.0.fc1.weight"].data_ptr()
        )
        pooled = shared["decoder.layers.2.encoder_attn.k_proj.weight"]
        if name == "kv_heads_1":
            pooled = pooled.view(HEADS, WIDTH // HEADS, WIDTH).mean(0)
        torch.testing.assert_close(own["decoder.layers.2.encoder_attn.k_proj.weight"], pooled)
    whole = readers["plain"].encode()["encoder_out"][0]
    torch.testing.assert_close(readers["plain"].encode(2)["encoder_out"][0], whole)
    torch.testing.assert_close(readers["first_k_32"].encode()["encoder_out"][0], whole)
    decoding.keep_encodings(readers)
    written = {}
    for name, reader in readers.items():
        limits = decoding.Namespace(beam=1, max_len_a=0, max_len_b=T - 1, min_len=T - 1)
        generator = task.build_generator([reader.model], limits)
        found = task.inference_step(generator, [reader.model], reader.sample)
        written[name] = [best[0]["tokens"].tolist() for best in found]
    assert written["copied"] == written["first_k_32"] == written["plain"]
    assert written["plain"] != written["interval_3"]
    # Texts that repeat one token would agree too easily.
    assert all(len(set(answer)) >= 3 for answer in written["plain"])


def test_training_holds_the_activations_of_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    memory = importlib.import_module("fusion_memory")
    size = importlib.import_module("fusion_models").Size(2, 1, 64, 2, 60)
    given = ((2, 16, 128), size, 4, "cpu")
    peaks = {name: memory.encoder_peaks(name, *given) for name in ("together", "in_parts")}
    # 4,096 positions of two layers; the inner part alone, before and after ReLU, takes 8 MiB each.
    assert peaks["together"]["training"] > 16 * 2**20
    assert peaks["in_parts"]["training"] < peaks["together"]["training"] / 2
    assert peaks["in_parts"]["inference"] < peaks["together"]["inference"]
