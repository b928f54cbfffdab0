"""How every measuring command runs: what it refuses, writes and prints."""

import json

import click
import pytest
from click.testing import CliRunner

from genft_fairseq.cli.measuring import (
    evaluation_progress,
    refuse_without_effect,
    require_outputs,
    tell_outputs,
    write_outputs,
)
from genft_fairseq.errors import UserError


def invoke(*arguments, broken=False):
    """Run a command that counts to three, from its flags to what it prints."""

    @click.command()
    @click.option("--output")
    @click.option("--text")
    @click.option("--json", "as_json", is_flag=True)
    @click.option("--given")
    @click.option("--far", is_flag=True)
    @click.option("--how-far", type=int, default=1)
    @click.option("--fast", is_flag=True)
    @click.pass_context
    def count(context, output, text, as_json, given, far, how_far, fast):
        needs = {"--far": ("how_far", "fast"), "--json": ("fast",)}
        refuse_without_effect(context, needs, {"--far": far, "--json": as_json})
        require_outputs({"--output": output, "--text": text}, context.params)
        with evaluation_progress(as_json, "numbers") as progress:
            for _ in range(3):
                progress("counting", 3, 1)
            if broken:
                raise UserError("it cannot be counted")
        write_outputs({output: ['{"count": ', "3}\n"], text: iter(["three", "\n"])})
        if as_json:
            click.echo('{"count": 3}')
            return
        click.echo("counted: 3")
        tell_outputs(output, text)

    return CliRunner().invoke(count, list(map(str, arguments)))


def test_files_and_what_there_is_to_see(tmp_path):
    metrics, text = tmp_path / "new" / "figures.json", tmp_path / "text.txt"
    done = invoke("--output", metrics, "--text", text)
    assert all(shown in done.stdout for shown in ("counted: 3", str(metrics), str(text)))
    assert (json.loads(metrics.read_text()), text.read_text()) == ({"count": 3}, "three\n")


def test_json_alone(tmp_path):
    done = invoke("--json", "--text", tmp_path / "text.txt")
    assert done.stdout == '{"count": 3}\n' and done.stderr == ""
    assert (tmp_path / "text.txt").read_text() == "three\n"


def test_nothing_is_written_where_the_work_fails(tmp_path):
    done = invoke("--output", tmp_path / "figures.json", broken=True)
    assert isinstance(done.exception, UserError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--how-far", 2], ["--how-far 2", "--far"]),
        (["--how-far", 1], ["--how-far 1", "--far"]),  # the default, but somebody meant it
        (["--fast"], ["--fast", "--far"]),
        (["--fast", "--far"], ["--fast", "--json"]),
        (["--output", "f", "--text", "./f"], ["--output", "--text", "f"]),
    ],
)
def test_what_is_refused_before_the_work(flags, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = invoke(*flags, broken=True)
    line = done.stderr.splitlines()[-1]
    assert done.exit_code == 2 and all(word in line for word in named)
    assert list(tmp_path.iterdir()) == []
    assert invoke("--fast", "--far", "--json", "--how-far", 3).exit_code == 0


def test_what_is_read_is_not_written(tmp_path):
    """Whatever the flag that reads it, and however its name is written."""
    given = tmp_path / "given.txt"
    given.write_text("precious")
    done = invoke("--given", given, "--text", tmp_path / "." / "given.txt")
    assert done.exit_code == 2 and "--text" in done.output and "given.txt" in done.output
    assert given.read_text() == "precious"
    assert invoke("--given", given, "--text", tmp_path / "other.txt").exit_code == 0
