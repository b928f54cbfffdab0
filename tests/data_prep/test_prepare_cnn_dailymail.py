"""prepare-cnn-dailymail.sh: stories of the official layout, and what it refuses."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import sys
import tarfile
from pathlib import Path

import pytest
from local_mirror import mirror, needs_curl
from official_archives import cnn_dailymail_files, lines, story_name
from refusals import assert_names, refuses
from tiny_tokeniser import write_model

sys.path.insert(0, str(Path(__file__).parents[2] / "data-prep"))  # scripts, not a package

import cnn_dailymail_stories as stories
from article_archives import Articles, collect
from one_line_errors import PrepareError

DATA_PREP = Path(stories.__file__).parent
CNN, MAIL = "http://web.archive.org/web/2015/http://www.cnn.com/", "http://www.dailymail.co.uk/"
STORY = """LONDON, England (CNN) -- A caption without an end

"It ends," she said.\u2028And goes on (so they say)
\u00a0
@highlight

The first

@highlight

A second one .
"""
WITHOUT = "@highlight\n\nNo article\n"
SPLITS = {
    "train": {f"{CNN}{n}": f"(CNN)Story {n}.\r\n\r\n@highlight\r\n\r\nIt is {n}" for n in range(6)}
    | {f"{CNN}none": WITHOUT}
    | {f"{MAIL}{n}": f"By . Somebody . Über {n}\r...\n@highlight\nIt’s {n}’" for n in range(6)},
    "val": {f"{MAIL}val": STORY, f"{CNN}val": "(CNN) -- Short.\n\n@highlight\n\nShorter!"},
    "test": {f"{CNN}test": "NEW YORK (CNNMoney) The test\n@highlight\nTest\n@highlight\nIt"},
}
VALID = [
    'LONDON, England (CNN) -- A caption without an end. "It ends," she said. And goes on (so they '
    "say)",
    "(CNN) -- Short.",
]


@pytest.fixture(scope="module")
def prepare(script):
    return script("prepare-cnn-dailymail.sh")


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Return a folder laid out as the official files, with other stories."""
    folder = tmp_path / "official"
    cnn_dailymail_files(folder, SPLITS)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "bart")


# --- stories --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("No end", "No end."),
        ("An end.", "An end."),
        ("An end .", "An end ."),
        ("Really?", "Really?"),
        ("‘Quoted’", "‘Quoted’"),
        ("“Quoted”", "“Quoted”"),
        ("(in brackets)", "(in brackets)"),
        ("A comma,", "A comma,."),
        ("50%", "50%."),
        ("@highlight", "@highlight"),
    ],
)
def test_full_stops(line, expected):
    assert stories.ended(line) == expected


def test_a_story():
    """Worked by hand: blank lines go, and every other break of lines is a space."""
    assert stories.read_story(STORY, keep_dateline=True) == (
        VALID[0],
        "The first. <q> A second one .",
    )
    assert stories.read_story(WITHOUT, keep_dateline=True) == ("", "No article.")
    assert stories.read_story("Only an article", keep_dateline=True) == ("Only an article.", "")


@pytest.mark.parametrize(
    ("article", "expected"),
    [
        ("(CNN)The end.", "The end."),
        ("(CNN) -- The end.", "The end."),
        ("Washington, D.C. (CNN) -- The end.", "The end."),
        ("Marseille, France (CNN)The end (CNN) says.", "The end (CNN) says."),
        ("(CNN Student News) -- The end.", "The end."),
        ("By . Somebody . The end.", "By . Somebody . The end."),
        ("The (long) wait for CNN (CNN) is over.", "The (long) wait for CNN (CNN) is over."),
        (f"{'So ' * 21}said the network (CNN).", f"{'So ' * 21}said the network (CNN)."),
    ],
)
def test_datelines(article, expected):
    assert stories.read_story(article, keep_dateline=False)[0] == expected
    assert stories.read_story(article, keep_dateline=True)[0] == article


