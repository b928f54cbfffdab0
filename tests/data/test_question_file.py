"""Questions in the formats that they are published in, and lines that are none."""

import gzip

import pytest
from refusals import refuses

from genft_fairseq.data.questions import read_questions

READ = {
    "FiD": ("q.json", '[{"id": "x", "question": "who", "answers": ["A", "B"]}]', ("A", "B")),
    "answers before answer": (
        "q.json",
        '{"question": "who", "answers": ["A"], "answer": ["B"]}',
        ("A",),
    ),
    "NQ-open": ("q.jsonl", '{"question": "who", "answer": ["A", "B"]}', ("A", "B")),
    "one answer": ("q.jsonl", '{"question": "who", "answer": "A"}', ("A",)),
    "no answer": ("q.jsonl", '{"question": "who"}', ()),
    "DPR": ("q.tsv", "who\t['A', \"B's\"]\n", ("A", "B's")),
    "DPR's none": ("q.tsv", "who\t[]\n", ()),
    "columns": ("q.tsv", "who\tA\tB\t\n", ("A", "B")),
    "brackets that are no list": ("q.tsv", "who\t[A]\n", ("[A]",)),
    "a list of something else": ("q.tsv", "who\t[1]\n", ("[1]",)),
    "no code is run": ("q.tsv", "who\t[print(1)]\n", ("[print(1)]",)),
    "a question alone": ("q.tsv", "\ufeffwho\r\n", ()),
}


@pytest.mark.parametrize(("name", "text", "answers"), READ.values(), ids=READ)
def test_read(tmp_path, name, text, answers):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    (example,) = read_questions(tmp_path / name)
    assert (example.question, example.answers) == ("who", answers)
    assert example.id == ("x" if "id" in text else "0")


def test_rows_are_numbered_from_0(tmp_path):
    path = tmp_path / "q.tsv.gz"
    path.write_bytes(gzip.compress("wer\tÄ\nwas\n".encode()))
    assert [(e.id, e.question) for e in read_questions(path)] == [("0", "wer"), ("1", "was")]


MISTAKES = {
    "an empty question": (b"who\tA\n \tB\n", (2,)),
    "not UTF-8": (b"who\tA\n\xe4\tB\n", (2,)),
    "nothing": (b"", ()),
}


@pytest.mark.parametrize(("text", "named"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(tmp_path, text, named):
    (tmp_path / "q.tsv").write_bytes(text)
    with refuses("q.tsv", *named):
        list(read_questions(tmp_path / "q.tsv"))


def test_an_answer_that_is_needed(tmp_path):
    (tmp_path / "q.tsv").write_text("who\tA\nwhat\n")
    with refuses("q.tsv", "'1'"):
        list(read_questions(tmp_path / "q.tsv", need_answers=True))
