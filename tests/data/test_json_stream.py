"""JSON one object at a time: that it streams, and what it says of what is no JSON."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import pytest
from refusals import refuses

from genft_fairseq.data import json_stream
from genft_fairseq.data.fid_json import read_examples

GIVEN = {"id": 7, "question": "?", "answers": ["ü"], "ctxs": [{"text": "ü"}]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "examples.json"


@pytest.fixture(params=[1, 2, 7, 1 << 20])
def block(request, monkeypatch) -> None:
    """Read so few characters at a time that every sign is once the last of a block."""
    monkeypatch.setattr(json_stream, "_BLOCK", request.param)


@pytest.mark.usefixtures("block")
def test_values_are_whole(path):
    """Wherever a block ends: 1.5e3 is 1 where its point is the last sign that was read."""
    path.write_text('12345 1.5e3\ntrue null "a" -0.25[1.5E+2]{}')
    values = list(json_stream.read_objects(path))
    assert values == [12345, 1500.0, True, None, "a", -0.25, [150.0], {}]


def test_one_example_at_a_time(path, monkeypatch):
    """What follows the first example is not even decoded when it is taken."""
    monkeypatch.setattr(json_stream, "_BLOCK", 10)
    path.write_text(json.dumps(GIVEN) + " {" + 1000 * "no JSON")
    examples = read_examples(path)
    assert next(examples).id == "7"
    with refuses(path, 1):
        next(examples)


def test_what_is_wrong_is_said_before_the_rest_is_read(path, monkeypatch):
    """A file of many gigabytes with a mistake at its beginning does not fill the memory."""
    monkeypatch.setattr(json_stream, "_BLOCK", 64)
    read: list[int] = []
    read_on = json_stream._JsonText.read_on
    monkeypatch.setattr(
        json_stream._JsonText, "read_on", lambda self: (read.append(1), read_on(self))[1]
    )
    path.write_text('[{"question" "?"}, ' + ", ".join(1000 * [json.dumps(GIVEN)]) + "]")
    with refuses(path, 0):
        list(read_examples(path))
    assert len(read) <= 2


@pytest.mark.usefixtures("block")
def test_half_of_a_surrogate_pair(path):
    """JSON can write it, but UTF-8 cannot; a whole pair is a letter like any other."""
    path.write_text(
        r'{"question": "\ud83d\ude00 \uD83D?", "answers": ["\udc00"],'
        r'"ctxs": [{"text": "\\ud83d"}]}'
    )
    (example,) = read_examples(path)
    assert example.question == "😀 \ufffd?"
    assert example.answers == ("\ufffd",)
    assert example.passages[0].text == r"\ud83d"


A, B = json.dumps(GIVEN), json.dumps({**GIVEN, "id": 8})


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", ()),
        (" \n", ()),
        ("[]", ()),
        ("[", (0,)),
        (f"[{A}", (1,)),
        (f"[{A},", (1,)),
        (f"[{A},]", (1,)),
        (f"[{A} {B}]", (1,)),
        (f"[{A}]\n{B}", ()),
        (f"{A}\n{B[:-1]}", (1,)),
        (f"{A}\n{B[:12]}", (1,)),
        (f"{A}\nnot JSON", (1,)),
        ("12345", (0,)),
        ("[true, 1]", (0,)),
        ("[[1]]", (0,)),
        ("[" * 200_000, (0,)),
        ('{"a":' * 200_000, (0,)),
        ("\x00", (0,)),
    ],
    ids=itertools.count(),
)
def test_no_json(path, content, named):
    """The file and the number of the example are named."""
    path.write_text(content)
    with refuses(path, *named):
        list(read_examples(path))


def test_files_that_cannot_be_read(path, tmp_path):
    with refuses(path):
        list(read_examples(path))
    with refuses(tmp_path):
        list(read_examples(tmp_path))
    path.write_bytes(A.replace("7", "ü").encode("latin-1", "replace") + "ü".encode("latin-1"))
    with refuses(path):
        list(read_examples(path))
    whole = gzip.compress(
        "".join(json.dumps({**GIVEN, "id": n}) + "\n" for n in range(999)).encode()
    )
    for damaged in (whole[: len(whole) // 2], whole[:200] + bytes(50) + whole[250:]):
        path.write_bytes(damaged)
        with refuses(path):
            list(read_examples(path))