def test_a_list_names_stories_by_their_addresses(tmp_path):
    """By their SHA-1; that of `abc` is the example of the standard, FIPS 180."""
    path = tmp_path / "list"
    path.write_bytes(lines(["abc", "b"]))
    listed = stories.read_list(path)
    assert list(listed.values()) == ["abc", "b"]
    assert next(iter(listed)) == "a9993e364706816aba3e25717850c26c9cd0d89d.story"
    path.write_bytes(lines(["abc", "b", "abc"]))
    with refuses(path, error=PrepareError):
        stories.read_list(path)


def write_archive(path: Path, names: list[str]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name.encode()))
    return path


def test_articles_are_found_without_unpacking(tmp_path):
    """An archive cannot say where anything is written, and a story is there once."""
    names = ["../evil", "/evil", "./cnn/stories/b", "cnn/stories/a", "cnn/stories/../a"]
    archive = write_archive(tmp_path / "archive", names)
    articles = Articles(tmp_path / "articles")
    collect(articles, archive, {"cnn/stories/a", "cnn/stories/b", "cnn/stories/c"})
    assert sorted(articles.places) == ["cnn/stories/a", "cnn/stories/b"]
    assert articles.text("cnn/stories/a") == "cnn/stories/a"
    assert articles.text("cnn/stories/b") == "./cnn/stories/b"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "articles"]
    write_archive(archive, ["a", "b", "a"])
    with refuses(archive, " a ", error=PrepareError):
        collect(Articles(tmp_path / "articles"), archive, {"a"})
    archive.write_bytes(archive.read_bytes()[:-20])
    with refuses(archive, error=PrepareError):
        collect(Articles(tmp_path / "articles"), archive, {"b"})


def test_a_story_that_is_not_utf8(tmp_path):
    articles = Articles(tmp_path / "articles")
    articles.add("first", b"ok", tmp_path)
    articles.add("second", "fünf".encode("latin-1"), tmp_path)
    assert articles.text("first") == "ok"
    with refuses("second", error=PrepareError):
        articles.text("second")


# --- what it refuses ------------------------------------------------------------------------------


def test_wrong_options(prepare, out):
    message = prepare.complain("--out", out, "--dateline", "cut")
    assert_names(message, "--dateline", "cut")


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("all_val.txt", ("/all_val.txt",)),
        ("dailymail_stories.tgz", ("dailymail_stories.tgz", "dailymail/stories")),
    ],
)
def test_missing_file_is_named(prepare, official, out, name, named):
    (official / name).unlink()
    complaint = prepare.complain("--from", official, "--out", out)
    assert_names(complaint, "--from", official, *named)


def test_other_lists_are_refused(prepare, official, out):
    message = prepare.complain("--from", official, "--out", out)
    found = hashlib.sha256((official / "all_train.txt").read_bytes()).hexdigest()
    assert_names(
        message,
        f"{official}/all_train.txt",
        "a5cee49f3a6c862c26ce29308236d2a99625ab6c86a43be22d5206b2790d8029",
        found,
    )


def test_a_story_that_the_archives_lack(prepare, official, model, tmp_path):
    with (official / "all_test.txt").open("a") as listed:
        listed.write(f"{CNN}lost\n")
    options = ("--unpinned", "--model", model, "--out", tmp_path / "out")
    message = prepare.complain("--from", official, *options)
    name = story_name(f"{CNN}lost")
    assert_names(message, 1, name, f"{CNN}lost")
    assert not (tmp_path / "out").exists()


# --- the whole recipe -----------------------------------------------------------------------------


def texts(folder: Path, side: str) -> list[str]:
    """Return the training texts, read back from ids."""
    from fairseq.data import Dictionary, data_utils

    from genft_fairseq.data.huggingface_tokeniser import ModelTokeniser

    dictionary = Dictionary.load(str(folder / f"dict.{side}.txt"))
    data = data_utils.load_indexed_dataset(str(folder / f"train.source-target.{side}"))
    decode = ModelTokeniser.read(folder).decode
    return [decode([dictionary[token] for token in line]) for line in data]


@pytest.fixture
def options(model) -> tuple[object, ...]:
    return ("--unpinned", "--model", model)


