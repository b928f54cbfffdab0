"""Scalars and arrays of a checkpoint: numbers are rebuilt, whatever else a pickle makes of them."""

import io
import os

import numpy as np
import pytest
import torch
from refusals import refuses

from genft_fairseq.errors import UserError
from genft_fairseq.patches import safe_loading


class Rebuilt:
    """Pickled as a call of ``function``, followed by ``state``."""

    def __init__(self, function, arguments, state=None):
        self.reduced = (function, arguments, state)

    def __reduce__(self):
        return self.reduced


_reconstruct = (np._core if hasattr(np, "_core") else np.core).multiarray._reconstruct
_state_of_numbers = (3, "|", None, None, None, -1, -1, 0)
ADDRESSES = b"A" * 8
ARRAY_ATTACKS = {
    "constructor": Rebuilt(np.ndarray, ((1,), np.dtype("f8"), ADDRESSES)),
    "objects": Rebuilt(
        _reconstruct,
        (np.ndarray, (0,), b"b"),
        (1, (1,), Rebuilt(np.dtype, ("O", False, True), _state_of_numbers), False, ADDRESSES),
    ),
    "objects by class": Rebuilt(
        _reconstruct,
        (np.ndarray, (0,), b"b"),
        (1, (1,), Rebuilt(type(np.dtype("O")), (), _state_of_numbers), False, ADDRESSES),
    ),
    "list of objects": Rebuilt(
        _reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), np.dtype("f8"), False, [ADDRESSES])
    ),
    "text": np.array(["a", "b"]),
    "objects in an array": np.array([{}, []], dtype=object),
}


@pytest.mark.parametrize("attack", ARRAY_ATTACKS.values(), ids=ARRAY_ATTACKS.keys())
def test_arrays_that_are_not_numbers_are_refused(attack, tmp_path):
    """Bytes that numpy would take for the addresses of objects are never given to it."""
    path = tmp_path / "checkpoint.pt"
    torch.save({"best": attack}, path)
    with refuses(path), open(path, "rb") as file:
        safe_loading.load(file)


def test_the_state_of_a_dtype_cannot_turn_numbers_into_objects(tmp_path):
    """Flags that say "holds references" are not taken over."""
    flags = (3, "<", None, None, None, 8, 8, 63)
    lying = Rebuilt(np.dtype, ("i8", False, True), flags)
    array = Rebuilt(_reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), lying, False, ADDRESSES))
    path = tmp_path / "checkpoint.pt"
    torch.save({"best": array}, path)
    with open(path, "rb") as file:
        loaded = safe_loading.load(file)["best"]
    assert loaded.dtype == np.int64 and not loaded.dtype.hasobject
    assert loaded.tolist() == [int.from_bytes(ADDRESSES, "little")]


def test_big_endian_numbers_are_read_as_such(tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"a": np.array([1, 2], dtype=">i4"), "b": np.float64(0.5)}, path)
    with open(path, "rb") as file:
        loaded = safe_loading.load(file)
    assert loaded["a"].tolist() == [1, 2]
    assert loaded["b"] == 0.5 and type(loaded["b"]) is np.float64


def test_another_process_of_a_trusted_run(monkeypatch):
    """Rank 0 has been allowed to load the file; rank 1 gets it as a stream without a name."""
    stream = io.BytesIO()
    torch.save({"x": Rebuilt(os.path.basename, ("/a/b",))}, stream)
    stream.seek(0)
    with pytest.raises(UserError):
        safe_loading.load(stream)
    stream.seek(0)
    monkeypatch.setenv(safe_loading.TRUST_VARIABLE, "checkpoint_last.pt")
    assert safe_loading.load(stream) == {"x": "b"}
