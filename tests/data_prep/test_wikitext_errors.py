"""prepare-wikitext-*.sh: what they refuse, without a trace of it."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from official_archives import write_wikitext
from refusals import assert_names

DATA_PREP = Path(__file__).parents[2] / "data-prep"
SPLITS = ("train", "valid", "test")


@pytest.fixture(scope="module")
def wikitext2(script):
    return script("prepare-wikitext-2.sh")


@pytest.fixture(scope="module")
def wikitext103(script):
    return script("prepare-wikitext-103-bpe.sh")


@pytest.fixture(params=["wikitext-2", "wikitext-103"])
def both(request, wikitext2, wikitext103):
    """Return each script with the name of its corpus."""
    return (wikitext2 if request.param == "wikitext-2" else wikitext103), request.param


TINY = dict.fromkeys(SPLITS, b" \n = Title = \n \n One line . \n")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--unpinned", "yes"], ("yes",)),
        (["--from", "/nowhere"], ("--from", "/nowhere")),
        (["--bpe", "gpt3"], ("--bpe", "gpt3")),
        (["--blank-lines", "on"], ("--blank-lines", "on")),
        (["--bpe=none", "--gpt2-bpe=/"], ("--gpt2-bpe", "--bpe", "none")),
    ],
)
def test_wrong_options(wikitext2, out, arguments, named):
    assert_names(wikitext2.complain("--out", out, *arguments), *named)


def test_neither_archive_nor_text(both, out, tmp_path):
    prepare, corpus = both
    assert_names(
        prepare.complain("--from", tmp_path, "--out", out),
        "--from",
        f"{corpus}-raw-v1.zip",
        "wiki.train.raw",
        tmp_path,
    )
    (tmp_path / corpus).mkdir()
    (tmp_path / corpus / "wiki.train.tokens").write_bytes(TINY["train"])
    message = prepare.complain("--from", tmp_path, "--out", out, "--bpe", "none")
    assert_names(message, "--from", f"{corpus}-v1.zip", f"{corpus}/wiki.valid.tokens", tmp_path)


@pytest.mark.parametrize("kind", ["raw", "tokens"])
def test_archive_of_another_size(both, out, tmp_path, kind):
    prepare, corpus = both
    archive = write_wikitext(tmp_path, corpus, kind, TINY)
    bpe = "gpt2" if kind == "raw" else "none"
    message = prepare.complain("--from", tmp_path, "--out", out, "--bpe", bpe)
    sizes = {
        "wikitext-2 raw": 4721645, "wikitext-2 tokens": 4475746,
        "wikitext-103 raw": 191984949, "wikitext-103 tokens": 190229076,
    }  # fmt: skip
    assert_names(message, archive, sizes[f"{corpus} {kind}"], archive.stat().st_size)


def test_archive_with_another_checksum(wikitext2, out, tmp_path):
    archive = tmp_path / "wikitext-2-raw-v1.zip"
    archive.write_bytes(b"PK\x03\x04" + bytes(4721645 - 4))
    expected = "ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11"
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert_names(wikitext2.complain("--from", tmp_path, "--out", out), archive, expected, found)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_wrong_download_is_not_kept(wikitext103, out, tmp_path):
    write_wikitext(tmp_path, "wikitext-103", "raw", TINY)
    message = wikitext103.complain("--out", out, WIKITEXT_URL=tmp_path.as_uri())
    assert_names(message, "download/wikitext-103-raw-v1.zip")
    message = wikitext103.complain("--out", out, WIKITEXT_URL=f"{tmp_path.as_uri()}/nowhere")
    assert_names(message, f"{tmp_path.as_uri()}/nowhere/wikitext-103-raw-v1.zip")
