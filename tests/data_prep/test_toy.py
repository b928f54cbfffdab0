"""prepare-toy.sh: two data folders without a network, and the errors on the way there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from refusals import assert_names

CORPORA = ("language_modeling", "translation")


@pytest.fixture(scope="module")
def toy(script):
    return script("prepare-toy.sh")


@pytest.fixture(scope="module")
def prepared(toy, tmp_path_factory) -> Path:
    """Return both corpora, made in one go."""
    out = tmp_path_factory.mktemp("prepared") / "toy"
    toy.succeed("--out", out)
    assert sorted(path.name for path in out.iterdir()) == list(CORPORA)
    return out


# --- what it refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--only", "summaries"], ("--only", "summaries")),
        (["--workers", "two"], ("--workers", "two")),
    ],
)
def test_wrong_options(toy, tmp_path, arguments, named):
    assert_names(toy.complain("--out", tmp_path / "toy", *arguments), *named)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("corpus", CORPORA)
def test_output_folder_with_other_data(toy, tmp_path, corpus):
    out = tmp_path / corpus
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    message = toy.complain("--out", tmp_path, "--only", corpus)
    assert_names(message, out, "--out")
    assert [path.name for path in tmp_path.iterdir()] == [corpus]
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


def test_output_that_is_a_file(toy, tmp_path):
    out = tmp_path / "file"
    out.write_text("mine")
    assert_names(toy.complain("--out", out), out, "--out")


# --- the whole recipe -----------------------------------------------------------------------------


@pytest.mark.parametrize("corpus", CORPORA)
def test_counts_and_content(prepared, read_tree, corpus):
    folder = prepared / corpus
    manifest = json.loads((folder / "MANIFEST.json").read_text())
    raw = {name: entry["lines"] for name, entry in manifest["inputs"].items()}
    assert manifest["counts"]["bpe"] == raw
    assert all(count > 50 for count in raw.values())
    if corpus == "language_modeling":
        expected = {name.removesuffix(".txt"): count for name, count in raw.items()}
    else:
        expected = {name.replace(".", ".en-de."): count for name, count in raw.items()}
    assert manifest["counts"]["binarised"] == expected

    tree = read_tree(folder)
    assert set(manifest["outputs"]) == set(tree) - {"MANIFEST.json"}
    assert "bpe.codes" in tree
    assert not any(str(prepared.parent).encode() in content for content in tree.values())
    if corpus == "translation":
        assert tree["dict.en.txt"] == tree["dict.de.txt"]


@pytest.mark.parametrize(
    ("corpus", "data", "raw", "least"),
    [
        ("language_modeling", "{}", "{}.txt", 0.9),  # held-out topics have signs of their own
        ("translation", "{}.en-de.en", "{}.en", 1),
        ("translation", "{}.en-de.de", "{}.de", 1),
    ],
)
def test_round_trip(prepared, corpus, data, raw, least):
    """Joining the pieces is all that it takes to have the raw text again."""
    from fairseq.data import Dictionary, data_utils

    folder = prepared / corpus
    name = "dict.txt" if corpus == "language_modeling" else "dict.en.txt"
    dictionary = Dictionary.load(str(folder / name))
    for split in ("valid", "test"):
        sentences = data_utils.load_indexed_dataset(str(folder / data.format(split)))
        lines = (folder / "raw" / raw.format(split)).read_text("utf-8").split("\n")[:-1]
        text = [dictionary.string(tokens, bpe_symbol="@@ ") for tokens in sentences]
        same = sum(ours == theirs for ours, theirs in zip(text, lines, strict=True))
        assert same / len(lines) >= least


def test_killed_runs_continue(toy, prepared, tmp_path, read_tree):
    out = tmp_path / "toy"
    work = out / "language_modeling.partial"
    arguments = ("--out", out, "--only", "language_modeling", "--workers", 2)
    finished: dict[str, int] = {}
    for reached in (work / "work/raw/train.txt", work / "work/bpe/train.txt"):
        toy.kill_when(reached.exists, *arguments)
        assert finished.items() <= toy.finished(work).items()
        finished = toy.finished(work)
        assert not (out / "language_modeling").exists()

    shutil.rmtree(work / "work/bpe")  # whose return shows that the next run is at work

    def second_run_is_refused() -> bool:
        if not (work / "work/bpe").exists():
            return False
        assert_names(toy.complain(*arguments), work)
        return True

    toy.kill_when(second_run_is_refused, *arguments)
    toy.succeed(*arguments)
    assert [path.name for path in out.iterdir()] == ["language_modeling"]
    assert read_tree(out / "language_modeling") == read_tree(prepared / "language_modeling")


def test_other_workers_and_folder_same_bytes(toy, prepared, tmp_path, read_tree):
    """What is complete stays, what is missing is made: not a byte differs from the first run."""
    out = tmp_path / "other"
    shutil.copytree(prepared / "language_modeling", out / "language_modeling")
    before = (out / "language_modeling").stat().st_ino
    toy.succeed(f"--out={out}", "--workers", 3)
    assert (out / "language_modeling").stat().st_ino == before
    assert read_tree(out) == read_tree(prepared)
