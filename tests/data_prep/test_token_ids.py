"""token_ids.py: every id comes back from fairseq's data, and what is no id of GPT-2 is refused."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from fairseq_commands import TINY_LANGUAGE_MODEL, train
from refusals import assert_names, refuses

DATA_PREP = Path(__file__).parents[2] / "data-prep"
sys.path.insert(0, str(DATA_PREP))  # a folder of scripts, not a package

import token_ids  # noqa: E402
from one_line_errors import PrepareError  # noqa: E402
from token_ids import IDS, LARGEST, binarise, verify  # noqa: E402

SPLITS = ("train", "valid", "test")
TEXT = "naïve — 戦場のヴァルキュリア 👩‍👩‍👧\n"


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory) -> Path:
    """Return files like GPT-2's, but the number of a byte's piece is the byte."""
    from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode

    folder = tmp_path_factory.mktemp("gpt2")
    letters = [letter for _, letter in sorted(bytes_to_unicode().items())]
    pairs = [a + b for a in letters for b in letters][: LARGEST - 256]
    subwords = {
        subword: number for number, subword in enumerate([*letters, *pairs, "<|endoftext|>"])
    }
    (folder / "encoder.json").write_text(json.dumps(subwords))
    (folder / "dict.txt").write_text("".join(f"{n} 1\n" for n in range(LARGEST + 1)))
    return folder


def prepare(folder: Path, gpt2: Path, ids: dict, block_length: int, limit: int | None = None):
    """Write flat files, binarise them, and return the folder of the result and the counts."""
    source, out = folder / "ids", folder / "out"
    source.mkdir(parents=True)
    (out / "raw").mkdir(parents=True)
    for split, values in ids.items():
        np.asarray(values).astype(IDS).tofile(source / f"{split}.bin")
    arguments = {"source": source, "destination": out, "gpt2_bpe": gpt2, "splits": list(ids)}
    counts = folder / "counts.json"
    binarise(argparse.Namespace(**arguments, block_length=block_length, limit=limit, counts=counts))
    (out / "dict.txt").write_bytes((gpt2 / "dict.txt").read_bytes())
    return out, json.loads(counts.read_text())


def read_back(out: Path, split: str) -> list[list[int]]:
    """Return GPT-2's ids of every item, by the symbols of the dictionary."""
    from fairseq.data import Dictionary, data_utils

    symbols = Dictionary.load(str(out / "dict.txt")).symbols
    return [
        [int(symbols[index]) for index in item.tolist()]
        for item in data_utils.load_indexed_dataset(str(out / split))
    ]


