"""prepare-summaries.sh: what it refuses, in one line, and that its help is whole."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from refusals import assert_names, refuses
from tiny_tokeniser import write_model

sys.path.insert(0, str(Path(__file__).parents[2] / "data-prep"))  # scripts, not a package

import summary_tokenisers
from one_line_errors import PrepareError

DATA_PREP = Path(summary_tokenisers.__file__).parent


@pytest.fixture(scope="module")
def prepare(script):
    return script("prepare-summaries.sh")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    folder = tmp_path_factory.mktemp("texts")
    found = {}
    for split in ("train", "valid"):
        found[split] = (folder / f"{split}.documents", folder / f"{split}.summaries")
        for path in found[split]:
            path.write_text("".join(f"{path.suffix} {n}\n" for n in range(9)))
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "bart", positions=100)


TWO = ("--train",)
BOTH = ("--train", "--valid")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([], BOTH),
        (["--train", "A", "A"], BOTH),
        (["--train", "A"], TWO),
        (["--train", "A", "--valid", "A", "A"], TWO),
        (["--train", "A", ""], TWO),
        (["--train", "A", "A", "--train", "A", "A"], ("--train",)),
        (["--valid", "A", "A", "--valid", "A", "A"], ("--valid",)),
        (["--test", "A", "/nowhere"], ("--test", "/nowhere")),
        (["--bpe-operations", "9"], ("--bpe-operations",)),
        (["--bpe", "subword-nmt"], ("--bpe", "subword-nmt")),
        (["--max-source-tokens", "0"], ("--max-source-tokens", 0)),
        (["--max-target-tokens=many"], ("--max-target-tokens", "many")),
        (["--prefix", "a\nb"], ("--prefix",)),
        (["PAIRS", "--model", "/nowhere"], ("--model", "/nowhere")),
        (["PAIRS", "--model", "/", "--bpe", "gpt2"], ("--model", "--bpe")),
        (["PAIRS", "--model", "/", "--gpt2-bpe", "/"], ("--model", "--gpt2-bpe")),
        (["PAIRS", "--gpt2-bpe", "/nowhere"], ("--gpt2-bpe", "/nowhere")),
        (["PAIRS", "--gpt2-bpe", str(DATA_PREP)], ("--gpt2-bpe", f"{DATA_PREP}/encoder.json")),
    ],
)
def test_wrong_options(prepare, out, files, given, named):
    pairs = ["--train", *map(str, files["train"]), "--valid", *map(str, files["valid"])]
    given = [part for word in given for part in (pairs if word == "PAIRS" else [word])]
    given = [str(files["train"][0]) if word == "A" else word for word in given]
    assert_names(prepare.complain("--out", out, *given), *named)


@pytest.mark.parametrize(
    ("documents", "summaries", "named"),
    [
        (b"a\nb\nc\n", b"x\n\n", ("A", 3, "B", 2)),
        (b"a\n", b"x\ny\nz\n", ("A", 1, "B", 3)),
        (b"a\n\t \nc\n", b"x\n\nz\n", ("A", 2, "--drop-empty")),
        (b"a\nb\n", b"x\n <q> \n", ("B", 2, "--drop-empty")),
        (b"\xef\xbb\xbf\n", b"x\n", ("A", 1, "--drop-empty")),
        (b"", b"x\n", ("A",)),
        (gzip.compress(b"a\n" * 99)[:-9], b"x\n", ("A",)),
        ("a\nfünf\n".encode("latin-1"), b"x\ny\n", ("A", 2)),
    ],
    ids=["shorter", "longer", "document", "summary", "BOM", "empty", "cut gzip", "latin-1"],
)
def test_wrong_text(prepare, out, files, tmp_path, documents, summaries, named):
    """The second of two pairs is named, in the first place where something is wrong."""
    (tmp_path / "A").write_bytes(documents)
    (tmp_path / "B").write_bytes(summaries)
    pairs = ("--train", *files["train"], "--valid", tmp_path / "A", tmp_path / "B")
    complaint = prepare.complain("--out", out, *pairs)
    named = [tmp_path / name if name in ("A", "B") else name for name in named]
    assert_names(complaint, *named)


def test_a_tokeniser_that_is_missing(prepare, out, files, model, tmp_path):
    """Before anything is written."""
    pairs = ("--train", *files["train"], "--valid", *files["valid"])
    bare = tmp_path / "bare"
    shutil.copytree(model, bare)
    for name, named in (
        ("dict.txt", "dict.txt"),
        ("tokenizer.json", "tokenizer.source.json"),
        ("hugging_face.json", "hugging_face.json"),
    ):
        (bare / name).unlink()
        assert_names(prepare.complain("--out", out, *pairs, "--model", bare), bare, named)


def lengths(model: Path, **given: object) -> Namespace:
    given = {"max_source_tokens": None, "max_target_tokens": None, "prefix": "", **given}
    return Namespace(gpt2_bpe=None, model=model, **given)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"max_source_tokens": 101}, ("--max-source-tokens", 101, 100)),
        (
            {"max_target_tokens": 2},  # <s>, and </s>
            ("--max-target-tokens", 2, 3),
        ),
        ({"max_source_tokens": 7, "prefix": "read:"}, ("--max-source-tokens", 7, 8)),
    ],
)
def test_lengths_that_do_not_suit_the_model(model, given, named):
    with refuses(*named, error=PrepareError):
        summary_tokenisers.check_lengths(lengths(model, **given))


def test_lengths_that_just_suit(model):
    given = {"max_source_tokens": 8, "prefix": "read:", "max_target_tokens": 100}
    summary_tokenisers.check_lengths(lengths(model, **given))


@pytest.mark.parametrize("positions", [0, "512", True])
def test_positions_that_are_none(tmp_path, positions):
    model = write_model(tmp_path / "model", positions=positions)
    with refuses("source_positions", json.dumps(positions), error=PrepareError):
        summary_tokenisers.positions(model)


def test_a_token_that_the_dictionary_lacks(prepare, files, model, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(model, other)
    lines = (other / "dict.txt").read_text().splitlines(True)
    digit = json.loads((other / "tokenizer.json").read_text())["model"]["vocab"]["7"]
    lines.remove(f"{digit} 1\n")
    (other / "dict.txt").write_text("".join(lines))
    pairs = ("--train", *files["train"], "--valid", *files["valid"])
    message = prepare.complain(*pairs, "--model", other, "--out", tmp_path / "out")
    assert_names(message, 8, f"{files['train'][0]}", digit)
