"""The command ``genft report``: what it takes, refuses, writes and prints."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from report.run_maker import DONE, data_folder, make_run

from genft_fairseq.cli import genft
from genft_fairseq.errors import UserError


def run(*arguments: object) -> str:
    result = CliRunner().invoke(genft, ["report", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*arguments: object) -> str:
    result = CliRunner().invoke(genft, ["report", *map(str, arguments)])
    assert isinstance(result.exception, UserError), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_a_page_is_written_where_nothing_else_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "mle")
    assert run("runs") == "runs: 1 finished\nwritten: report.html\n"
    assert "<h1>runs</h1>" in (tmp_path / "report.html").read_text()


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
    assert refusal(tmp_path / "empty", *out).startswith(f"{tmp_path / 'empty'} holds no run")
    assert refusal(tmp_path / "nowhere", *out).endswith("name a run, or a folder with runs")
    assert "must end in one of .html, .md" in refusal(folder, "--output", "r.pdf")
    twice = refusal(folder, *out, *out)
    assert twice == "--output names the same file twice"
    assert "would overwrite" in refusal(folder / "r.json", "--output", folder / "r.json")
    assert "--output /proc/r.html cannot be written" in refusal(folder, "--output", "/proc/r.html")
    assert "no system" in refusal(folder, *out, "--baseline", "other")
    for name in ("results.json", "notes.md"):
        (folder / name).write_text("{}")
        refused = refusal(folder, "--output", folder / name)
        assert refused.endswith("exists and is no report: choose another name")
    assert "would overwrite" in refusal(f"x={folder / 'notes.md'}", "--output", folder / "notes.md")
    (tmp_path / "r-plots").write_text("")
    assert "which is no folder" in refusal(folder, "--output", tmp_path / "r.md")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "mle", "r-plots"]


def test_runs_on_different_data_unless_asked_to(tmp_path: Path) -> None:
    for name in ("one", "two"):
        data = data_folder(tmp_path / f"data-{name}", name.encode())
        make_run(tmp_path / "runs" / name, data=str(data))
    out = ("--output", tmp_path / "r.html")
    refused = refusal(tmp_path / "runs", *out)
    assert re.search(r"one was trained on .*data-one \(.*two on .*data-two \(", refused)
    assert "--different-data" in refused
    run(tmp_path / "runs", *out, "--different-data")


def test_a_crashed_run_is_no_error(tmp_path: Path) -> None:
    folder = make_run(
        tmp_path / "mle", end=["Traceback (most recent call last):", "Boom: it broke"]
    )
    out = tmp_path / "r.html"
    assert run(folder, "--output", out).startswith("runs: 1 crashed\n")
    assert "Boom: it broke" in out.read_text()


def start(*arguments: object) -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", "genft_fairseq.cli", "report", *map(str, arguments)]
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
    assert (process.returncode, stdout) == (0, f"runs: 1 finished\nwritten: {out}\n"), stderr
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
