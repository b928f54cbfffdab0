"""prepare-fid.sh: what it refuses, and what it says of it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from refusals import assert_names

DATA_PREP = Path(__file__).parents[2] / "data-prep"
EXAMPLE = {"id": 5, "question": "?", "answers": ["a"], "ctxs": [{"title": "b", "text": "a c"}]}


@pytest.fixture(scope="module")
def prepare(script):
    return script("prepare-fid.sh")


@pytest.fixture
def train(tmp_path: Path) -> Path:
    path = tmp_path / "train.json"
    path.write_text(json.dumps([EXAMPLE]))
    return path


BOTH = ("--train", "--valid")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([], BOTH),
        (["--train", "FILE"], BOTH),
        (["--valid", "FILE", "--test", "FILE"], BOTH),
        (["--train=FILE", "--train=FILE"], ("--train",)),
        (["--valid=FILE", "--valid=FILE"], ("--valid",)),
        (["--train", "/nowhere"], ("--train", "/nowhere")),
        (["--test", "/"], ("--test", "/")),
        (["--max-passages", "0"], ("--max-passages", 0)),
        (["--max-question", "x"], ("--max-question", " x")),
        (["--max-title", "-1"], ("--max-title", -1)),
        (["--max-passage=1.5"], ("--max-passage", 1.5)),
        (["--max-answer", "-1"], ("--max-answer", -1)),
        (["--frame", "plain"], ("--frame", "plain")),
        (["--tokenise", "spacy"], ("--tokenise", "spacy")),
        (["--train=FILE", "--valid=FILE", "--dict-from", "/nowhere"], ("--dict-from", "/nowhere")),
        (["--train=FILE", "--valid=FILE", "--dict-from", "FOLDER"], ("--dict-from", "/bpe.codes")),
    ],
)
def test_wrong_options(prepare, out, train, given, named):
    folder = str(train.parent)
    given = [argument.replace("FILE", str(train)) for argument in given]
    given = [argument.replace("FOLDER", folder) for argument in given]
    assert_names(prepare.complain("--out", out, *given), *named)


@pytest.mark.parametrize(
    "content",
    [b"", gzip.compress(json.dumps(DATA_PREP.as_posix()).encode())[:-9]],
    ids=["empty", "cut gzip"],
)
def test_damaged_files(prepare, out, train, tmp_path, content):
    path = tmp_path / "valid"
    path.write_bytes(content)
    message = prepare.complain("--train", train, "--valid", path, "--out", out)
    assert_names(message, path)


def test_wrong_example(prepare, out, train, tmp_path):
    """The reader's errors are told as they are, and nothing stays of a run that got nowhere."""
    path = tmp_path / "valid.json"
    path.write_text(json.dumps([EXAMPLE, {**EXAMPLE, "ctxs": []}]))
    assert_names(
        prepare.complain("--train", train, "--valid", path, "--out", out), path, 1, 5, "ctxs"
    )
