"""The GPU page: its commands parse, it shows what was measured, and the script runs (slow)."""

import importlib
import json
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fairseq_commands import REPOSITORY, run
from refusals import assert_script_refused
from test_examples import parse, shell

from genft_fairseq.cli.compare import compare
from genft_fairseq.experiments import comparison as study
from genft_fairseq.experiments.configuration import read_comparison

BENCHMARKS = REPOSITORY / "benchmarks"
SCRIPT = BENCHMARKS / "gpu.sh"
PAGE = BENCHMARKS / "GPU.md"
STEPS = ["tests", "projection", "losses", "training", "strategies", "logging", "study"]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module as the benchmarks import one another."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def dry_run(*arguments: object, **environment: str) -> tuple[list[list[str]], list[str]]:
    """The commands that the script would run, and what it says about them."""
    done = shell("bash", SCRIPT, "--dry-run", *arguments, **environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    commands = [shlex.split(line) for line in lines if not line.startswith("#")]
    return commands, [line for line in lines if line.startswith("#")]


def output_of(command: list[str]) -> str:
    return command[command.index("--output") + 1]


def check(command: list[str], module: Any) -> None:
    """By the parser of the very command, which refuses what it does not know."""
    program, *words = command
    if program == "fairseq-train":
        parse(words)
    elif program == "genft":
        assert words[0] == "compare"
        assert compare.make_context("compare", words[1:]).params["config"] == Path(words[1])
    else:
        assert program == "python"
        script = Path(words[0])
        assert script.parent == Path("benchmarks")
        parsed = module(script.stem).main.make_context(script.stem, words[1:]).params
        assert parsed["output"] == Path(output_of(command))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--data", "data"],
        ["--data", "data", "--small", "--out", "out", "--work", "work"],
        ["--data", "data", "--small", "--device", "cpu", "--out", "out"],
    ],
)
def test_every_command_parses(arguments: list[str], module: Any) -> None:
    commands, _ = dry_run(*arguments)
    for command in commands:
        check(command, module)
    small, device = "--small" in arguments, "cpu" if "cpu" in arguments else "cuda"
    assert commands[-1] == [
        *("genft", "compare", f"{'work' if 'work' in arguments else 'runs/gpu'}/study/study.yaml")
    ]
    baseline, *_ = (words for words in commands if words[0] == "fairseq-train")
    assert ("--cpu" in baseline) == (device == "cpu")
    assert ("--fp16" in baseline) != small
    written = [output_of(words) for words in commands if "--output" in words]
    assert len(set(written)) == len(written) == (6 if small else 13)
    folder = "out" if small else "benchmarks/results"
    assert all(path.startswith(f"{folder}/") for path in written)
    assert all(path.endswith(f"-{device}.json") for path in written)


def test_what_matters_most_comes_first() -> None:
    commands, _ = dry_run("--data", "data")
    kinds = [Path(output_of(c)).name for c in commands if "--output" in c]
    assert kinds == [
        "tests-cuda.json",
        *("projection-bfloat16-cuda.json", "losses-bfloat16-cuda.json"),
        *("projection-float16-cuda.json", "losses-float16-cuda.json"),
        *("training-bf16-cuda.json", "training-fp16-cuda.json"),
        *("strategies-cuda.json", "logging-cuda.json"),
        *("projection-float32-cuda.json", "losses-float32-cuda.json"),
        *("training-fp32-cuda.json", "training-amp-cuda.json"),
    ]


def test_what_does_not_fit_is_left_out() -> None:
    everything, _ = dry_run("--data", "data")
    fitting, _ = dry_run("--data", "data", "--minutes", "9")
    assert 0 < len(fitting) < len(everything)
    assert [command for command in everything if command in fitting] == fitting
    assert dry_run("--data", "data", "--minutes", "999")[0] == everything


def test_steps_can_be_chosen() -> None:
    commands, said = dry_run("--only", "losses,study", "--out", "out")
    assert {Path(words[1]).name for words in commands} == {"losses.py"}
    assert "study" in said[-1] and "--data" in said[-1]
    assert [path for path in map(output_of, commands) if not path.startswith("out/")] == []


def test_without_an_installed_package(tmp_path: Path) -> None:
    """Where nothing lies beside the interpreter, modules stand in."""
    (tmp_path / "python3").symlink_to(Path(sys.executable).resolve())
    where = {"PYTHON": str(tmp_path / "python3"), "PYTHONPATH": sysconfig.get_path("purelib")}
    commands, _ = dry_run("--data", "data", "--only", "study", **where)
    assert commands[0][0] == "fairseq-train"
    assert commands[1][:4] == ["python", "-m", "genft_fairseq.cli", "compare"]


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--only", "games"], ["--minutes", "0"], ["--device", "tpu"], ["--device", "cpu"]),
        *(["--small"], ["--data"], ["--data", "tests"], ["--frobnicate"]),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str]) -> None:
    assert_script_refused(shell("bash", SCRIPT, *arguments), *arguments)


def test_the_page_shows_what_was_measured(module: Any) -> None:
    """Whatever that is by now; a section without results waits."""
    page, results = module("gpu_page"), BENCHMARKS / "results"
    text = PAGE.read_text(encoding="utf-8")
    assert page.filled(text, results) == text
    without = [s for s in page.SECTIONS if not any(results.glob(f"{s.files}*-cuda.json"))]
    assert text.count(page.WAITING) == len(without)
    assert [section.files for section in page.SECTIONS] == STEPS


