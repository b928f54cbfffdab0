"""prepare-nq-fid.sh: the official files joined, whether downloaded, given, or joined already."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

import pytest
from local_mirror import mirror, needs_curl
from refusals import assert_names, refuses

sys.path.insert(0, str(Path(__file__).parents[2] / "data-prep"))  # scripts, not a package

import nq_examples
from one_line_errors import PrepareError

OPTIONS = ("--unpinned", "--bpe-operations", 40, "--tokenise", "none")
QUESTIONS = [{"question": f"서울 frage {n} über", "answer": [f"Köln {n}"]} for n in range(12)]
# Which questions are in a split, and the passages of each, in the order of the split.
CHOSEN = {"train": [3, 0, 5, 7, 8], "dev": [1], "test": [1, 0]}
FOUND = {
    "train": {str(n): [str(n + 2), "1"] for n in range(5)},
    "dev": {"0": ["9", "4"]},
    "test": {"0": ["1"], "1": ["7", "1", "2"]},
}
TITLES = {n: f"Titel {n}" for n in range(1, 11)}
TEXTS = {n: f'Der "Text" {n} nennt Köln {n} und 대한민국 서울.' for n in range(1, 11)}


def write_archive(path: Path, members: dict[str, object]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            data = json.dumps(content).encode()
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Return a folder laid out as the official files, with other questions."""
    folder = tmp_path / "official"
    folder.mkdir()
    for name, questions in (("train", QUESTIONS), ("dev", QUESTIONS[:2])):
        lines = "".join(json.dumps(question, ensure_ascii=False) + "\n" for question in questions)
        (folder / f"NQ-open.{name}.jsonl").write_text(lines, "utf-8")
    write_archive(
        folder / "dataindex.tar.gz", {f"NQ.{name}.idx.json": ids for name, ids in CHOSEN.items()}
    )
    write_archive(
        folder / "nq_passages.tar.gz",
        {f"nq_passages/{name}.json": found for name, found in FOUND.items()},
    )
    quoted = {n: text.replace('"', '""') for n, text in TEXTS.items()}
    rows = "".join(f'{n}\t"{quoted[n]}"\t{TITLES[n]}\n' for n in TEXTS)
    table = ("id\ttext\ttitle\n" + rows).encode()
    (folder / "psgs_w100.tsv.gz").write_bytes(gzip.compress(table, mtime=0))
    return folder


def joined(name: str) -> list[dict[str, object]]:
    """Return a split as FiD's own preparation writes it."""
    return [
        {
            "question": QUESTIONS[number]["question"],
            "answers": QUESTIONS[number]["answer"],
            "ctxs": [
                {"id": n, "title": TITLES[int(n)], "text": TEXTS[int(n)]}
                for n in FOUND[name][str(place)]
            ],
        }
        for place, number in enumerate(CHOSEN[name])
    ]


def scoring(name: str) -> str:
    """Return the lines that are needed to score a split; passage n names Köln n."""
    lines = []
    for number, example in enumerate(joined(name)):
        for passage in example["ctxs"]:
            del passage["text"]
            passage["has_answer"] = example["answers"] == [f"Köln {passage['id']}"]
        lines.append(json.dumps({"id": str(number), **example}, ensure_ascii=False) + "\n")
    return "".join(lines)


@pytest.fixture(scope="module")
def prepare(script):
    return script("prepare-nq-fid.sh")


# --- what it refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("NQ-open.dev.jsonl", ("/NQ-open.dev.jsonl",)),
        ("psgs_w100.tsv.gz", ("/psgs_w100.tsv",)),
        ("dataindex.tar.gz", ("dataindex.tar.gz", "NQ.train.idx.json")),
        ("nq_passages.tar.gz", ("nq_passages.tar.gz", "nq_passages/train.json")),
    ],
)
def test_missing_file_is_named(prepare, official, out, name, named):
    (official / name).unlink()
    complaint = prepare.complain("--from", official, "--out", out)
    assert_names(complaint, "--from", official, *named)


def test_other_questions_are_refused(prepare, official, out):
    message = prepare.complain("--from", official, "--out", out)
    found = hashlib.sha256((official / "NQ-open.train.jsonl").read_bytes()).hexdigest()
    assert_names(
        message,
        f"{official}/NQ-open.train.jsonl",
        "0c93aaf13b12f855628489665e4ef85ffb8573ad444646f11f4fabdc57a0aabf",
        found,
    )


# --- what is joined -------------------------------------------------------------------------------


def join(folder: Path, name: str, chosen: object, found: object, count: int | None = None) -> list:
    """Return the examples of one split, joined from the files of a folder."""
    (folder / "index").write_text(json.dumps(chosen))
    (folder / "found").write_text(json.dumps(found))
    questions = nq_examples.read_questions(folder / f"NQ-open.{name}.jsonl")
    split = nq_examples.read_split(questions, folder / "index", folder / "found", count)
    return [[*example.values(), *ids] for example, ids in zip(*split, strict=True)]


def test_passages_go_with_places_in_the_split(official):
    """Not with numbers of questions; ids may be numbers or texts."""
    assert join(official, "train", [3, 0], {"0": ["7"], "1": [8, 9], "3": ["1"]}) == [
        ["서울 frage 3 über", ["Köln 3"], 7],
        ["서울 frage 0 über", ["Köln 0"], 8, 9],
    ]


