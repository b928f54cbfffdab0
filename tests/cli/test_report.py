"""The command ``genft report``: what it takes, refuses, writes and prints."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from genft_process import genft as genft_process
from refusals import assert_refused
from report.run_maker import DONE, data_folder, make_run
from warm_python import warm_python

from genft_fairseq.cli import genft


def run(*arguments: object) -> str:
    result = CliRunner().invoke(genft, ["report", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refuse(*named: object, of: Sequence[object]) -> None:
    assert_refused(genft_process("report", *of), *named)


def test_a_page_is_written_where_nothing_else_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "mle")
    assert "report.html" in run("runs")
    assert "mle" in (tmp_path / "report.html").read_text()


def test_several_forms_at_once(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "mle")
    paths = [tmp_path / "deep" / f"r.{suffix}" for suffix in ("html", "md", "png", "json")]
    run(folder, *(word for path in paths for word in ("--output", path)))
    assert all(path.stat().st_size > 500 for path in paths)
    run(folder, *(word for path in paths for word in ("--output", path)))  # over the earlier ones


def test_json_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = json.loads(run(make_run(tmp_path / "mle"), "--json"))
    assert found["runs"][0]["name"] == "mle" and not (tmp_path / "report.html").exists()


def test_refusals_come_before_anything_is_written(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "mle")
    (tmp_path / "empty").mkdir()
    out = ("--output", tmp_path / "r.html")
    refuse(tmp_path / "empty", of=(tmp_path / "empty", *out))
    refuse("--output", "r.pdf", ".html", ".md", of=(folder, "--output", "r.pdf"))
    refuse("--output", of=(folder, *out, *out))
    refuse("--output", folder / "r.json", of=(folder / "r.json", "--output", folder / "r.json"))
    refuse("--output", "/proc/r.html", of=(folder, "--output", "/proc/r.html"))
    refuse("--baseline", "mel", "mle", of=(folder, *out, "--baseline", "mel"))
    for name in ("results.json", "notes.md"):
        (folder / name).write_text("{}")
        refuse(folder / name, of=(folder, "--output", folder / name))
        refuse(folder / name, of=(f"x={folder / name}", "--output", folder / name))
        assert (folder / name).read_text() == "{}"
    (tmp_path / "r-plots").write_text("")
    refuse(tmp_path / "r-plots", of=(folder, "--output", tmp_path / "r.md"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "mle", "r-plots"]


def test_runs_on_different_data_unless_asked_to(tmp_path: Path) -> None:
    for name in ("one", "two"):
        data = data_folder(tmp_path / f"data-{name}", name.encode())
        make_run(tmp_path / "runs" / name, data=str(data))
    out = ("--output", tmp_path / "r.html")
    named = ("one", "two", tmp_path / "data-one", tmp_path / "data-two", "--different-data")
    refuse(*named, of=(tmp_path / "runs", *out))
    run(tmp_path / "runs", *out, "--different-data")


def test_a_crashed_run_is_no_error(tmp_path: Path) -> None:
    folder = make_run(
        tmp_path / "mle", end=["Traceback (most recent call last):", "Boom: it broke"]
    )
    out = tmp_path / "r.html"
    run(folder, "--output", out)
    assert "Boom: it broke" in out.read_text()


def start(*arguments: object) -> "subprocess.Popen[str]":
    words = [str(warm_python().python), "-m", "genft_fairseq.cli", "report", *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def await_text(path: Path, text: str, process: "subprocess.Popen[str]") -> None:
    for _ in range(600):
        if path.exists() and text in path.read_text():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError(f"{path} never held {text}")


def test_watched_until_the_run_ends(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "mle", {10: 5.0}, end=[])
    out = tmp_path / "r.html"
    process = start(folder, "--output", out, "--watch", "--every", 1)
    await_text(out, 'http-equiv="refresh"', process)
    with (folder / "train.log").open("a") as log:
        log.write(f"{DONE}\n")
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0 and str(out) in stdout, stderr
    assert 'http-equiv="refresh"' not in out.read_text()


def test_interrupted_while_it_watches(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "mle", end=[])
    out = tmp_path / "r.html"
    process = start(folder, "--output", out, "--watch", "--every", 60)
    await_text(out, "</html>", process)
    while not any("mle" in line for line in out.read_text().splitlines()):
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mle", "r.html"]
