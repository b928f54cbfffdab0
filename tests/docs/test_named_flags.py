"""Every flag that a page tells its readers to use is one that something has."""

import csv
import re
from argparse import ArgumentParser
from collections.abc import Iterator
from functools import cache

import click
import pytest
from fairseq import options
from fairseq.models import MODEL_REGISTRY
from fairseq.registry import REGISTRIES
from fairseq.tasks import TASK_REGISTRY
from fairseq_commands import REPOSITORY

from genft_fairseq.cli import genft

DOCS = REPOSITORY / "docs"
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
# Of fairseq's before it renamed them, and of its commands that no parser here is of.
NAMED_AS_OTHERS = {"--max-lr", "--no-progress-bar"}
OF_PREPROCESS = options.get_preprocessing_parser
PAGES = ("troubleshooting.md", "strategy-study.md", "generative-or-classification.md")


@cache
def known() -> set[str]:
    """The flags of fairseq with the plugin, of genft, and of the scripts of data-prep."""
    parsers = [options.get_training_parser(), options.get_generation_parser(), OF_PREPROCESS()]
    rest = ArgumentParser(conflict_handler="resolve", add_help=False)
    registered = [kind for each in REGISTRIES.values() for kind in each["registry"].values()]
    for kind in [*registered, *TASK_REGISTRY.values(), *MODEL_REGISTRY.values()]:
        if hasattr(kind, "add_args"):
            kind.add_args(rest)
    flags = {flag for p in [*parsers, rest] for a in p._actions for flag in a.option_strings}
    flags |= set(_options(genft))
    for script in [*(REPOSITORY / "data-prep").glob("*.sh")]:
        flags |= set(FLAG.findall(script.read_text(encoding="utf-8")))
    return flags | {"--user-dir", "--help"}


def _options(command: click.Command) -> Iterator[str]:
    yield from (flag for p in command.params for flag in (*p.opts, *p.secondary_opts))
    for other in getattr(command, "commands", {}).values():
        yield from _options(other)


def _ours(page: str) -> set[str]:
    """The flags in the right columns of the tables of a page that has theirs on the left."""
    rows = [line.split(" | ", 1) for line in page.splitlines() if line.startswith("| ")]
    return {flag for row in rows for flag in FLAG.findall(row[1])}


def test_what_a_flag_becomes():
    flags = _ours((DOCS / "moving.md").read_text(encoding="utf-8"))
    assert len(flags) > 60
    assert flags - known() == set()


@pytest.mark.parametrize("name", PAGES)
def test_what_pages_advise(name):
    text = (DOCS / name).read_text(encoding="utf-8")
    advised = "\n".join(re.findall(r"`[^`]+`", re.sub(r"^###.*|```.*?```", "", text, flags=re.M)))
    assert set(FLAG.findall(advised)) - known() - NAMED_AS_OTHERS == set()


def test_the_columns_of_a_table_become_two_files(tmp_path, monkeypatch):
    page = (DOCS / "moving.md").read_text(encoding="utf-8")
    script = page.split("```python\n")[1].split("```")[0]
    rows = [("an article,\nof two lines", "short"), ("another", "a  summary")]
    with (tmp_path / "train.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "summary"), *rows])
    monkeypatch.chdir(tmp_path)
    exec(compile(script, "moving.md", "exec"), {})
    assert (tmp_path / "documents.txt").read_text() == "an article, of two lines\nanother\n"
    assert (tmp_path / "summaries.txt").read_text() == "short\na summary\n"
