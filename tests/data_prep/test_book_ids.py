"""prepare-book.sh --ids: flat files of GPT-2's ids, what is refused, and that it can be killed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from refusals import assert_names

DATA_PREP = Path(__file__).parents[2] / "data-prep"
SIZES = {"train": 20_000, "val": 1000, "test": 700}


@pytest.fixture(scope="module")
def prepare(script):
    return script("prepare-book.sh")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Return a folder as nanoGPT writes it, with ids of three splits."""
    return write_ids(tmp_path / "the ids")


def write_ids(folder: Path) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, size in SIZES.items():
        random.integers(0, 50257, size).astype("<u2").tofile(folder / f"{name}.bin")
    return folder


# --- what it refuses ------------------------------------------------------------------------------

TEXT_OPTIONS = (
    "--text --train --valid --test --valid-percent --test-percent --lines --tokenise "
    "--bpe-operations"
).split()


@pytest.mark.parametrize("option", TEXT_OPTIONS)
def test_options_about_text(prepare, out, folder, option):
    """In any order, and whatever their value."""
    for given in (("--ids", folder, option, 5), (f"{option}=5", f"--ids={folder}")):
        assert_names(prepare.complain("--out", out, *given), "--ids", option)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--ids", "/nowhere"], ("--ids", "/nowhere")),
        (["--ids=IDS", "--ids=IDS"], ("--ids",)),
        (["--ids", "IDS", "--bpe", "subword-nmt"], ("--ids", "--bpe", "subword-nmt")),
        (["--ids", "IDS", "--block-length", "0"], ("--block-length", 0)),
        (["--ids=IDS", "--gpt2-bpe=/nowhere"], ("--gpt2-bpe", "/nowhere")),
        (["--text", "IDS/val.bin", "--block-length", "300"], ("--block-length", "--ids")),
        (["--ids", "IDS", "--block-length", "701"], ("/test.bin", 700, "--block-length", 701)),
    ],
)
def test_wrong_options(prepare, out, folder, arguments, named):
    arguments = [argument.replace("IDS", str(folder)) for argument in arguments]
    assert_names(prepare.complain("--out", out, *arguments), *named)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("train.bin", None, ("--ids",)),
        ("val.bin", None, ("--ids",)),
        ("val.bin", b"", ()),
        ("test.bin", bytes(703), ((703,))),
        ("train.bin", bytes(1000) + b"\xff\xff" + bytes(1000), (65535, 500)),
        ("meta.pkl", b"", ("--ids",)),
    ],
    ids=["no train", "no val", "empty", "odd", "above", "characters"],
)
def test_wrong_files(prepare, out, folder, name, content, named):
    path = folder / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    found = prepare.complain("--out", out, "--ids", folder)
    assert_names(found, folder, name, *named)


# --- the whole recipe -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gpt2(realdata):
    return ("--gpt2-bpe", realdata / "gpt2_bpe")


def read_back(out: Path, split: str) -> list[list[int]]:
    from fairseq.data import Dictionary, data_utils

    symbols = Dictionary.load(str(out / "dict.txt")).symbols
    return [
        [int(symbols[index]) for index in item.tolist()]
        for item in data_utils.load_indexed_dataset(str(out / split))
    ]


@pytest.fixture(scope="module")
def prepared(prepare, gpt2, tmp_path_factory) -> Path:
    """Return the data of all ids, made in one go."""
    folder = write_ids(tmp_path_factory.mktemp("prepared") / "ids")
    out = folder.with_name("out")
    options = (*gpt2, "--block-length", 64, "--out", out)
    more = ("--bpe", "gpt2", "--workers", 3)
    printed = prepare.succeed("--ids", folder, *options, *more)
    assert f"--gpt2-encoder-json {out}/encoder.json --gpt2-vocab-bpe {out}/vocab.bpe" in printed
    prepare.leave_alone(out, "--ids", folder, *options)
    message = prepare.complain("--ids", folder, *options, "--limit", 2)
    assert_names(message, out, "prepare-book.sh --ids ")
    return out


@pytest.mark.realdata
def test_ids_and_their_text_come_back(prepared):
    from fairseq.data.encoders.gpt2_bpe_utils import get_encoder

    bpe = get_encoder(str(prepared / "encoder.json"), str(prepared / "vocab.bpe"))
    for split, name in (("train", "train"), ("valid", "val"), ("test", "test")):
        ids = np.fromfile(prepared.with_name("ids") / f"{name}.bin", "<u2")
        kept = ids[: len(ids) // 64 * 64]
        assert read_back(prepared, split) == kept.reshape(-1, 64).tolist()
        if split != "train":
            text = (prepared / f"raw/{split}.txt").read_bytes().decode()
            assert text == bpe.decode(kept.tolist())


@pytest.mark.realdata
def test_killed_runs_continue(prepare, gpt2, folder, prepared, tmp_path, read_tree):
    """Not a byte depends on the number of workers, or on where the files lie."""
    out, work = tmp_path / "out", tmp_path / "out.partial"
    options = (*gpt2, "--block-length", 64, "--out", out, "--workers", 1)
    prepare.kill_when((work / "work/stamps/gpt2 bpe").exists, "--ids", folder, *options)
    assert not out.exists()
    folder.rename(tmp_path / "moved")
    prepare.succeed("--ids", tmp_path / "moved", *options)
    assert not work.exists()
    assert read_tree(out) == read_tree(prepared)


@pytest.mark.realdata
def test_manifest(prepare, gpt2, folder, tmp_path, read_tree):
    """Of two splits, because a test split need not be there."""
    (folder / "test.bin").unlink()
    out = tmp_path / "out"
    prepare.succeed("--ids", folder, *gpt2, "--out", out, "--limit", 5)
    manifest = json.loads((out / "MANIFEST.json").read_text())
    contents = {name: (folder / f"{name}.bin").read_bytes() for name in ("train", "val")}
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    assert manifest["inputs"] == {
        f"{name}.bin": {"bytes": 2 * SIZES[name], "sha256": sums[name]} for name in contents
    }
    assert manifest["recipe"]["command"] == (
        f"prepare-book.sh --ids {sums['train'][:12]} --ids {sums['val'][:12]} --block-length 301 "
        "--limit 5 --bpe gpt2"
    )
    assert manifest["counts"]["tokens"] == {"train": 20_000, "valid": 1000}
    assert manifest["counts"]["dropped"] == {"train": 20_000 - 5 * 301, "valid": 97}
    assert manifest["counts"]["binarised"] == {"train": 5, "valid": 3}
    assert manifest["dictionaries"] == {"dict.txt": 50_257}
    tree = read_tree(out)
    assert set(manifest["outputs"]) == set(tree) - {"MANIFEST.json"}
    assert not any(str(tmp_path).encode() in content for content in tree.values())
