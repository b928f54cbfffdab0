"""Many answers are looked for at once with the same result as one by one."""

from hypothesis import given, settings
from hypothesis import strategies as st

from genft_fairseq.data.answer_match import AnswerSearch, contains_answer

TEXT = st.text(alphabet="ab .부산사서울東京é", max_size=12)


@settings(deadline=None)
@given(TEXT, st.lists(st.lists(TEXT, max_size=3), max_size=4))
def test_equals_looking_for_each(text, answers):
    want = {number for number, given in enumerate(answers) if contains_answer(text, given)}
    assert AnswerSearch(answers).questions(text) == want


def test_by_hand():
    answers = [["New York"], ["york"], ["부산"], ["부사"], ["산"], [], ["..."]]
    search = AnswerSearch(answers)
    assert search.questions("the new york times") == {0, 1}
    assert search.questions("New Yorkers") == set()
    # A syllable is not found in another one that goes on with a final consonant.
    assert search.questions("그는 부산에서") == {2, 4}
    assert search.questions("wait...") == {6}


def test_a_korean_answer_is_whole_syllables():
    assert not contains_answer("부산에서", ["부사"])
    assert contains_answer("부사이다", ["부사"])
