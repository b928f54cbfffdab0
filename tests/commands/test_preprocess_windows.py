"""``genft preprocess``: documents to a passage table, and the passages that hold answers."""

import gzip
import json

import pytest
from click.testing import CliRunner

from genft_fairseq.cli import genft
from genft_fairseq.data.fid_json import read_examples
from genft_fairseq.data.passage_table import PassageTable
from genft_fairseq.errors import UserError

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
    result = CliRunner().invoke(genft, ["preprocess", *map(str, [*arguments, *sizes])])
    if isinstance(result.exception, Exception):
        raise result.exception
    return result


def test_documents_become_a_table(documents, tmp_path):
    output = tmp_path / "out" / "passages.tsv"
    result = preprocess(documents, "--output", output)
    assert result.output == f"{output}: 7 passages of 3 documents\n"
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
    assert f"{matched}: 4 questions, 3 with a passage that holds an answer" in result.output
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
    "no JSON": ('{"text": "a"}\nhello\n', [], "line 2 is no JSON"),
    "no object": ("[]\n", [], "line 1 must be an object"),
    "no text": ('{"text": "a"}\n{"title": "b"}\n', [], "line 2 has no text"),
    "a title that is none": ('{"text": "a", "title": 3}', [], "line 1: title must be text"),
    "an id that is none": ('{"text": "a", "id": [3]}', [], "line 1: id must be text or a number"),
    "an id again": ('{"text": "a", "id": "1"}\n{"text": "b"}\n', [], "line 2: id 1 was given"),
    "not UTF-8": (b'{"text": "a"}\n\xff\n', [], "line 2 is not UTF-8"),
    "half a sign": ('{"text": "a \\ud800"}', [], "line 1 holds half of a surrogate pair"),
    "nothing": ("", [], "holds no document"),
    "stride": ('{"text": "a"}', ["--stride", 5], r"--stride must lie in \[1, --window\]"),
}


@pytest.mark.parametrize(("text", "flags", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_leave_nothing_behind(tmp_path, text, flags, message):
    path = tmp_path / "documents.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    stride = flags[1] if flags else 2
    with pytest.raises(UserError, match=message):
        preprocess(path, "--output", tmp_path / "new" / "p.tsv", stride=stride)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["documents.jsonl"]


def test_questions_without_answers_are_refused(documents, tmp_path):
    questions = tmp_path / "questions.tsv"
    questions.write_text("who\tme\nwhat\n")
    with pytest.raises(UserError, match=r"questions.tsv: question '1' has no answer"):
        preprocess(
            *(documents, "--output", tmp_path / "p.tsv"),
            *("--questions", questions, "--matched", tmp_path / "m.jsonl"),
        )
    assert not (tmp_path / "p.tsv").exists()


def test_flags_that_go_together(documents, tmp_path):
    result = preprocess(documents, "--output", tmp_path / "p.tsv", "--matched", tmp_path / "m")
    assert result.exit_code == 2 and "--questions and --matched go together" in result.output


def test_what_is_read_is_not_written_to(documents):
    with pytest.raises(UserError, match=r"documents.jsonl is what is read"):
        preprocess(documents, "--output", documents)