def test_results_fill_the_page(module: Any, tmp_path: Path) -> None:
    page = module("gpu_page")
    committed = {
        "losses-float32-cuda.json": BENCHMARKS / "results" / "losses-cpu.json",
        "strategies-cuda.json": BENCHMARKS / "results" / "strategies-cpu.json",
        "study-cuda.json": REPOSITORY / "examples" / "strategy_study" / "results.json",
    }
    for name, path in committed.items():
        shutil.copy(path, tmp_path / name)
    (tmp_path / "losses-cpu.json").write_text("not read")
    target = tmp_path / "GPU.md"
    shutil.copy(PAGE, target)
    arguments = ["--results", str(tmp_path), "--page", str(target)]
    assert CliRunner().invoke(page.main, arguments).exit_code == 0
    text = target.read_text(encoding="utf-8")
    assert text.count(page.WAITING) == len(STEPS) - len(committed)
    assert CliRunner().invoke(page.main, arguments).exit_code == 0
    assert target.read_text(encoding="utf-8") == text

    (tmp_path / "training-cuda.json").write_text("{}")
    done = CliRunner().invoke(page.main, arguments)
    assert_script_refused(done, "training-cuda.json")
    assert target.read_text(encoding="utf-8") == text


def test_the_tests_report(module: Any, tmp_path: Path) -> None:
    tests = module("gpu_tests")
    report = tmp_path / "report.xml"
    report.write_text(
        "<testsuites><testsuite hostname='somewhere'>"
        "<testcase classname='tests.gpu' name='a' time='1.5'/>"
        "<testcase classname='tests.gpu' name='b[x]' time='2.0'><failure>no</failure></testcase>"
        "<testcase classname='tests.gpu' name='c' time='0'><error>no</error></testcase>"
        "<testcase classname='tests.gpu' name='d' time='0'><skipped/></testcase>"
        "</testsuite></testsuites>"
    )
    found = tests._read(report)
    assert found == {
        **{"passed": 1, "failed": 2, "skipped": 1, "seconds": 3.5},
        "failures": ["tests.gpu::b[x]", "tests.gpu::c"],
    }
    versions = dict.fromkeys(["torch", "fairseq", "python"], "1")
    shown = tests.markdown([{"device": {"name": "A GPU"}, "versions": versions, **found}])
    for part in ("A GPU", "1 passed", "2 failed", "1 skipped", "tests.gpu::c"):
        assert part in shown


@pytest.mark.parametrize("small", [[], ["--small"]])
def test_the_study_is_one_that_compare_runs(
    small: list[str], module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, work = tmp_path / "data", tmp_path / "work"
    (data / "raw").mkdir(parents=True)
    arguments = ["--data", str(data), "--work", str(work), "--seeds", "2", *small]
    main = module("gpu_study").main
    refused = CliRunner().invoke(main, arguments)
    assert_script_refused(refused, "--data", data, unwritten=work)
    (data / "raw" / "test.de").write_text("eins\n")
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0
    baseline = parse(done.output.splitlines())
    assert baseline.save_dir == str(work / "baseline")
    assert not baseline.no_save_optimizer_state

    Path(baseline.save_dir).mkdir()
    (work / "baseline" / "checkpoint_best.pt").touch()
    comparison = read_comparison(work / "study.yaml")
    assert (comparison.data, comparison.output) == (data, work / "comparison")
    assert comparison.seeds == (1001, 2001)
    assert str(tmp_path) not in (work / "study.yaml").read_text()
    for job in study.plan(comparison):
        name, *words = job.planned_words()
        if name == "fairseq-train":
            assert parse(words).max_update == comparison.updates
    assert len(comparison.strategies) == (2 if small else 8)
    template = read_template(module)
    assert [entry.name for entry in comparison.strategies] == template[: len(comparison.strategies)]


def read_template(module: Any) -> list[str]:
    import yaml

    entries = yaml.safe_load(module("gpu_study").TEMPLATE.read_text())["strategies"]
    return [entry if isinstance(entry, str) else entry["name"] for entry in entries]


@pytest.mark.slow
def test_the_script_runs_to_its_end(module: Any, tmp_path: Path) -> None:
    """Everything at tiny sizes on the CPU; then one step that fails, and the others do not."""
    data = tmp_path / "data"
    raw = tmp_path / "raw"
    raw.mkdir()
    for split, size in (("train", 40), ("valid", 5), ("test", 4)):
        lines = [f"w{i % 7} w{i % 5} w{i % 3}\n" for i in range(size)]
        for language in ("en", "de"):
            (raw / f"{split}.{language}").write_text("".join(lines))
    texts = [f"--{split}pref={raw / split}" for split in ("train", "valid", "test")]
    languages = ["-s", "en", "-t", "de", "--joined-dictionary"]
    run("fairseq-preprocess", *languages, *texts, "--destdir", data)
    shutil.copytree(raw, data / "raw")
    out, work = tmp_path / "out", tmp_path / "work"
    arguments = ["--small", "--device", "cpu", "--data", data, "--out", out, "--work", work]
    done = shell("bash", SCRIPT, *arguments, "--seeds", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    files = sorted(path.name for path in out.glob("*.json"))
    assert [name.split("-")[0] for name in files] == sorted(STEPS)
    assert module("gpu_page").WAITING not in (out / "GPU.md").read_text()
    assert all(json.loads((out / name).read_text()) for name in files)

    shutil.rmtree(work / "study" / "comparison")
    (work / "study" / "baseline" / "checkpoint_best.pt").write_text("broken")
    again = shell("bash", SCRIPT, *arguments, "--only", "study,logging")
    assert again.returncode == 1
    assert (out / "study-cpu.json").exists()  # of the first call
