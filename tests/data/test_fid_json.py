"""The public JSON of Fusion-in-Decoder: what is read, and which examples are refused."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import assert_names, refuses

from genft_fairseq.data import json_stream
from genft_fairseq.data.fid_json import (
    Example,
    Passage,
    PassageOrder,
    parse_example,
    read_examples,
    write_examples,
)
from genft_fairseq.errors import UserError

GIVEN = {
    "id": 7,
    "question": "수도는?",
    "target": "서울",
    "answers": ["서울", " ", "Seoul"],
    "ctxs": [{"id": 3, "title": "Köln", "text": "Größe", "score": "30.5"}, {"text": ""}],
    "nq": {"long": [1.5e3, None, True, '\\" ü']},
}
READ = Example(
    "7",
    "수도는?",
    ("서울", "Seoul"),
    (Passage("Köln", "Größe", "3", 30.5), Passage("", "")),
    "서울",
)
LAYOUTS = {
    "array": lambda objects: json.dumps(objects),
    "indented": lambda objects: json.dumps(objects, indent=4, ensure_ascii=False),
    "lines": lambda objects: "".join(json.dumps(given) + "\n" for given in objects),
    "lines without end": lambda objects: "\r\n\n".join(map(json.dumps, objects)),
    "byte order mark": lambda objects: "\ufeff" + json.dumps(objects, ensure_ascii=False),
    "spaces": lambda objects: " \n[ " + " ,\n ".join(map(json.dumps, objects)) + " \n] \n ",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "examples.json"


@pytest.fixture(params=[1, 2, 7, 1 << 20])
def block(request, monkeypatch) -> None:
    """Read so few characters at a time that every sign is once the last of a block."""
    monkeypatch.setattr(json_stream, "_BLOCK", request.param)


# --- what is read ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("block")
@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_layouts(path, layout, zipped):
    """The name of the file does not say whether it is gzipped."""
    text = layout([GIVEN, {**GIVEN, "id": "b"}, {**GIVEN, "id": None}]).encode()
    path.write_bytes(gzip.compress(text) if zipped else text)
    examples = list(read_examples(path))
    assert [example.id for example in examples] == ["7", "b", "2"]
    for example in examples:
        assert example == Example(example.id, *list(vars(READ).values())[1:])
        assert example.extra == {"nq": GIVEN["nq"]}
        assert example.answer == "서울"


def test_named_gz_but_plain(tmp_path):
    path = tmp_path / "examples.json.gz"
    path.write_text(json.dumps([GIVEN]))
    assert list(read_examples(path)) == [READ]


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
examples = st.builds(
    Example,
    id=st.text(st.characters(exclude_categories=["Cs"])),
    question=texts.filter(str.strip),
    answers=st.lists(texts.filter(str.strip), min_size=1).map(tuple),
    passages=st.lists(
        st.builds(
            Passage,
            title=st.text(st.characters(exclude_categories=["Cs"])),
            text=texts,
            id=st.none() | texts,
            score=st.none() | st.floats(allow_nan=False),
        ),
        min_size=1,
    ).map(tuple),
    target=st.none() | texts.filter(str.strip),
)


@settings(max_examples=60, deadline=None)
@given(written=st.lists(examples, min_size=1, max_size=4), size=st.integers(1, 40))
def test_what_is_written_is_read(tmp_path_factory, written, size):
    path = tmp_path_factory.mktemp("round trip") / "examples.jsonl"
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        assert write_examples(stream, written) == len(written)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_BLOCK", size)
        assert list(read_examples(path, order=PassageOrder(keep=True))) == written


def test_other_keys_are_written_as_they_were_read():
    assert parse_example(GIVEN, "HERE").as_json()["nq"] == GIVEN["nq"]


def test_as_json_leaves_out_what_is_not_there():
    stream = io.StringIO()
    write_examples(stream, [Example("a", "q", ("x",), (Passage("", "t"),))])
    assert stream.getvalue() == (
        '{"id": "a", "question": "q", "answers": ["x"], "ctxs": [{"title": "", "text": "t"}]}\n'
    )


# --- the order of passages ------------------------------------------------------------------------


def scored(*scores: object) -> dict[str, object]:
    """Return an example whose passages have their number in the file as text."""
    passages = [
        {"text": str(number)} | ({} if score == "absent" else {"score": score})
        for number, score in enumerate(scores)
    ]
    return {"question": "?", "answers": ["x"], "ctxs": passages}


def order_of(example: Example) -> str:
    return "".join(passage.text for passage in example.passages)


@pytest.mark.parametrize(
    ("scores", "read"),
    [
        ([1, 3, 2], "120"),
        (["9.5", "10", 9.75], "120"),  # as numbers, not as text
        ([1, 2, 1, 2, 1], "13024"),  # stable
        ([-1, "-2", -0.5], "201"),
        ([0, float("inf"), "-Infinity", 7], "1302"),
        ([1, 10**400, 2], "120"),
        ([3, 2, 1], "012"),
        ([5], "0"),
        # An order is kept where a passage has no number.
        ([1, "absent", 2], "012"),
        ([1, None, 2], "012"),
        ([1, float("nan"), 2], "012"),
        ([1, "NaN", 2], "012"),
        ([1, "high", 2], "012"),
        ([1, "", 2], "012"),
        ([1, [3], 2], "012"),
        ([1, True, 2], "012"),
        (["absent", "absent"], "01"),
    ],
)
def test_passages_are_read_by_score(scores, read):
    assert order_of(parse_example(scored(*scores), "HERE")) == read
    kept = parse_example(scored(*scores), "HERE", order=PassageOrder(keep=True))
    assert order_of(kept) == "".join(map(str, range(len(scores))))


def test_what_was_reordered_is_counted(path):
    """Over the examples of a file; what is written is JSON, and read in the same order again."""
    rows = [scored(1, 2), scored(2, 1), scored(1, "absent"), scored(0, "inf", "high"), scored(1, 1)]
    path.write_text(json.dumps(rows))
    order = PassageOrder()
    read = list(read_examples(path, order=order))
    assert [order_of(example) for example in read] == ["10", "01", "01", "012", "01"]
    assert order == PassageOrder(examples=5, changed=1, unscored=2)
    with path.open("w") as stream:
        write_examples(stream, read)
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    again = PassageOrder()
    assert list(read_examples(path, order=again)) == read
    assert again == PassageOrder(examples=5, unscored=2)
    kept = PassageOrder(keep=True)
    assert len(list(read_examples(path, order=kept))) == kept.examples == 5
    assert (kept.changed, kept.unscored) == (0, 0)


@pytest.mark.realdata
def test_shuffled_passages_of_natural_questions(realdata, path):
    """A file in any order is read as the one that is sorted by score."""
    source = realdata / "qa" / "nq_fid_dev.json.gz"
    examples = json.loads(gzip.decompress(source.read_bytes()))
    for number, example in enumerate(examples):
        for place, passage in enumerate(example["ctxs"]):
            passage["score"] = str(90.5 - place)
        example["ctxs"] = example["ctxs"][number % 5 :] + example["ctxs"][: number % 5]
    path.write_text(json.dumps(examples))
    order = PassageOrder()
    found = [example.passages for example in read_examples(path, order=order)]
    want = [example.passages for example in read_examples(source)]
    assert [[p.text for p in row] for row in found] == [[p.text for p in row] for row in want]
    assert (order.examples, order.changed) == (100, 80)


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.usefixtures("block")
def test_a_score_that_python_cannot_read(path):
    path.write_text(
        f'{{"question": "?", "answers": ["x"], "ctxs": [{{"text": "", "score": {"9" * 5000}}}]}}'
    )
    with pytest.raises(UserError) as raised:
        list(read_examples(path))
    assert_names(str(raised.value), path, 0)
    assert len(str(raised.value)) < len(str(path)) + 200


def change(**changes: object) -> dict[str, object]:
    return {key: value for key, value in {**GIVEN, **changes}.items() if value != "absent"}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (None, ()),
        (change(id="a", question="absent"), ("'a'", "question")),
        (change(id=None, question=" "), ("question",)),
        (change(question=["?"]), (7, "question")),
        (change(answers="Seoul"), (7, "answers")),
        (change(answers=["a", 1]), (7, "answers")),
        (change(target=5), (7, "target")),
        (change(target="", answers=[" "]), (7, "answers", "target")),
        (change(target="absent", answers="absent"), (7, "answers", "target")),
        (change(ctxs="absent"), (7, "ctxs")),
        (change(ctxs=[]), (7, "ctxs")),
        (change(ctxs={"0": {}}), (7, "ctxs")),
        (change(ctxs=[{"text": "t"}, "t"]), (7, "passage", 1)),
        (change(ctxs=[{"title": "t"}]), (7, "passage", 0, "text")),
        (change(ctxs=[{"title": 1, "text": "t"}]), (7, "passage", 0, "title")),
    ],
)
def test_examples_that_are_refused(given, named):
    with refuses("HERE", *named):
        parse_example(given, "HERE")


def test_what_may_be_missing_where_it_is_not_needed():
    asked = {"question": "?"}
    example = parse_example(asked, "HERE", 4, need_answers=False, need_passages=False)
    assert example == Example("4", "?", (), ())
    # A target is a right answer where no other is given.
    assert parse_example({**asked, "target": "a"}, "HERE", need_passages=False).answers == ("a",)