def blocks(ids: np.ndarray, length: int) -> list[list[int]]:
    return ids[: len(ids) // length * length].reshape(-1, length).tolist()


@pytest.fixture(scope="module")
def ids() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    values = {split: random.integers(0, LARGEST + 1, 1000 + n) for n, split in enumerate(SPLITS)}
    values["train"][:2] = values["test"][-2:] = [0, LARGEST]
    return values


@pytest.mark.parametrize("length", [1, 7, 300, 1000])
@pytest.mark.parametrize("stretch", [64, 1 << 20])
def test_every_id_comes_back_in_blocks(tmp_path, gpt2, ids, length, stretch, monkeypatch):
    """Wherever the files are cut while they are read."""
    monkeypatch.setattr(token_ids, "STRETCH", stretch)
    out, counts = prepare(tmp_path, gpt2, ids, length)
    for split, values in ids.items():
        assert read_back(out, split) == blocks(values, length)
    sizes = {split: len(values) for split, values in ids.items()}
    assert counts == {
        "tokens": sizes,
        "dropped": {split: size % length for split, size in sizes.items()},
        "blocks": {split: size // length for split, size in sizes.items()},
    }


def test_numbers_are_as_small_as_fairseq_makes_them(tmp_path, gpt2, ids):
    out, _ = prepare(tmp_path, gpt2, ids, 10)
    assert (out / "train.bin").stat().st_size == 2 * 1000
    np.testing.assert_array_equal(np.fromfile(out / "train.bin", "<u2"), ids["train"] + 4)


def test_a_limit_is_of_training_blocks(tmp_path, gpt2, ids):
    out, counts = prepare(tmp_path, gpt2, ids, 10, limit=3)
    assert read_back(out, "train") == blocks(ids["train"], 10)[:3]
    assert counts["blocks"] == {"train": 3, "valid": 100, "test": 100}
    assert counts["dropped"] == {"train": 970, "valid": 1, "test": 2}
    _, counts = prepare(tmp_path / "more", gpt2, ids, 10, limit=10**9)
    assert counts["blocks"]["train"] == 100


@pytest.mark.parametrize("stretch", [2, 1 << 20])
def test_text_of_what_is_kept(tmp_path, gpt2, stretch, monkeypatch):
    """Letters whose bytes lie in two blocks are whole; one that the end cuts is not."""
    monkeypatch.setattr(token_ids, "STRETCH", stretch)
    valid = [*TEXT.encode(), LARGEST, *"é".encode()]
    out, _ = prepare(tmp_path, gpt2, {"train": [1, 2], "valid": valid, "test": valid[:-1]}, 1)
    assert (out / "raw/valid.txt").read_bytes().decode() == f"{TEXT}<|endoftext|>é"
    assert (
        out / "raw/test.txt"
    ).read_bytes().decode() == f"{TEXT}<|endoftext|>\N{REPLACEMENT CHARACTER}"
    assert not (out / "raw/train.txt").exists()


def test_samples_are_the_published_ones_but_overlap(tmp_path, gpt2, ids):
    """N inputs and N targets each, the first input being the last token of the sample before.

    Or </s>, where an item begins: that is why items have a token more than samples.
    """
    from fairseq.data import Dictionary, TokenBlockDataset, data_utils

    out, _ = prepare(tmp_path, gpt2, ids, 31)
    dictionary = Dictionary.load(str(out / "dict.txt"))
    data = data_utils.load_indexed_dataset(str(out / "train"))
    samples = TokenBlockDataset(
        data, data.sizes, 30, dictionary.pad(), dictionary.eos(), "none", include_targets=True
    )
    stream = [dictionary.eos(), *(ids["train"][:992] + 4).tolist()]
    assert len(samples) == 34
    for number in range(33):
        inputs, targets, _ = samples[number]
        row = stream[30 * number : 30 * number + 31]  # as published, but 30 further, not 31
        if number == 31:
            row[0] = dictionary.eos()
        assert (inputs.tolist(), targets.tolist()) == (row[:-1], row[1:])


def test_fairseq_trains_on_it(tmp_path, gpt2, ids):
    out, _ = prepare(tmp_path, gpt2, ids, 30)
    save_dir = tmp_path / "checkpoints"
    flags = ("--tokens-per-sample", 30, "--sample-break-mode", "none", "--max-update", 2)
    done = train(out, save_dir, TINY_LANGUAGE_MODEL, *flags)
    assert (save_dir / "checkpoint_last.pt").is_file()
    assert "num_updates 2" in done.output
    assert "dictionary: 50261 types" in done.output


# --- what is refused ------------------------------------------------------------------------------


def test_a_whole_file_has_a_checksum(tmp_path, ids):
    path = tmp_path / "train.bin"
    ids["train"].astype(IDS).tofile(path)
    assert verify(path, 1000) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", ()),
        (bytes(81), ((81,))),
        (bytes(78), (39, "--block-length", 40)),
        (bytes(2 * 53) + b"\x51\xc4" + bytes(100) + b"\xff\xff", ((53,))),
    ],
    ids=["empty", "odd", "short", "above"],
)
def test_a_wrong_file(tmp_path, content, named, monkeypatch):
    monkeypatch.setattr(token_ids, "STRETCH", 8)
    path = tmp_path / "train.bin"
    path.write_bytes(content)
    with pytest.raises(PrepareError) as error:
        verify(path, 40)
    assert_names(str(error.value), path, *named)


def test_another_dictionary(tmp_path, gpt2, ids):
    other = tmp_path / "other"
    other.mkdir()
    (other / "encoder.json").write_bytes((gpt2 / "encoder.json").read_bytes())
    (other / "dict.txt").write_text("1 1\n0 1\n")
    with refuses("dict.txt", error=PrepareError):
        prepare(tmp_path, other, ids, 10)
