"""prepare-fid.sh: what it refuses, and what it says of it."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

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


BOTH = "give --train FILE and --valid FILE (see --help)"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([], BOTH),
        (["--train", "FILE"], BOTH),
        (["--valid", "FILE", "--test", "FILE"], BOTH),
        (["--train=FILE", "--train=FILE"], ('--train',)),
        (["--valid=FILE", "--valid=FILE"], ('--valid',)),
        (["--train", "/nowhere"], ('--train', '/nowhere')),
        (["--test", "/"], ('--test', '/')),
        (["--train"], ('--train',)),
        (["--max-passage"], ('--max-passage',)),
        (["--max-passages", "0"], ('--max-passages', 0)),
        (["--max-question", "x"], ('--max-question',)),
        (["--max-title", "-1"], ('--max-title', -1)),
        (["--max-passage=1.5"], ('--max-passage', 1.5)),
        (["--max-answer", "-1"], ('--max-answer', -1)),
        (["--max-length", "9"], ('--max-length',)),
        (["--limit", "0"], ('--limit', 0)),
        (["--frame", "plain"], ('--frame', 'plain')),
        (["--tokenise", "spacy"], ('--tokenise', 'spacy')),
        (
            ["--train=FILE", "--valid=FILE", "--dict-from", "/nowhere"],
            ('--dict-from', '/nowhere'),
        ),
        (
            ["--train=FILE", "--valid=FILE", "--dict-from", "FOLDER"],
            ('--dict-from', 'FOLDER/bpe.codes'),
        ),
    ],
)
def test_wrong_options(prepare, out, train, given, message):
    folder = str(train.parent)
    given = [argument.replace("FILE", str(train)) for argument in given]
    given = [argument.replace("FOLDER", folder) for argument in given]
    assert prepare.complain("--out", out, *given) == message.replace("FOLDER", folder)


@pytest.mark.parametrize("name", ["prepare-fid.sh", "prepare-nq-fid.sh"])
def test_help_names_every_option(script, name):
    help_text = script(name).succeed("--help")
    text = (DATA_PREP / name).read_text() + (DATA_PREP / "fid.sh").read_text()
    cases = re.findall(r"^ {8}(--[a-z0-9 |-]+)\)", text, re.MULTILINE)
    options = {option for case in cases for option in re.findall(r"--[a-z0-9-]+", case)}
    options -= {"--max-"}
    assert len(options) == (20 if name == "prepare-fid.sh" else 19)
    assert all(option in help_text for option in options)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", ('FILE',)),
        (
            gzip.compress(json.dumps(DATA_PREP.as_posix()).encode())[:-9],
            ('FILE',),
        ),
    ],
    ids=["empty", "cut gzip"],
)
def test_damaged_files(prepare, out, train, tmp_path, content, complaint):
    path = tmp_path / "valid"
    path.write_bytes(content)
    message = prepare.complain("--train", train, "--valid", path, "--out", out)
    assert message.startswith(complaint.replace("FILE", str(path)))


def test_wrong_example(prepare, out, train, tmp_path):
    """The reader's errors are told as they are, and nothing stays of a run that got nowhere."""
    path = tmp_path / "valid.json"
    path.write_text(json.dumps([EXAMPLE, {**EXAMPLE, "ctxs": []}]))
    assert prepare.complain("--train", train, "--valid", path, "--out", out) == (
        f"{path}: example 1 (id 5) has an empty list of ctxs: the passages to read, the best one "
        "first"
    )
