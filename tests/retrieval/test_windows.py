"""Documents in overlapping windows, and the answers in them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refuses

from genft_fairseq.data.fid_json import Example, Passage
from genft_fairseq.retrieval.windows import WindowMatches, check_windows, document_windows, windows


def test_by_hand():
    text = "a b c d e f g"
    assert windows(text, 4, 2) == ["a b c d", "c d e f", "d e f g"]  # the last one ends with it
    assert windows(text, 4, 3) == ["a b c d", "d e f g"]
    assert windows(text, 3, 3) == ["a b c", "d e f", "e f g"]
    assert windows(text, 7, 1) == windows(text, 99, 1) == [text]
    assert windows("  a\n\tb ", 5, 2) == ["a b"]
    assert windows(" \n", 5, 2) == []


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(1, 20), st.data())
def test_every_word_is_there_and_whole(number, window, data):
    stride = data.draw(st.integers(1, window))
    words = [f"w{i}" for i in range(number)]
    found = [cut.split() for cut in windows(" ".join(words), window, stride)]
    assert {word for cut in found for word in cut} == set(words)
    assert all(len(cut) == min(window, number) for cut in found)
    starts = [int(cut[0][1:]) for cut in found]
    assert starts[:-1] == [stride * i for i in range(len(starts) - 1)]
    assert starts == sorted(set(starts))
    assert all(
        cut == words[start : start + window] for start, cut in zip(starts, found, strict=True)
    )


def test_scripts_without_spaces_are_cut_by_characters():
    assert windows("東京は日本の首都", 4, 3) == ["東京は日", "日本の首", "本の首都"]
    assert windows("東京 is 東京都です", 4, 4)[0] == "東京 i"  # more than half of the letters
    # A vowel sign stays with its consonant.
    assert windows("กรุงเทพ", 2, 2) == ["กรุ", "งเ", "ทพ"]


def test_korean_has_words():
    assert windows("서울은 대한민국의 수도이다", 2, 1) == [
        "서울은 대한민국의",
        "대한민국의 수도이다",
    ]


def test_english_with_a_name_in_chinese_has_words():
    assert windows("Beijing ( 北京 ) is big", 3, 3)[0] == "Beijing ( 北京"


@pytest.mark.parametrize(
    ("window", "stride", "named"),
    [(0, 1, ("--window", 0)), (5, 0, ("--stride", 0)), (5, 6, ("--stride", 6))],
)
def test_windows_that_leave_words_out_are_refused(window, stride, named):
    with refuses(*named):
        check_windows(window, stride)


def test_ids_say_which_document():
    documents = [Passage("T", "a b c", "x"), Passage("U", "d", "y")]
    found = list(document_windows(documents, 2, 1))
    assert found == [
        (Passage("T", "a b", "x:0"), "x"),
        (Passage("T", "b c", "x:1"), "x"),
        (Passage("U", "d", "y:0"), "y"),
    ]


def matched(questions, most=100):
    documents = [Passage("T", "a b c", "x"), Passage("b", "d e", "y")]
    matches = WindowMatches(questions, most)
    watched = list(matches.watch(document_windows(documents, 2, 1)))
    assert [passage.id for passage in watched] == ["x:0", "x:1", "y:0"]
    found = [
        [(match["id"], match["has_answer"]) for match in line["ctxs"]] for line in matches.as_json()
    ]
    return matches, found


def test_answers_are_found_in_windows():
    """Anywhere; only in the documents that are named, and then these whole; the title is none."""
    x, y = Passage("", "", "x"), Passage("", "", "y")
    questions = [
        Example("0", "anywhere", ("b",), ()),
        Example("1", "in x", ("c", "zzz"), (x,)),
        Example("2", "in y", ("b",), (y,)),
        Example("3", "nowhere", ("c a",), ()),
        Example("4", "passages without ids", ("d e",), (Passage("", ""),)),
    ]
    matches, found = matched(questions)
    assert found == [
        [("x:0", True), ("x:1", True)],
        [("x:0", False), ("x:1", True)],
        [("y:0", False)],
        [],
        [("y:0", True)],
    ]
    assert (matches.passages, matches.documents, matches.answered()) == (3, 2, 3)


def test_no_more_than_so_many():
    assert matched([Example("0", "q", ("b",), ())], most=1)[1] == [[("x:0", True)]]
