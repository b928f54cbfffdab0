"""The benchmarks of whole training runs: their commands, what is measured, what they write."""

import importlib
import json
import subprocess
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fairseq import options
from fairseq.trainer import Trainer
from refusals import refuses
from warm_python import warm_python

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
ROWS = [
    *("label_smoothed_cross_entropy", "scalegrad", "scalegrad_chunked"),
    *("unlikelihood", "unlikelihood_chunked", "first_token_auxiliary"),
]
FIGURES = {"rounds", "median_words_per_s", "max_words_per_s"}
RATIOS = {"ratio_median", "ratio_min", "ratio_quartiles"}


def benchmark(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(warm_python().python), str(BENCHMARKS / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module as the benchmarks import one another."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.fixture
def call(module: Any) -> Any:
    """Call a script's command in this process, which has imported what it imports."""

    def run(script: str, *arguments: object) -> Result:
        return CliRunner().invoke(module(script).main, list(map(str, arguments)))

    return run


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JSON of one run, printed and written alike: language models, alone and in pairs."""
    path = tmp_path_factory.mktemp("benchmark") / "training.json"
    what = ["--model", "language,tiny", "--rows", "scalegrad_chunked", "--vocabulary", 60]
    often = ["--updates", 4, "--warm-up", 1, "--rounds", 2]
    where = ["--processes", "1,2", "--ddp-backend", "legacy_ddp"]
    done = benchmark("training.py", *what, *often, *where, "--output", path, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stdout == path.read_text()
    return path


@pytest.fixture(scope="module")
def results(report: Path) -> dict[str, Any]:
    return json.loads(report.read_text())


def test_json_has_the_documented_schema(results: dict[str, Any]) -> None:
    assert set(results) == {
        *("command", "versions", "hardware", "device", "threads", "clock", "updates", "warm_up"),
        "settings",
    }
    assert results["command"].startswith("python benchmarks/training.py --model language,tiny")
    assert set(results["versions"]) == {"python", "torch", "fairseq", "genft_fairseq"}
    assert (results["threads"], results["clock"]) == (1, "processor")
    assert (results["updates"], results["warm_up"]) == (4, 1)
    alone, pair = results["settings"]
    assert (alone["processes"], alone["backend"]) == (1, None)
    assert (pair["processes"], pair["backend"]) == (2, "legacy_ddp")
    for setting in (alone, pair):
        assert set(setting["rows"]) == {"label_smoothed_cross_entropy", "scalegrad_chunked"}
        assert setting["model"]["vocabulary"] == 60
        assert (setting["data"], setting["precision"]) == ("made", "fp32")
        # Three updates of two blocks each, of which the last of all is shorter.
        assert setting["tokens"] == 512
        assert 5 * 256 < setting["words"] <= 6 * 256
        for metrics in setting["rows"].values():
            assert set(metrics) == FIGURES | RATIOS | {"wall", "peak_bytes", "peak_ratio"}
            for clock in (metrics, metrics["wall"]):
                assert clock["rounds"] == 2
                assert 0 < clock["median_words_per_s"] <= clock["max_words_per_s"]
                low, high = clock["ratio_quartiles"]
                assert 0 < clock["ratio_min"] <= low <= clock["ratio_median"] <= high
            assert metrics["peak_bytes"] > 2**27  # what was imported alone
        assert setting["rows"]["label_smoothed_cross_entropy"]["ratio_quartiles"] == [1.0, 1.0]


@pytest.mark.parametrize("kind", ["translation", "language"])
@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_commands_parse_and_differ_in_the_criterion_alone(
    kind: str, size: str, module: Any, tmp_path: Path
) -> None:
    commands = module("training_commands")
    user_dir = BENCHMARKS.parent / "genft_fairseq"
    model = commands.Model(kind, size, 50, 4096)
    runs = {}
    for precision in commands.PRECISIONS:
        for row in commands.ROWS:
            for processes, backend in ((1, None), (2, "pytorch_ddp"), (2, "legacy_ddp")):
                given = (precision, "cpu", processes, backend)
                words = commands.train_arguments(tmp_path, user_dir, model, row, 30, *given)
                run = vars(options.parse_args_and_arch(options.get_training_parser(), words))
                assert (run["max_tokens"], run["max_update"]) == (4096 // processes, 30)
                assert run["label_smoothing"] == 0.1
                assert run["ddp_backend"] == (backend or "pytorch_ddp")
                assert (run["fp16"], run["bf16"], run["amp"]) == tuple(
                    precision == name for name in ("fp16", "bf16", "amp")
                )
                runs[row, given] = run
    criterion = {"criterion", "gamma", "unlikelihood_alpha", "loss_chunk_size"}
    criterion |= {"first_token_weight"}
    for (_, given), run in runs.items():
        theirs = runs["label_smoothed_cross_entropy", given]
        different = {key for key in run if run[key] != theirs.get(key)}
        assert different <= criterion
    assert set(commands.ROWS) == set(ROWS)
    assert runs["scalegrad_chunked", ("fp32", "cpu", 1, None)]["loss_chunk_size"] == 512


@pytest.mark.parametrize("kind", ["translation", "language"])
def test_made_data_is_enough_and_always_the_same(kind: str, module: Any, tmp_path: Path) -> None:
    data, commands = module("training_data"), module("training_commands")
    model = commands.Model(kind, "tiny", 54, 512)
    made = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        arguments = data.write_text(folder, model, 10)
        assert ("--only-source" in arguments) == (kind == "language")
        made.append({path.name: path.read_text() for path in folder.iterdir()})
    assert made[0] == made[1]
    words = {line.split()[0] for line in made[0]["dict.txt"].splitlines()}
    assert len(words) == 50  # and four special symbols
    assert data.vocabulary_of(tmp_path / "one" / "dict.txt") == 54
    for name, text in made[0].items():
        if name != "dict.txt":
            tokens = text.split()
            assert set(tokens) <= words
            assert tokens.count("w1") > tokens.count("w5") > tokens.count("w40")
            assert len(tokens) + text.count("\n") > 12 * 512


def test_only_what_follows_the_warm_up_is_measured(
    module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    process: ModuleType = module("training_process")
    monkeypatch.setattr("torch.cuda.reset_peak_memory_stats", None)
    clock = SimpleNamespace(now=0.0)
    clocks = SimpleNamespace(
        perf_counter=lambda: clock.now, process_time=lambda: clock.now / 2, sleep=None
    )
    monkeypatch.setattr(process, "time", clocks)

    class Run:
        updates = 0

        def get_num_updates(self) -> int:
            return self.updates

    def train_step(trainer: Any, samples: list[dict[str, int]], again: bool = False) -> str:
        clock.now += 10 ** len(samples)
        if again:  # as --amp does after an overflow
            return Trainer.train_step(trainer, samples)
        trainer.updates += 1
        return "logged"

    monkeypatch.setattr(Trainer, "train_step", train_step)
    meter = process._Meter(updates=4, warm_up=2, on_gpu=False)
    meter.install()
    run: Any = Run()
    for samples, again in (
        *(([{"ntokens": 7}] * 3, False), ([{"ntokens": 7}], False)),
        *(([{"ntokens": 5}], True), ([{"ntokens": 3}, {}], False)),
    ):
        clock.now += 1.0  # between the updates
        assert Trainer.train_step(run, samples, again) == "logged"
    measured = meter.measured
    assert (measured.updates, measured.words) == (2, 8)
    # The third update is run twice; the reading of its batch is not part of it.
    assert measured.wall == 10 + 10 + 1 + 100
    assert measured.processor == measured.wall / 2


def test_a_run_that_fails_is_told_by_its_last_line(module: Any, tmp_path: Path) -> None:
    process = module("training_process")
    commands = module("training_commands")
    model = commands.Model("language", "tiny", 50, 512)
    user_dir = BENCHMARKS.parent / "genft_fairseq"
    given = ("scalegrad", 2, "fp32", "cpu", 1, None)
    words = commands.train_arguments(tmp_path, user_dir, model, *given)
    with refuses("Error: ", "dict", error=process.FailedRun):
        process.train([words], 2, 1, "cpu", 1, tmp_path)


def test_more_gpus_than_there_are(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    measurement = module("training_measurement")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with refuses("--device cuda", error=measurement.NoResultError):
        measurement._require_devices("cuda", (1,))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    measurement._require_devices("cuda", (1,))
    with refuses("--processes 2", error=measurement.NoResultError):
        measurement._require_devices("cuda", (1, 2))


def test_logging_cost(call: Any, tmp_path: Path) -> None:
    path, readme = tmp_path / "logging.json", tmp_path / "README.md"
    settings = ["--setting", "translation,tiny,2,6", "--setting", "language,tiny,2,9"]
    done = call("logging_cost", *settings, "--rounds", 5, "--output", path, "--json")
    assert done.exit_code == 0, done.output
    assert done.stdout == path.read_text()
    results = json.loads(path.read_text())
    assert [setting["kind"] for setting in results["settings"]] == ["translation", "language"]
    for setting in results["settings"]:
        assert set(setting["criterions"]) == {
            *("scalegrad", "unlikelihood", "scalegrad_chunked", "unlikelihood_chunked")
        }
        for metrics in setting["criterions"].values():
            assert set(metrics) == {"rounds", "median_s", "min_s", "figures_s", "share"} | RATIOS
            assert metrics["figures_s"] < metrics["median_s"]  # which noise can make negative
    readme.write_text("<!-- logging:begin --><!-- logging:end -->")
    assert call("logging_cost", "--table", path, "--readme", readme).exit_code == 0
    assert readme.read_text().count("| `unlikelihood --loss-chunk-size 512` |") == 2


def test_what_is_left_out_is_the_figures_alone(module: Any) -> None:
    measurement, models = module("logging_cost_measurement"), module("strategy_models")
    size = models.SIZES["tiny"]
    task = models.build_task("translation", models.dictionary_of(size), 6)
    model = models.build_model("translation", task, size, 6).eval()
    sample = models.build_sample("translation", task, 2, 6, "cpu")
    for name, own in (("scalegrad", "seen_mass"), ("unlikelihood", "unlikelihood")):
        update = measurement._Update(name, task, model, sample, "processor")
        loss, _, logged = update.as_it_is(model, sample)
        bare_loss, _, bare = update.bare(model, sample)
        assert float(loss) == float(bare_loss)
        assert set(logged) - set(bare) == {own, "scored"}
        assert len(update.making) == 1
