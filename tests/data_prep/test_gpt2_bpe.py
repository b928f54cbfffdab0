"""gpt2_bpe.py: GPT-2's files are GPT-2's, its pieces are GPT-2's, and every text comes back."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import assert_names

DATA_PREP = Path(__file__).parents[2] / "data-prep"
sys.path.insert(0, str(DATA_PREP))  # a folder of scripts, not a package

import gpt2_bpe  # noqa: E402

ODD = (
    "naïve — “Zürich”, 戦場のヴァルキュリア 3\u00a0km\u2028"
    "\u200d👩‍👩‍👧 \ufeff\x00\x1c e\u0301 ﷽  two  spaces "
)
PINNED = gpt2_bpe.PINNED


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DATA_PREP / "gpt2_bpe.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PREPARE_PROGRAM": "prepare-x.sh", "PYTHONUTF8": "1"},
        check=False,
    )


@pytest.fixture(scope="module")
def zipped(realdata: Path) -> Path:
    folder = realdata / "gpt2_bpe"
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder}")
    return folder


@pytest.fixture(scope="module")
def taken(zipped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of both files, out of gzip."""
    folder = tmp_path_factory.mktemp("gpt2")
    assert run("take", zipped, folder).returncode == 0
    return folder


@pytest.fixture(scope="module")
def bpe(taken: Path) -> Any:
    files = (str(taken / name) for name in PINNED)
    return gpt2_bpe.load_fairseq_bpe().get_encoder(*files)


@pytest.mark.realdata
def test_the_files_are_as_pinned(taken):
    assert sorted(path.name for path in taken.iterdir()) == sorted(PINNED)
    for name, expected in PINNED.items():
        assert hashlib.sha256((taken / name).read_bytes()).hexdigest() == expected


@pytest.mark.realdata
def test_files_out_of_gzip_are_taken_too(taken, tmp_path):
    assert run("take", taken, tmp_path).returncode == 0
    assert (tmp_path / "vocab.bpe").read_bytes() == (taken / "vocab.bpe").read_bytes()


def test_other_files_are_refused(tmp_path):
    (tmp_path / "encoder.json.gz").write_bytes(gzip.compress(b"{}"))
    result = run("take", tmp_path, tmp_path / "out")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    found = hashlib.sha256(b"{}").hexdigest()
    assert_names(result.stderr, tmp_path / "encoder.json.gz", PINNED["encoder.json"], found)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_wrong_gpt2_download_is_not_kept(script, tmp_path):
    """The text is done by then and stays for the next try; what was fetched does not."""
    book = tmp_path / "book.txt"
    book.write_text("One.\n\nTwo.\n\nThree.\n")
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "encoder.json").write_text("{}")
    (mirror / "vocab.bpe").write_text("")
    message = script("prepare-book.sh").complain(
        "--out", tmp_path / "out", "--text", book, "--bpe", "gpt2", GPT2_BPE_URL=mirror.as_uri()
    )
    assert_names(message, "download/encoder.json", "1961396")
    assert not any((tmp_path / "out.partial/work/download").iterdir())
    assert not (tmp_path / "out").exists()


def test_truncated_gzip(tmp_path):
    whole = gzip.compress(os.urandom(1000))
    (tmp_path / "encoder.json.gz").write_bytes(whole[:-50])
    result = run("take", tmp_path, tmp_path / "out")
    assert result.returncode == 2
    assert "encoder.json.gz" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.realdata
def test_dictionary_has_every_piece_in_order(taken, tmp_path):
    """The same dictionary for every text: GPT-2's number n is fairseq's n + 4."""
    from fairseq.data import Dictionary

    assert run("dictionary", taken, tmp_path / "dict.txt").returncode == 0
    dictionary = Dictionary.load(str(tmp_path / "dict.txt"))
    assert len(dictionary) == dictionary.nspecial + 50_257
    assert dictionary.symbols[dictionary.nspecial :] == [str(n) for n in range(50_257)]


def test_gaps_in_the_numbers_are_refused(tmp_path):
    (tmp_path / "encoder.json").write_text(json.dumps({"a": 0, "b": 2}))
    result = run("dictionary", tmp_path, tmp_path / "dict.txt")
    assert result.returncode == 2
    assert_names(result.stderr, "encoder.json")
    assert not (tmp_path / "dict.txt").exists()


@pytest.mark.realdata
def test_pieces_are_gpt2s(taken, bpe):
    """Numbers that OpenAI's encoder gives for these; and what `--bpe gpt2` of fairseq writes."""
    from fairseq.data.encoders.gpt2_bpe import GPT2BPE, GPT2BPEConfig

    assert bpe.encode("Hello world") == [15496, 995]
    assert bpe.encoder["<|endoftext|>"] == 50_256
    encoder, merges = (str(taken / name) for name in PINNED)
    theirs = GPT2BPE(GPT2BPEConfig(gpt2_encoder_json=encoder, gpt2_vocab_bpe=merges))
    assert theirs.encode(ODD) == " ".join(map(str, bpe.encode(ODD)))
    assert theirs.decode(theirs.encode(ODD)) == ODD


@pytest.mark.realdata
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_every_text_comes_back(bpe, text):
    assert bpe.decode(bpe.encode(text)) == text


@pytest.mark.realdata
def test_encode_real_text(realdata, taken, bpe, tmp_path):
    """Lines of WikiText and odd ones come back exactly, for any number of workers."""
    real = gzip.decompress((realdata / "wikitext/wiki.test.raw.gz").read_bytes()).decode()
    lines = [*real.split("\n")[:1500], ODD, "", "a\rb\vc\x85d", "\ttabs\t"]
    (tmp_path / "train.txt").write_text("\n".join(lines) + "\n", "utf-8", newline="\n")
    written = []
    for workers in (1, 3):
        out = tmp_path / f"out{workers}"
        out.mkdir()
        arguments = ("--gpt2-bpe", taken, "--splits", "train", "--workers", workers)
        result = run("encode", tmp_path, out, *arguments)
        assert (result.returncode, result.stderr) == (0, "")
        assert_names(result.stdout, "train.txt", len(lines))
        written.append((out / "train.txt").read_bytes())
    assert written[0] == written[1]
    decoded = [bpe.decode(map(int, ids.split())) for ids in written[0].decode().split("\n")]
    assert decoded == [*lines, ""]
