"""tensor_ids.py: tensors of ids become flat files, and nothing else is taken from a pickle."""

from __future__ import annotations

import io
import os
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusals import assert_names

DATA_PREP = Path(__file__).parents[2] / "data-prep"
sys.path.insert(0, str(DATA_PREP))  # a folder of scripts, not a package

import tensor_ids  # noqa: E402
from one_line_errors import PrepareError  # noqa: E402
from tensor_ids import INTEGERS, flatten  # noqa: E402

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])


def save(value: Any, path: Path, zipped: bool) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)


def complaint(path: Path, block_length: int = 1) -> str:
    """Return what is said of a file, without its name; no scratch file may be left."""
    destination = path.with_name("train.bin")
    with pytest.raises(PrepareError) as error:
        flatten(path, destination, block_length)
    assert not destination.with_suffix(".scratch").exists()
    message = str(error.value)
    assert message.startswith(f"{path} ") and "\n" not in message
    return message.removeprefix(f"{path} ")


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "train_tokens_bpe_gpt2.pt"


@pytest.mark.parametrize(
    ("zipped", "dtype"),
    # The unsigned ones are younger than the old format.
    [*((True, dtype) for dtype in INTEGERS), *((False, f"int{bits}") for bits in (8, 16, 32, 64))],
)
def test_ids_of_every_integer_type(path, zipped, dtype, monkeypatch):
    monkeypatch.setattr(tensor_ids, "STRETCH", 64)
    largest = {"uint8": 255, "int8": 127, "int16": 32767}.get(dtype, 50256)
    expected = np.random.default_rng(0).integers(0, largest + 1, 1000)
    expected[[0, -1]] = 0, largest
    save(torch.from_numpy(expected).to(getattr(torch, dtype)), path, zipped)
    flatten(path, path.with_name("train.bin"), 1000)
    np.testing.assert_array_equal(np.fromfile(path.with_name("train.bin"), "<u2"), expected)
    assert sorted(file.name for file in path.parent.iterdir()) == ["train.bin", path.name]


@FORMATS
def test_a_slice_of_a_larger_tensor(path, zipped):
    save(torch.arange(1000)[100:200], path, zipped)
    flatten(path, path.with_name("train.bin"), 1)
    assert np.fromfile(path.with_name("train.bin"), "<u2").tolist() == list(range(100, 200))


@FORMATS
@pytest.mark.parametrize(
    ("value", "named"),
    [
        (torch.zeros(3, 4).long(), ("int64", "(3, 4)")),
        (torch.tensor(7), ("int64", "()")),
        (torch.zeros(5), ("float32", "(5,)")),
        (torch.zeros(5).bool(), ("bool", "(5,)")),
        (torch.zeros(1).long().expand(1 << 40), ("int64", f"({1 << 40},)")),
        ([torch.arange(9), torch.arange(9)], ("list",)),
        ({"ids": torch.arange(9)}, ("dict",)),
        ("text", ("str",)),
    ],
    ids=["2-D", "0-D", "float", "bool", "endless", "list", "dict", "text"],
)
def test_what_is_no_flat_tensor_of_integers(path, zipped, value, named):
    save(value, path, zipped)
    assert_names(complaint(path), *named)


@FORMATS
@pytest.mark.parametrize("wrong", [-1, 50257, 1 << 40])
def test_what_is_no_id(path, zipped, wrong, monkeypatch):
    monkeypatch.setattr(tensor_ids, "STRETCH", 8)
    ids = torch.arange(100)
    ids[77] = ids[99] = wrong
    save(ids, path, zipped)
    assert_names(complaint(path), wrong, 77)


@FORMATS
@pytest.mark.parametrize("tokens", [0, 299])
def test_less_than_one_block(path, zipped, tokens):
    save(torch.zeros(tokens).long(), path, zipped)
    assert_names(complaint(path, 300), tokens, "--block-length", 300)


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@FORMATS
def test_code_is_not_run(path, zipped):
    evil = path.with_name("evil")
    save([torch.arange(9), Malicious(evil)], path, zipped)
    assert_names(complaint(path), "posix.mkdir")
    path.write_bytes(pickle.dumps(Malicious(evil)))
    complaint(path)
    assert not evil.exists()


@FORMATS
def test_a_truncated_file(path, zipped):
    buffer = io.BytesIO()
    torch.save(torch.arange(1000), buffer, _use_new_zipfile_serialization=zipped)
    whole = buffer.getvalue()
    for length in (1, 30, 300, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        complaint(path)
    path.write_bytes(b"")
    complaint(path)


@pytest.mark.parametrize(
    "content",
    [b"<html>404</html>", os.urandom(500), b"PK\x03\x04" + bytes(200), pickle.dumps([1, 2, 3])],
    ids=["page", "noise", "zip", "pickle"],
)
def test_a_file_of_another_kind(path, content):
    path.write_bytes(content)
    complaint(path)
