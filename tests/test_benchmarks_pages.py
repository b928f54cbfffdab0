"""What the benchmarks' scripts share: the page that shows their results, and what they refuse."""

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from refusals import assert_script_refused

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PAGE = BENCHMARKS / "README.md"
SCRIPTS = [
    *("losses", "projection", "growth", "strategies", "training", "logging_cost"),
    *("completions", "fusion_in_decoder", "long_inputs"),
]
RECORDED = {name: [f"{name}-cpu.json"] for name in SCRIPTS}
RECORDED["strategies"].append("strategies-base-cpu.json")
Call = Callable[..., Result]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call a script's command in this process, which has imported what it imports."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def run(script: str, *arguments: object) -> Result:
        main = importlib.import_module(script).main
        return CliRunner().invoke(main, list(map(str, arguments)))

    return run


def tables(script: str) -> list[object]:
    paths = [BENCHMARKS / "results" / name for name in RECORDED[script]]
    return [word for path in paths for word in ("--table", path)]


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_page_shows_what_was_recorded(script: str, call: Call, tmp_path: Path) -> None:
    page = shutil.copy(PAGE, tmp_path)
    assert call(script, *tables(script), "--readme", page).exit_code == 0
    assert Path(page).read_text() == PAGE.read_text()


def test_only_what_is_between_the_markers_is_replaced(call: Call, tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    before, after = "# Title\n\nabove | `x`\n<!-- losses:begin -->", "\n\nbelow  \nno newline"
    page.write_text(f"{before}stale<!-- losses:end -->{after}")
    assert call("losses", *tables("losses"), "--readme", page).exit_code == 0
    text = page.read_text()
    assert text.startswith(before) and text.endswith(after) and "stale" not in text


def test_a_page_without_markers_is_left_alone(call: Call, tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("<!-- losses:end --> <!-- losses:begin -->")
    done = call("losses", *tables("losses"), "--readme", page)
    assert_script_refused(done, page)
    assert page.read_text() == "<!-- losses:end --> <!-- losses:begin -->"


@pytest.mark.parametrize(
    ("script", "flag", "value"),
    [
        *(("losses", "--shape", value) for value in ("2,16", "2,x,100", "0,4,100")),
        *(("projection", "--shape", value) for value in ("2,16,40", "2,4,8,7")),
        *(("growth", "--shape", "2,16,40"), ("growth", "--lengths", "64,96")),
        *(("growth", "--vocabularies", "4,5"), ("growth", "--batches", "2,1")),
        ("growth", "--batches", ""),
        *(("losses", "--losses", "focal"), ("growth", "--losses", "dense_masks")),
        *(
            ("strategies", "--setting", value)
            for value in (
                *("translation,small,2", "speech,small,2,9", "translation,huge,2,9"),
                "translation,tiny,2,3",
            )
        ),
        ("strategies", "--strategies", "focal"),
        *(("training", "--model", "speech,tiny"), ("training", "--rows", "focal")),
        *(("training", "--precision", "fp8"), ("training", "--processes", "0")),
        ("training", "--ddp-backend", "x"),
        *(("completions", "--setting", value) for value in ("2,16", "2,16,3", "0,16,2")),
        *(("completions", "--searches", "best"), ("completions", "--memory", "64")),
        ("completions", "--memory", "64,64"),
        *(
            ("fusion_in_decoder", "--setting", value)
            for value in ("2,2,16", "2,3,16,3", "0,3,16,2")
        ),
        ("fusion_in_decoder", "--rows", "best"),
        *(("long_inputs", "--shape", "4"), ("long_inputs", "--shape", "1,4")),
        *(("long_inputs", "--width", "100"), ("long_inputs", "--rows", "t6")),
        *((script, "--output", "no/such/folder/x.json") for script in SCRIPTS),
        *((script, "--table", Path(__file__)) for script in SCRIPTS),
    ],
)
def test_a_value_is_refused(script: str, flag: str, value: object, call: Call) -> None:
    assert_script_refused(call(script, flag, value), flag, value)


@pytest.mark.parametrize(
    ("script", "arguments", "named"),
    [
        ("training", ["--updates", "5", "--warm-up", "5"], ["--warm-up", "5"]),
        ("training", ["--data", BENCHMARKS], ["--data"]),
        ("training", ["--data", BENCHMARKS, "--model", "language,tiny"], [BENCHMARKS]),
        ("training", ["--data", BENCHMARKS, "--model", "translation,tiny"], [BENCHMARKS]),
        ("completions", ["--length", "1000"], ["1024"]),
        ("fusion_in_decoder", ["--setting", "2,2,16,2"], ["--setting", "2"]),
        ("fusion_in_decoder", ["--device", "cuda"], ["--device cuda"]),
    ],
)
def test_what_does_not_go_together_is_refused(
    script: str,
    arguments: list[object],
    named: list[object],
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert_script_refused(call(script, *arguments), *named)