@needs_curl
def test_downloaded(prepare, official, options, tmp_path, read_tree):
    """Over a network that fails once; in the order of the lists, not of the archives."""
    out = tmp_path / "out"
    with mirror(official) as (url, requests):
        prepare.succeed("--out", out, *options, CNN_DAILYMAIL_URL=url)
    names = ["all_train.txt", "all_val.txt", "all_test.txt", "cnn_stories.tgz"]
    names.append("dailymail_stories.tgz")
    assert [path for path, _ in requests] == [f"/{name}" for name in (names[0], *names)]
    tree = read_tree(out)
    assert tree["raw/valid.source"].decode().split("\n") == [*VALID, ""]
    assert tree["raw/valid.target"].decode() == "The first. <q> A second one .\nShorter!\n"
    assert tree["raw/test.target"].decode() == "Test. <q> It.\n"
    assert texts(out, "source") == [
        *(f"(CNN)Story {n}." for n in range(6)),
        *(f"By . Somebody . Über {n}. ..." for n in range(6)),
    ]
    assert texts(out, "target") == [
        *(f"It is {n}." for n in range(6)),
        *(f"It’s {n}’" for n in range(6)),
    ]
    manifest = json.loads(tree["MANIFEST.json"])
    assert manifest["counts"]["dropped"] == {"train": 1, "valid": 0, "test": 0}
    assert {name: entry["sha256"] for name, entry in manifest["inputs"].items()} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in official.iterdir()
    }


def test_killed_runs_of_unpacked_stories(prepare, official, options, tmp_path):
    for name in ("cnn", "dailymail"):
        with tarfile.open(official / f"{name}_stories.tgz") as archive:
            for member in archive:
                path = official / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.extractfile(member).read())
        (official / f"{name}_stories.tgz").unlink()
    out, work = tmp_path / "out", tmp_path / "out.partial" / "work"
    given = ("--from", official, "--out", out, *options, "--dateline", "drop", "--limit", 7)
    prepare.kill_when((work / "text/train.source").exists, *given)
    prepare.succeed(*given)
    assert texts(out, "source") == [
        *(f"Story {n}." for n in range(6)), "By . Somebody . Über 0. ...",
    ]  # fmt: skip
    assert (out / "raw/test.source").read_text() == "The test.\n"
    manifest = json.loads((out / "MANIFEST.json").read_text())
    assert "cnn/stories" in manifest["source"]
    assert " --unpinned --dateline drop --limit 7 --model " in manifest["recipe"]["command"]
    message = prepare.complain(*given[:-2])
    assert_names(message, out, "prepare-cnn-dailymail.sh --unpinned ")


def test_the_published_numbers_are_compared(prepare, official, options, out, tmp_path):
    """Of the lists, and of what is left; here the lists' checksums are those of our own."""
    folder = tmp_path / "data-prep"
    shutil.copytree(DATA_PREP, folder)
    text = prepare.path.read_text()
    for name in ("train", "val", "test"):
        content = (official / f"all_{name}.txt").read_bytes()
        digest, count = hashlib.sha256(content).hexdigest(), content.count(b"\n")
        pattern = rf"(all_{name}\.txt\)\n +echo )[0-9a-f]{{64}} \d+"
        text, found = re.subn(pattern, rf"\g<1>{digest} {count}", text)
        assert found == 1
    (folder / prepare.name).write_text(text)
    prepare.path, original = folder / prepare.name, prepare.path
    environment = {"PYTHONPATH": str(DATA_PREP.parent)}
    try:
        given = ("--from", official, "--out", out, "--model", options[-1])
        message = prepare.complain(*given, **environment)
        assert_names(message, f"{official}/cnn_stories.tgz")
        assert_names(message, 158577824)
        shutil.rmtree(f"{out}.partial")
        for name in ("cnn_stories.tgz", "dailymail_stories.tgz"):
            text = text.replace(f"        {name})", "        other)")
        text = text.replace("archive_pins() {", "archive_pins() {\n    echo - - -", 1)
        (folder / prepare.name).write_text(text)
        message = prepare.complain(*given, **environment)
        assert_names(message, "train.source", 12, 287113)
        shutil.rmtree(f"{out}.partial")
    finally:
        prepare.path = original