@pytest.mark.parametrize(
    ("chosen", "found", "count", "named"),
    [
        ([2], {"0": []}, None, ("index", 2)),
        ([-1], {"0": []}, None, ("index", -1)),
        (["a"], {"0": []}, None, ("index", "'a'")),
        ([1], {"1": []}, None, ("found", 0)),
        ([1], {"0": ["1", "2"]}, 3, ("found", 3, 0)),
        ([1], {"0": ["1", "x"]}, None, ("found", 0)),
        ([1], {"0": ["-1"]}, None, ("found", 0)),
        ({}, {"0": []}, None, ("index",)),
        ([1], [], None, ("found",)),
    ],
)
def test_files_that_do_not_go_together(official, chosen, found, count, named):
    with refuses(*named, error=PrepareError):
        join(official, "dev", chosen, found, count)


def test_damaged_files(official):
    (official / "index").write_text("[1,")
    with refuses("index", error=PrepareError):
        nq_examples.read_json(official / "index", list)
    (official / "NQ-open.dev.jsonl").write_text('{"question": "?", "answer": ["a"]}\n{"question"}')
    with refuses(2, error=PrepareError):
        nq_examples.read_questions(official / "NQ-open.dev.jsonl")


def test_passages_that_the_table_lacks(official, tmp_path):
    table = official / "psgs_w100.tsv.gz"
    with refuses(2, 11, error=PrepareError):
        nq_examples.copy_passages(table, {12, 3, 11}, tmp_path / "copy")
    table.write_bytes(gzip.compress(b"id\ttext\ttitle\n1\tonly text\n"))
    with refuses(2, error=PrepareError):
        nq_examples.copy_passages(table, {1}, tmp_path / "copy")


# --- the whole recipe -----------------------------------------------------------------------------


def words(folder: Path, name: str) -> list[str]:
    """Return the lines of one side, pieces joined."""
    from fairseq.data import Dictionary, data_utils

    dictionary = Dictionary.load(str(folder / "dict.question.txt"))
    lines = map(dictionary.string, data_utils.load_indexed_dataset(str(folder / name)))
    return [f"{line} ".replace("@@ ", "").rstrip() for line in lines]


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Return a folder of what FiD's own preparation makes of the official files."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in CHOSEN:
        (folder / f"{name}.json").write_text(json.dumps(joined(name), indent=4))
    return folder


@needs_curl
def test_downloaded(prepare, official, tmp_path, read_tree):
    """Over a network that fails once."""
    out = tmp_path / "out"
    with mirror(official) as (url, requests):
        prepare.succeed("--out", out, *OPTIONS, NQ_OPEN_URL=url, FBAI_URL=url)
    assert [path for path, _ in requests] == [
        *2 * ["/NQ-open.train.jsonl"], "/NQ-open.dev.jsonl",
        "/FiD/data/dataindex.tar.gz", "/FiD/data/nq_passages.tar.gz",
        "/dpr/wikipedia_split/psgs_w100.tsv.gz",
    ]  # fmt: skip
    tree = read_tree(out)
    manifest = json.loads(tree["MANIFEST.json"])
    assert {name: entry["sha256"] for name, entry in manifest["inputs"].items()} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in official.iterdir()
    }
    assert manifest["counts"]["binarised"]["train.align.question-answer"] == 5
    for split, name in (("train", "train"), ("valid", "dev"), ("test", "test")):
        assert tree[f"{split}.fid.jsonl"].decode() == scoring(name)
    # Without Moses Korean keeps its spaces, and every word its signs.
    assert words(out, "test.question-answer.question")[0] == (
        '<question> 서울 frage 1 über <title> Titel 1 <context> Der "Text" 1 nennt Köln 1 und '
        "대한민국 서울."
    )
    assert words(out, "test.question-answer.answer") == ["Köln 1", "Köln 0"]


def test_unpacked_archives(prepare, official, tmp_path):
    """What is joined of them is what FiD's own preparation makes."""
    for name in ("dataindex.tar.gz", "nq_passages.tar.gz"):
        with tarfile.open(official / name) as archive:
            for member in archive:
                path = official / member.name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(archive.extractfile(member).read())
        (official / name).unlink()
    work = tmp_path / "out.partial" / "work"
    arguments = ("--from", official, "--out", tmp_path / "out", *OPTIONS)
    prepare.kill_when((work / "stamps/join").exists, *arguments)
    for split, name in (("train", "train"), ("valid", "dev"), ("test", "test")):
        lines = (work / f"joined/{split}.jsonl").read_text("utf-8").splitlines()
        assert list(map(json.loads, lines)) == joined(name)
    prepare.kill_when((work / "examples").exists, *arguments)
    assert len(list((work / "input").iterdir())) == 9


def test_joined_already(prepare, theirs, tmp_path):
    """From files of FiD's own preparation the same examples are taken."""
    work = tmp_path / "out.partial" / "work"
    arguments = ("--from", theirs, "--out", tmp_path / "out", *OPTIONS)
    prepare.kill_when((work / "stamps/examples").exists, *arguments)
    for split, name in (("train", "train"), ("valid", "dev"), ("test", "test")):
        assert (work / f"examples/{split}.fid.jsonl").read_text("utf-8") == scoring(name)
    assert not (work / "joined").exists()


def test_the_published_numbers_are_compared(prepare, theirs, out):
    """Also of files that somebody else has joined."""
    message = prepare.complain("--from", theirs, "--out", out)
    assert_names(message, "train", 0, 100)
