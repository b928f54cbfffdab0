"""``genft preprocess``: documents to a passage table, and the passages that hold answers."""

import gzip
import json

import pytest
from genft_process import genft
from refusals import assert_refused

from genft_fairseq.data.fid_json import read_examples
from genft_fairseq.data.passages import PassageTable

DOCUMENTS = [
    {"id": "one", "title": "First", "text": "a b c\n\nd e\tf g"},
    {"title": "Second", "text": '"h" i'},
    {"id": 7, "text": "東京は日本の首都"},
]
PASSAGES = {
    "one:0": "a b c d",
    "one:1": "c d e f",
    "one:2": "d e f g",
    "1:0": '"h" i',
    "7:0": "東京は日",
    "7:1": "は日本の",
    "7:2": "本の首都",
}


@pytest.fixture
def documents(tmp_path):
    path = tmp_path / "documents.jsonl"
    path.write_text("".join(json.dumps(d, ensure_ascii=False) + "\n" for d in DOCUMENTS), "utf-8")
    return path


def preprocess(*arguments, window=4, stride=2):
    sizes = ["--window", window, "--stride", stride]
    return genft("preprocess", *arguments, *sizes)


def test_documents_become_a_table(documents, tmp_path):
    output = tmp_path / "out" / "passages.tsv"
    result = preprocess(documents, "--output", output)
    assert result.returncode == 0 and str(output) in result.stdout
    assert {p.id: p.text for p in PassageTable(output)} == PASSAGES
    titles = [passage.title for passage in PassageTable(output)]
    assert titles == ["First"] * 3 + ["Second"] + [""] * 3


def test_a_table_of_documents(tmp_path):
    path = tmp_path / "documents.tsv.gz"
    path.write_bytes(gzip.compress(b"id\ttext\ttitle\nx\ta b c\tT\n"))
    preprocess(path, "--output", tmp_path / "p.tsv", window=2, stride=1)
    assert {p.id: p.text for p in PassageTable(tmp_path / "p.tsv")} == {"x:0": "a b", "x:1": "b c"}


def test_the_passages_with_the_answers(documents, tmp_path):
    questions = tmp_path / "questions.jsonl"
    asked = [
        {"id": "q0", "question": "anywhere", "answers": ["d e"], "target": "d e"},
        {"question": "in one document", "answers": ["g"], "ctxs": [{"id": "one", "text": ""}]},
        {"question": "in Japanese", "answers": ["日本"]},
        {"question": "nowhere", "answers": ["g h"]},
    ]
    questions.write_text("".join(json.dumps(q) + "\n" for q in asked))
    matched = tmp_path / "matched.jsonl"
    flags = ["--questions", questions, "--matched", matched]
    result = preprocess(documents, "--output", tmp_path / "p.tsv", *flags)
    assert result.returncode == 0 and str(matched) in result.stdout
    lines = [json.loads(line) for line in matched.read_text("utf-8").splitlines()]
    assert [[(c["id"], c["has_answer"]) for c in line["ctxs"]] for line in lines] == [
        [("one:1", True), ("one:2", True)],
        [("one:0", False), ("one:1", False), ("one:2", True)],
        [("7:1", True)],
        [],
    ]
    assert lines[0]["id"] == "q0" and lines[0]["target"] == "d e"
    first = next(iter(read_examples(matched, need_passages=False)))
    assert first.passages[0].text == PASSAGES["one:1"] and first.passages[0].title == "First"
    preprocess(documents, "--output", tmp_path / "p.tsv", *flags, "--max-passages", 1)
    lines = [json.loads(line) for line in matched.read_text("utf-8").splitlines()]
    assert [len(line["ctxs"]) for line in lines] == [1, 1, 1, 0]


MISTAKES = {
    "no JSON": ('{"text": "a"}\nhello\n', ["line 2"]),
    "no object": ("[]\n", ["line 1"]),
    "no text": ('{"text": "a"}\n{"title": "b"}\n', ["line 2", "text"]),
    "a title that is none": ('{"text": "a", "title": 3}', ["line 1", "title"]),
    "an id that is none": ('{"text": "a", "id": [3]}', ["line 1", "id"]),
    "an id again": ('{"text": "a", "id": "1"}\n{"text": "b"}\n', ["line 2", "id 1"]),
    "not UTF-8": (b'{"text": "a"}\n\xff\n', ["line 2", "UTF-8"]),
    "half a sign": ('{"text": "a \\ud800"}', ["line 1"]),
    "nothing": ("", []),
}


@pytest.mark.parametrize(("text", "named"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_leave_nothing_behind(tmp_path, text, named):
    path = tmp_path / "documents.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = preprocess(path, "--output", tmp_path / "new" / "p.tsv")
    assert_refused(done, path, *named)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["documents.jsonl"]


def test_a_stride_longer_than_the_window(documents, tmp_path):
    done = preprocess(documents, "--output", tmp_path / "new" / "p.tsv", stride=5)
    assert_refused(done, "--stride", 5, "--window", unwritten=tmp_path / "new")


def test_questions_without_answers_are_refused(documents, tmp_path):
    questions = tmp_path / "questions.tsv"
    questions.write_text("who\tme\nwhat\n")
    done = preprocess(
        *(documents, "--output", tmp_path / "p.tsv"),
        *("--questions", questions, "--matched", tmp_path / "m.jsonl"),
    )
    assert_refused(done, questions, "'1'")
    assert not (tmp_path / "p.tsv").exists()


def test_flags_that_go_together(documents, tmp_path):
    done = preprocess(documents, "--output", tmp_path / "p.tsv", "--matched", tmp_path / "m")
    assert_refused(done, "--questions", "--matched")


def test_what_is_read_is_not_written_to(documents):
    before = documents.read_bytes()
    assert_refused(preprocess(documents, "--output", documents), "--output", documents)
    assert documents.read_bytes() == before
