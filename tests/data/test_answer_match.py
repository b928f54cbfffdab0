"""Whether a passage holds an answer: whole words, whatever their case."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genft_fairseq.data.answer_match import answer_tokens, contains_answer


@pytest.mark.parametrize(
    ("text", "answers", "held"),
    [
        ("Born in New York City.", ["new york"], True),
        ("Born in New York City.", ["York New"], False),
        ("the renewal of yorkshire", ["new", "york"], False),  # no whole words
        ("in 1905, not later", ["1905"], True),
        ("in 19055", ["1905"], False),
        ("It cost $5,300 then", ["5,300"], True),
        ("It cost $5 300 then", ["5,300"], False),  # a comma is a token
        ("O'Neill wrote it", ["O’Neill"], False),  # so is an apostrophe, and there are two
        ("O'Neill wrote it", ["o'neill"], True),
        ("of Jean-Luc", ["jean"], True),
        ("Wilhelm Conrad Röntgen", ["Röntgen"], True),
        ("Wilhelm Conrad R\u00f6ntgen", ["Ro\u0308ntgen"], True),
        ("Wilhelm Conrad Rontgen", ["Röntgen"], False),
        ("STRAẞE", ["straße"], True),
        ("one line\nanother", ["line another"], True),
        ("서울은 대한민국의 수도이다", ["서울"], True),  # with a particle attached
        ("대한민국의수도", ["대한 민국"], True),
        ("首都は東京です", ["東京"], True),
        ("首都は東京です", ["京都"], False),
        ("anything", [], False),
        ("anything", ["", " ", "\u200b"], False),
        ("", ["a"], False),
        ("the second of them", ["first", "second"], True),
    ],
)
def test_answers_in_texts(text, answers, held):
    assert contains_answer(text, answers) is held
    assert contains_answer(unicodedata.normalize("NFD", text), answers) is held


def test_tokens():
    """Runs of letters, figures and marks; every other sign by itself; no spaces, no controls."""
    expected = ["n", "'", "ose\u0301", "(", "2", ")", "-", "b\u0308"]
    assert answer_tokens("N'osé\t(2)-\x00B\u0308\u00a0") == expected


words = st.text("abc", min_size=1, max_size=2)


@given(
    before=st.lists(words), answer=st.lists(words, min_size=1, max_size=3), after=st.lists(words)
)
def test_an_answer_is_found_wherever_it_stands(before, answer, after):
    text = " ".join([*before, *answer, *after])
    assert contains_answer(text, [" ".join(answer)])


@given(text=st.lists(words, max_size=6), answer=st.lists(words, min_size=1, max_size=3))
def test_only_consecutive_words_are_found(text, answer):
    size = len(answer)
    runs = [text[start : start + size] for start in range(len(text) - size + 1)]
    assert contains_answer(" ".join(text), [" ".join(answer)]) == (answer in runs)
