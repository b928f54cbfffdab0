"""What prepare-fid.sh consists of: distinct texts, limits, and the errors that name an example."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusals import assert_names, refuses

sys.path.insert(0, str(Path(__file__).parents[2] / "data-prep"))  # scripts, not a package

import fid_assemble
import fid_dictionary
import fid_examples
import fid_texts
from one_line_errors import PrepareError

from genft_fairseq.data.fid_json import Example, Passage

# --- texts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (" a\tb\r\nc\u2028d\u00a0e ", "a b c d e"),
        ("a<title>b", "a< title >b"),
        ("<<question><context>>", "<< question >< context >>"),
        ("<passage:0> <passage:123>", "< passage:0 > < passage:123 >"),
        ("<s></s><unk><pad>", "< s >< /s >< unk >< pad >"),
        ("<titles> <passage:> <b> a < title >", "<titles> <passage:> <b> a < title >"),
        ("wort@@ a@@@b", "wort@ @ a@ @ @b"),
        ("", ""),
    ],
)
def test_no_word_is_a_symbol(text, line):
    assert fid_texts.one_line(text) == line


@given(st.text("<>/@ :1tiles\u2028" + "passage", max_size=40))
def test_no_text_holds_a_symbol(text):
    line = fid_texts.one_line(f"<title>{text}</s><passage:1>")
    assert not any(symbol in line for symbol in (*fid_texts.markers(20), "</s>", "<s>", "@@"))
    assert "".join(line.split()) == "".join(f"<title>{text}</s><passage:1>".split())


def test_each_text_is_written_once(tmp_path):
    """Numbers count through both parts, and a text of the first is found again from the second."""
    with ExitStack() as files:
        texts = fid_texts.DistinctTexts(tmp_path, "title", files)
        assert [texts.number(text) for text in ("b", "a", " b\n", "")] == [0, 1, 0, 2]
        texts.part = "other"
        assert [texts.number(text) for text in ("a", "c", "", "c")] == [1, 3, 2, 3]
    assert (tmp_path / "train.title").read_text() == "b\na\n\n"
    assert (tmp_path / "other.title").read_text() == "c\n"


# --- dictionary -----------------------------------------------------------------------------------


def test_dictionary_is_padded_and_in_order(tmp_path):
    symbols = fid_dictionary.build({"b": 2, "a": 2, "c@@": 5}, passages=1)
    head = ["<question>", "<title>", "<context>", "<passage:0>", "<passage:1>"]
    assert list(symbols.items()) == [
        *((symbol, 1) for symbol in head),
        *(("c@@", 5), ("a", 2), ("b", 2)),
        *((f"madeupword000{n}", 0) for n in range(4)),  # with fairseq's own four, sixteen
    ]
    fid_dictionary.write_dictionary(tmp_path / "dict", symbols)
    assert fid_dictionary.read_dictionary(tmp_path / "dict") == symbols
    assert fid_dictionary.count_passages(symbols, tmp_path) == 1


def test_dictionaries_that_are_refused(tmp_path):
    with refuses("<title>", error=PrepareError):
        fid_dictionary.build({"<title>": 1}, 1)
    path = tmp_path / "dict"
    for content, line in (("a\n", 1), ("a 1\nb x\n", 2)):
        path.write_text(content)
        with refuses(path, line, error=PrepareError):
            fid_dictionary.read_dictionary(path)
    symbols = fid_dictionary.build({}, 3)
    del symbols["<passage:2>"]
    with refuses("<passage:2>", error=PrepareError):
        fid_dictionary.count_passages(symbols, path)


# --- examples -------------------------------------------------------------------------------------


def test_only_so_many_examples_are_read_ahead():
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    with ThreadPool(2) as pool:
        pairs = fid_examples.in_order(pool, lambda number: -number, numbers(), ahead=3)
        for count, pair in enumerate(pairs):
            assert pair == (count, -count)
            assert len(taken) <= count + 4
    assert count == 19


EXAMPLE = Example(
    "x", "?", ("ü",), (Passage("ü", "u"), Passage("", "Ü!")),
    extra={"a": {"b": ["long", "longer"]}, "c": " ", "d": [], "e": "text"},
)  # fmt: skip


def test_what_is_trained_on():
    found = [fid_examples.answer_to_train_on(EXAMPLE, key, "HERE") for key in (None, "a.b", "e")]
    assert found == ["ü", "long", "text"]


@pytest.mark.parametrize("key", ["a", "a.b.c", "b", "c", "d", "e.e", "", "question"])
def test_a_target_that_is_not_there(key):
    with pytest.raises(PrepareError) as raised:
        fid_examples.answer_to_train_on(EXAMPLE, key, "HERE")
    assert_names(str(raised.value), "HERE", key, "--target")


def test_evidence_is_in_the_text():
    assert fid_examples.holds_answer(EXAMPLE) == [False, True]
    line = json.loads(fid_examples.scoring_line(EXAMPLE, [False, True]))
    assert line == {
        "id": "x", "question": "?", "answers": ["ü"],
        "ctxs": [{"title": "ü", "has_answer": False}, {"title": "", "has_answer": True}],
    }  # fmt: skip


# --- lines ----------------------------------------------------------------------------------------


@pytest.fixture
def stage(tmp_path: Path) -> argparse.Namespace:
    """Two splits of one example each; the pieces of the second question, and one answer, vary."""
    for folder, name, content in (
        ("examples", "train.examples", "0 0 0 0 1 0\n"),
        ("examples", "valid.examples", "0 0 0 0\n1 1 1 1\n"),
        ("examples", "valid.fid.jsonl", '{"id": "a"}\n{"id": "b"}\n'),
        ("pieces", "question", "q@@ r\n1 2 3 4\n"),
        ("pieces", "answer", "a b c\nd\n"),
        ("pieces", "title", "t u v\n\n"),
        ("pieces", "text", "w x y z\nö\n"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(content, "utf-8")
    (tmp_path / "lines").mkdir()
    return argparse.Namespace(
        examples=tmp_path / "examples", pieces=tmp_path / "pieces", splits=["train", "valid"],
        destination=tmp_path / "lines", files=["T", "V"], max_question=4, truncate_questions=False,
        frame="symbols",
    )  # fmt: skip


def pieces(stage: argparse.Namespace, limits: tuple[int, ...]) -> dict[str, fid_assemble.Pieces]:
    named = zip(fid_texts.KINDS, limits, strict=True)
    return {kind: fid_assemble.Pieces(stage.pieces / kind, limit) for kind, limit in named}


def test_lines_within_the_limits(stage):
    assert fid_assemble.write_split(stage, "train", pieces(stage, (4, 0, 3, 4))) == 2
    assert (stage.destination / "train.question").read_text() == (
        "<question> q@@ r <title> t u v <context> w x y z <title> <context> w x y z\n"
    )
    assert (stage.destination / "train.answer").read_text() == "a b c\n"


def test_lines_beyond_the_limits(stage):
    cut = pieces(stage, (1, 2, 1, 3))
    assert fid_assemble.write_split(stage, "valid", cut) == 2
    assert (stage.destination / "valid.question").read_text("utf-8") == (
        "<question> q@@ <title> t <context> w x y\n<question> 1 <title> <context> ö\n"
    )
    assert (stage.destination / "valid.answer").read_text() == "a b\nd\n"
    assert {kind: texts.cut for kind, texts in cut.items()} == {
        "question": 2, "answer": 1, "title": 1, "text": 1,
    }  # fmt: skip


def test_a_question_that_is_too_long_is_named(stage):
    fid_assemble.check_questions(stage)
    stage.max_question = 3
    with pytest.raises(PrepareError) as raised:
        fid_assemble.check_questions(stage)
    assert_names(str(raised.value), "V", 1, "'b'", 4, "--max-question", 3, "--truncate-questions")
    stage.truncate_questions = True
    fid_assemble.check_questions(stage)


def test_texts_of_which_nothing_is_left(stage):
    """Of a control character, say, Moses leaves nothing."""
    (stage.pieces / "question").write_text("q\n\n")
    with refuses("V", 1, "'b'", error=PrepareError):
        fid_assemble.check_questions(stage)
    (stage.pieces / "answer").write_text("a\n\n")
    with refuses("V", 1, "'b'", error=PrepareError):
        fid_assemble.write_split(stage, "valid", pieces(stage, (0, 0, 0, 0)))


def test_pieces_of_any_length_are_found(tmp_path):
    lines = [" ".join(map(str, range(n))) for n in (3, 0, 1, 70_000, 0, 2)]
    (tmp_path / "text").write_text("".join(f"{line}\n" for line in lines))
    whole = fid_assemble.Pieces(tmp_path / "text", 0)
    for number, limit in itertools.product(range(6), (1, 2, 3, 100)):
        assert whole[number].decode() == lines[number]
        cut = fid_assemble.Pieces(tmp_path / "text", limit)
        assert cut[number].decode().split() == lines[number].split()[:limit]
        assert cut.cut == (len(lines[number].split()) > limit)
