"""prepare-xsum.sh: articles of the official layout, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import sys
import tarfile
from pathlib import Path

import pytest
from local_mirror import mirror, needs_curl
from official_archives import xsum_files
from refusals import assert_names, refuses
from tiny_tokeniser import write_model

sys.path.insert(0, str(Path(__file__).parents[2] / "data-prep"))  # scripts, not a package

import xsum_articles
from one_line_errors import PrepareError

LIST = "XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json"
ARCHIVE = "XSUM-EMNLP18-Summary-Data-Original.tar.gz"


def article(summary: str, *body: str) -> str:
    parts = {"URL": "http://somewhere", "TITLE": "A title", "FIRST-SENTENCE": summary}
    parts["RESTBODY"] = "\n".join(body)
    return "\n\n".join(f"[SN]{name}[SN]\n{text}" for name, text in parts.items()) + "\n"


ARTICLE = article("It was  first.", "Share this with", "Email", "It went on.", "", "And\u2028on.")
SPLITS = {
    "train": {str(n): article(f"Nummer {n}.", f"Über {n}.", "Twitter") for n in range(30, 20, -1)},
    "validation": {"99": ARTICLE, "7": article("Without a text.")},
    "test": {"12345678": article("A test.", "Email", "Email was sent.")},
}
SPLITS["train"]["5"] = article("Nothing.", "WhatsApp", "These are external links and will open in "
                               "a new window")  # fmt: skip


@pytest.fixture(scope="module")
def prepare(script):
    return script("prepare-xsum.sh")


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Return a folder laid out as the official files, with other articles."""
    folder = tmp_path / "official"
    xsum_files(folder, SPLITS)
    return folder


# --- articles -------------------------------------------------------------------------------------


def test_an_article():
    """Worked by hand: blank lines and what stands around the text go, lines become one."""
    assert xsum_articles.read_article("x", ARTICLE) == ("It went on. And on.", "It was  first.")
    assert xsum_articles.read_article("x", article("Short.")) == ("", "Short.")


@pytest.mark.parametrize("part", ["FIRST-SENTENCE", "RESTBODY"])
def test_an_article_of_another_layout(part):
    with pytest.raises(PrepareError) as error:
        xsum_articles.read_article("x", ARTICLE.replace(f"[SN]{part}[SN]", ""))
    assert_names(str(error.value), "x ", f"[SN]{part}[SN]")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", ()),
        ("[]", ("'train'",)),
        ('{"train": ["1"]}', ("'validation'",)),
        ('{"train": ["../1"]}', ("'train'",)),
        ('{"train": ["1", 2]}', ("'train'",)),
        ('{"train": ["\u0663"]}', ("'train'",)),
    ],
)
def test_a_list_that_is_none(tmp_path, content, named):
    (tmp_path / "list").write_text(content, "utf-8")
    with refuses("list", *named, error=PrepareError):
        xsum_articles.read_list(tmp_path / "list")


# --- what it refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "named"),
    [
        (LIST, (f"/{LIST}",)),
        (ARCHIVE, (ARCHIVE,)),
    ],
)
def test_missing_file_is_named(prepare, official, out, name, named):
    (official / name).unlink()
    complaint = prepare.complain("--from", official, "--out", out)
    assert_names(complaint, "--from", official, *named)


def test_another_list_is_refused(prepare, official, out):
    message = prepare.complain("--from", official, "--out", out)
    found = hashlib.sha256((official / LIST).read_bytes()).hexdigest()
    assert_names(
        message,
        f"{official}/{LIST}",
        "9c0c5d8f048a90bd68b19a34e4c30577ed270d3247b2119fa06a04ef46292068",
        found,
    )


def test_numbers_and_articles_that_are_missing(official, tmp_path, monkeypatch):
    """The published numbers are those of the list; every article of it must be there."""
    for folder in ("text", "labels"):
        (tmp_path / folder).mkdir()
    given = ["x", "text", "labels", "--place", "official", "--list", f"official/{LIST}"]
    given += ["--articles", "articles", "--dropped", "dropped"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [*given, "--counts", "11", "3", "1"])
    with refuses(LIST, "valid", 2, 3, error=PrepareError):
        xsum_articles.main()
    (official / "bbc-summary-data").mkdir()
    (official / "bbc-summary-data/99.summary").write_text(ARTICLE)
    monkeypatch.setattr("sys.argv", [*given, "--counts", "11", "2", "1"])
    with pytest.raises(PrepareError) as error:
        xsum_articles.main()
    assert_names(str(error.value), 13, "bbc-summary-data/30.summary")


# --- the whole recipe -----------------------------------------------------------------------------


@needs_curl
def test_downloaded_and_unpacked(prepare, official, tmp_path, read_tree):
    """Both ways give the same, whatever the workers; an empty document stays out of training."""
    model = write_model(tmp_path / "model")
    options = ("--unpinned", "--model", model, "--prefix", "summarize: ")
    downloaded, unpacked = tmp_path / "downloaded", tmp_path / "unpacked"
    with mirror(official) as (url, requests):
        prepare.succeed("--out", downloaded, *options, XSUM_URL=url)
    assert [path for path, _ in requests] == [f"/{LIST}", f"/{LIST}", f"/{ARCHIVE}"]
    with tarfile.open(official / ARCHIVE) as archive:
        for member in archive:
            path = official / member.name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(archive.extractfile(member).read())
    (official / ARCHIVE).unlink()
    work = tmp_path / "unpacked.partial" / "work"
    given = ("--from", official, "--out", unpacked, *options, "--workers", 1)
    prepare.kill_when((work / "pieces").exists, *given)
    prepare.succeed(*given)

    tree, other = read_tree(downloaded), read_tree(unpacked)
    manifest = json.loads(tree.pop("MANIFEST.json"))
    assert "bbc-summary-data" in json.loads(other.pop("MANIFEST.json"))["source"]
    assert tree == other
    assert set(manifest["inputs"]) == {LIST, ARCHIVE}
    assert manifest["counts"]["dropped"] == {"train": 1, "valid": 0, "test": 0}
    assert tree["raw/valid.source"] == b"It went on. And on.\n\n"
    assert tree["raw/valid.target"] == b"It was  first.\nWithout a text.\n"
    assert tree["raw/test.source"] == b"Email was sent.\n"

    from fairseq.data import Dictionary, data_utils

    from genft_fairseq.data.huggingface_tokeniser import ModelTokeniser

    dictionary = Dictionary.load(str(downloaded / "dict.source.txt"))
    data = data_utils.load_indexed_dataset(str(downloaded / "train.source-target.source"))
    decode = ModelTokeniser.read(downloaded).decode
    lines = [decode([dictionary[token] for token in line]) for line in data]
    assert lines == [f"summarize: Über {n}." for n in range(30, 20, -1)]
