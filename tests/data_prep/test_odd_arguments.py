"""What users' shells, folders and machines do to the prepare-*.sh scripts."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from pathlib import Path

import pytest
from refusals import assert_names

PARAGRAPHS = "".join(f"The {n} cats sat on the mat of the house.\n\n" for n in range(40))


@pytest.fixture
def book(script):
    return script("prepare-book.sh")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(PARAGRAPHS)
    return path


OPTIONS = re.compile(r"^ {8,12}(--[a-z0-9 |-]+)\)", re.MULTILINE)
# Which files a script's options are read in, and options of these that it does not have.
PIECES = {"--bpe-operations"}
HELP = {
    "prepare-book.sh": (["plain_text.sh"], set()),
    "prepare-cnn-dailymail.sh": (["news.sh", "summaries.sh"], PIECES),
    "prepare-fid.sh": (["fid.sh"], set()),
    "prepare-iwslt14-de-en.sh": (["parallel.sh"], set()),
    "prepare-multi30k.sh": (["parallel.sh"], {"--lowercase"}),
    "prepare-nq-fid.sh": (["fid.sh"], set()),
    "prepare-summaries.sh": (["summaries.sh"], PIECES),
    "prepare-toy.sh": ([], set()),
    "prepare-wikitext-103-bpe.sh": (["wikitext.sh", "plain_text.sh"], set()),
    "prepare-wikitext-2.sh": (["wikitext.sh", "plain_text.sh"], set()),
    "prepare-wmt14-en-de.sh": (["parallel.sh"], {"--lowercase"}),
    "prepare-wmt14-en-fr.sh": (["parallel.sh"], {"--lowercase"}),
    "prepare-xsum.sh": (["news.sh", "summaries.sh"], PIECES),
}


@pytest.mark.parametrize("name", HELP)
def test_help_names_every_option(script, name):
    """On standard output, and wherever it stands among the options."""
    read_in, excluded = HELP[name]
    prepare = script(name)
    folder = prepare.path.parent
    text = "".join((folder / file).read_text() for file in (name, *read_in))
    options = {
        option for case in OPTIONS.findall(text) for option in re.findall("--[a-z0-9-]+", case)
    }
    help_text = prepare.succeed("--workers", 9, "--help")
    missing = [option for option in options - excluded if option not in help_text]
    assert options and not missing


def write_program(path: Path, script: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_search_path_of_cd_leads_nowhere_else(script, tmp_path):
    """Exported, it makes cd print where it went: the way of a relative folder had two lines."""
    multi30k = script("prepare-multi30k.sh")
    (multi30k.folder / "raw").mkdir()
    message = multi30k.complain("--from", "raw", "--out", tmp_path / "out", CDPATH=".")
    assert_names(message, "--from", f"{multi30k.folder}/raw/train.en.gz")


@pytest.mark.parametrize("name", ["-out/", "sub/a b'\"$x//"])
def test_names_of_the_output_folder(book, text, name):
    book.succeed("--text", text, "--bpe-operations", 20, "--out", name)
    assert (book.folder / name.rstrip("/") / "MANIFEST.json").is_file()


def test_from_a_folder_whose_name_begins_like_an_option(script, tmp_path):
    multi30k = script("prepare-multi30k.sh")
    (multi30k.folder / "-raw").mkdir()
    message = multi30k.complain("--from", "-raw", "--out", tmp_path / "out")
    assert_names(message, "--from", f"{multi30k.folder}/-raw/train.en.gz")


@pytest.mark.parametrize("program", ["exit 0", "echo oh >&2; exit 1"])
def test_a_program_that_is_no_python(book, text, tmp_path, program):
    python = write_program(tmp_path / "bin" / "python", program)
    complaint = book.complain("--text", text, "--out", tmp_path / "out", PYTHON=str(python))
    assert_names(complaint, python)
    assert not Path(f"{tmp_path}/out.partial").exists()


def test_a_tool_that_fails_is_told_in_one_line(book, text, tmp_path):
    """On a full disk, say; and once the disk has room, the same command continues."""
    tool = write_program(tmp_path / "bin" / "cp", "echo 'cp: text: No space left' >&2; exit 1")
    path = f"{tool.parent}{os.pathsep}{os.environ['PATH']}"
    arguments = ("--text", text, "--bpe-operations", 20, "--out", tmp_path / "out")
    assert_names(book.complain(*arguments, PATH=path), "No space left")
    finished = book.finished(Path(f"{tmp_path}/out.partial"))
    assert finished
    book.succeed(*arguments)


def test_text_without_anything_to_merge(book, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("ab\n\ncd\n\nef\n")
    book.complain("--text", text, "--out", tmp_path / "out")
    shutil.rmtree(tmp_path / "out.partial")


def test_unpinned_text_may_have_changed_since(script, tmp_path):
    """The options say nothing about it, so the user is told by the flag."""
    multi30k = script("prepare-multi30k.sh")
    out = tmp_path / "out"
    arguments = ("--unpinned", "--bpe-operations", 20, "--from", tmp_path, "--out", out)
    write_pairs(tmp_path, "the cat sat on the mat\n")
    multi30k.succeed(*arguments)
    printed = multi30k.succeed(*arguments)
    assert "--unpinned" in printed


def write_pairs(folder: Path, text: str) -> None:
    for split in ("train", "val", "test_2016_flickr"):
        for language in ("en", "de"):
            (folder / f"{split}.{language}.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
