"""Repeated n-grams and errors, marked."""

from hypothesis import given
from hypothesis import strategies as st

from genft_fairseq.report.samples import Part, marked, spaced


def test_repeated_words() -> None:
    # bigrams: the cat, cat saw, saw the, *the cat*; the full stop is a word of its own
    assert marked("The cat saw the cat.", (), 2) == [
        Part("The cat saw "),
        Part("the cat", repeated=True),
        Part("."),
    ]


def test_errors_against_the_nearest_reference() -> None:
    assert marked("a dog runs home", ["two cats sleep", "a cat runs home"], 4) == [
        Part("a "),
        Part("dog", error=True),
        Part(" runs home"),
    ]
    assert marked("yes", ["no", "yes"], 2) == [Part("yes")]
    assert marked("x y", ["a"], 2) == [Part("x y", error=True)]
    assert marked("x", [], 2) == [Part("x")]
    assert marked("", ["a"], 2) == []


def test_both_marks_at_once() -> None:
    assert marked("no no no", ["no"], 2) == [
        Part("no "),
        Part("no no", repeated=True, error=True),
    ]


@given(st.text(max_size=80), st.lists(st.text(max_size=30), max_size=3), st.integers(1, 4))
def test_no_letter_is_lost(text: str, references: list[str], n: int) -> None:
    assert "".join(part.text for part in marked(text, references, n)) == text


def test_places_are_spread() -> None:
    assert spaced(3, 5) == [0, 1, 2]
    assert spaced(100, 4) == [12, 37, 62, 87]
    assert spaced(0, 4) == []
