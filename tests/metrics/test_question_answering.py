"""Exact match and F1 by hand and against SQuAD's definition; long answers; evidence; intervals."""

import string

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from refusals import refuses

from genft_fairseq.metrics.question_answering import (
    Score,
    answer_metrics,
    long_answer_metrics,
    normalised,
    paired_metrics,
    pointing_metrics,
    recall_metrics,
    reranked,
    score,
    without_letters,
)
from genft_fairseq.metrics.significance import mean_interval
from genft_fairseq.metrics.words import LANGUAGES

RIGHT, WRONG = Score(True, 1.0), Score(False, 0.0)


# --- normalisation -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "language", "left"),
    [
        ("  The  Beatles!", "en", "beatles"),
        ("An apple, a day; the theme", "en", "apple day theme"),
        ("U.S.A. $5 + 5 = ~10 `x|y^z`", "en", "usa 5 5 10 xyz"),
        ("“Die Ärzte” – the band…", "en", "die ärzte band"),
        ("A\u0308rzte", "en", "ärzte"),  # an A and a diaeresis
        ("２０ the", "en", "２０"),
        ("The the", "other", "the the"),
        ("¿Qué? ¡No!", "other", "qué no"),
        ("《서울》, (특별) 시", "ko", "서울 특별 시"),
        ("ＫＢＳ　１", "ko", "kbs 1"),
        ("the 서울", "ko", "the 서울"),
        ("北京、 上海。", "zh", "北 京 上 海"),
        ("《iPhone 5》发布于２０12年㐀〇", "zh", "iphone 5 发 布 于 ２０12 年 㐀〇"),
        ("Das Haus, der Dieb; eines Tages", "de", "haus dieb tages"),
        ("¡El  niño y las niñas!", "es", "niño y niñas"),
        ("Cái nhà của tôi là những", "vi", "nhà tôi"),
        ("البيت، والمجالات", "ar", "بيت و مج ات"),
        ("यह घर है।", "hi", "यह घर है"),
        ("the der la", "hi", "the der la"),
        ("１９９５ 年", "ja", "1995年"),
        ("กรุงเทพ มหานคร ๆ", "th", "กรุงเทพมหานครๆ"),
    ],
)
def test_normalised(text, language, left):
    assert normalised(text, language) == left


def test_every_punctuation_of_unicode_and_no_other_sign():
    assert normalised("·—‽„“”«»、。「」！？（）" + string.punctuation, "other") == ""
    assert normalised("€ ° № ½ ☃", "other") == "€ ° № ½ ☃"


def test_languages():
    with refuses("--language", "kr"):
        normalised("x", "kr")


# ASCII words that make articles, punctuation and control signs meet.
PIECES = st.sampled_from([*"aAnthe \t\x00\x1c.,'-_$<~9", "the", "The ", " an ", "a ", "x"])
ASCII = st.lists(PIECES, max_size=12).map("".join) | st.text(
    st.characters(max_codepoint=127), max_size=12
)


@given(ASCII)
def test_ascii_is_normalised_as_squad_defines_it(text):
    assert normalised(text) == reference.squad_normalised(text)


@given(ASCII, st.lists(ASCII, min_size=1, max_size=3))
def test_ascii_is_scored_as_squad_defines_it(prediction, answers):
    found = score(prediction, answers)
    exact, f1 = reference.squad_scores(prediction, answers)
    assert found.exact_match == exact
    assert found.f1 == pytest.approx(f1, abs=1e-12)


# --- scores --------------------------------------------------------------------------------------


def test_words():
    """Two of three words given are among the four right ones: P = 2/3, R = 2/4, F1 = 4/7."""
    found = score("the big red dog", ["big dog barks loudly"])
    assert found == Score(False, pytest.approx(4 / 7))
    # A word counts as often as both sides have it: 1 of 3 and 1 of 2.
    assert score("no no no", ["no way"]).f1 == pytest.approx(2 * (1 / 3) * (1 / 2) / (5 / 6))
    assert score("cat", ["dog"]) == WRONG


def test_the_best_answer_counts_for_each_figure_alone():
    assert score("b c", ["x", "b c d", "b"]) == Score(False, pytest.approx(0.8))
    assert score("the B-52's", ["wrong", "B52s"]) == RIGHT
    # As good against two of them, in any order.
    tied = Score(False, pytest.approx(2 / 3))
    assert score("b c", ["b", "c"]) == score("b c", ["c", "b"]) == tied
    with refuses():
        score("b", [])


def test_answers_of_which_nothing_is_left():
    """By the rule of SQuAD 2.0: they do not count beside others; alone, only nothing is right."""
    assert score("A", ["The"]) == score("", ["The", "..."]) == score("!", ["a"]) == RIGHT
    assert score("The Who", ["The"]) == WRONG
    assert score("", ["The", "Who"]) == score("The", ["The", "Who"]) == WRONG
    assert score("", ["Who"]) == WRONG
    assert without_letters(["The", "..."]) and not without_letters(["The", "Who"])
    # Articles are those of the language.
    assert score("der", ["Die"], "de") == RIGHT and score("der", ["Die"], "es") == WRONG
    assert score("A", ["The"], "other") == WRONG
    assert score("the", ["The"], "other") == RIGHT
    assert score("。", ["、"], "ja") == RIGHT


def test_characters():
    """Six syllables of seven are the right ones: P = 6/7, R = 1."""
    found = score("서울특별시의 중", ["서울특별시의"], "ko")
    assert found == Score(False, pytest.approx(12 / 13))
    # As words, nothing would be right.
    assert score("서울특별시의", ["서울특별시"], "other") == WRONG
    assert score("서울특별시의", ["서울특별시"], "ko") == Score(False, pytest.approx(10 / 11))
    # Spaces: Korean's exact match sees them, F1 does not; the others have none.
    assert score("서울 특별시", ["서울특별시"], "ko") == Score(False, 1.0)
    assert score("北京 市", ["北京市"], "ja") == RIGHT
    # Letters composed of their parts are the letters.
    assert score("\u1112\u1161\u11ab", ["\ud55c"], "ko") == RIGHT


# What the evaluation of MLQA gives (facebookresearch/MLQA, mlqa_evaluation_v1.py, 5ef5c73).
MLQA = [
    ("en", "The Beatles", ["beatles!"], True, 1.0),
    ("de", "der Hund des Nachbarn", ["Ein Hund", "Nachbarn"], False, 2 / 3),
    ("de", "die Theme", ["the Theme"], False, 2 / 3),
    ("es", "el año 1995", ["año de 1995", "1995"], False, 0.8),
    ("es", "los Andes", ["Unos Andes."], True, 1.0),
    ("vi", "những chiếc xe", ["xe"], True, 1.0),
    ("vi", "cái nhà của tôi", ["nhà tôi ở"], False, 0.8),
    ("ar", "في البيت الكبير", ["بيت كبير"], False, 0.8),
    ("ar", "مجالات", ["مج ات"], True, 1.0),
    ("hi", "एक घर", ["घर"], False, 2 / 3),
    ("zh", "北京市", ["北京"], False, 0.8),
    ("zh", "北京 市", ["北京市"], True, 1.0),
    ("zh", "iPhone 5手机", ["iPhone手机"], False, 6 / 7),
    ("zh", "iPhone5", ["iPhone 5"], False, 0.0),
    ("zh", "１９９５年", ["1995年"], False, 0.5),
    ("zh", "《论语》", ["论语"], True, 1.0),
]


@pytest.mark.parametrize(("language", "prediction", "answers", "exact", "f1"), MLQA)
def test_languages_are_scored_as_mlqa_scores_them(language, prediction, answers, exact, f1):
    assert score(prediction, answers, language) == Score(exact, pytest.approx(f1))


# --- a test set ----------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_unknown_word_matches_nothing(language):
    for symbol in ("<unk>", "<<unk>>"):
        assert (
            score(symbol, [symbol], language) == score(symbol, ["unk"], language) == Score(False, 0)
        )
    assert score("one <unk>", ["one <unk>"], language).f1 < 1
    assert score("unk", ["UNK"], language) == Score(True, 1)
    metrics = long_answer_metrics(["<unk> <unk>"], [["<unk> unk < >", "<unk> <unk>"]], language)
    assert metrics["bleu"] == metrics["rouge_1"] == metrics["rouge_l"] == 0


def test_means_and_intervals():
    scores = [RIGHT, Score(False, 0.5), WRONG, WRONG]
    metrics = answer_metrics(scores)
    assert (metrics["exact_match"], metrics["f1"]) == (0.25, 0.375)
    low, high = metrics["exact_match_interval"]
    assert 0 <= low < 0.25 < high <= 1
    assert answer_metrics(scores) == metrics  # the same draws every time
    assert answer_metrics([RIGHT])["f1_interval"] is None


def test_the_interval_is_the_bootstraps():
    """Of a share p of n questions: p plus and minus 1.96 sqrt(p (1 - p) / n), nearly."""
    low, high = mean_interval([1.0] * 300 + [0.0] * 700)
    spread = 1.96 * (0.3 * 0.7 / 1000) ** 0.5
    assert low == pytest.approx(0.3 - spread, abs=0.004)
    assert high == pytest.approx(0.3 + spread, abs=0.004)
    assert mean_interval([0.5, 0.5]) == [0.5, 0.5]
    narrow = mean_interval(np.arange(10), level=0.5)
    wide = mean_interval(np.arange(10), level=0.99)
    assert wide[0] < narrow[0] < 4.5 < narrow[1] < wide[1]
    with refuses():
        mean_interval([1.0, float("nan")])


def test_paired():
    better = paired_metrics([WRONG] * 30, [RIGHT] * 15 + [WRONG] * 15)
    assert (better["exact_match"], better["f1"]) == (0, 0)
    assert better["exact_match_p_value"] < 0.01
    same = paired_metrics([RIGHT, WRONG], [RIGHT, WRONG])
    assert (same["exact_match"], same["f1_p_value"]) == (0.5, 1.0)
    assert paired_metrics([RIGHT], [WRONG])["f1_p_value"] is None


# --- long answers --------------------------------------------------------------------------------


def test_bleu_and_rouge_by_hand():
    """One bigram of two is right, both ways, and two of three words in order.

    The second question has another right answer, which is the one given.
    """
    found = long_answer_metrics(["red big dog", "yes"], [["red big cat"], ["no", "yes"]])
    assert found["rouge_1"] == pytest.approx((2 / 3 + 1) / 2)
    assert found["rouge_2"] == pytest.approx((1 / 2 + 0) / 2)  # one word has no bigram
    assert found["rouge_l"] == pytest.approx((2 / 3 + 1) / 2)
    assert "nrefs:var" in found["bleu_signature"] and "tok:13a" in found["bleu_signature"]
    same = "the cat sat on the mat"
    assert long_answer_metrics([same], [["x", same]])["bleu"] == pytest.approx(100)
    # Precisions 5/6, 3/5, 1/4 and, smoothed, 1/(2*3); as long as the reference.
    bleu = long_answer_metrics(["the cat sat on a mat"], [["the cat sat in a mat"]])["bleu"]
    assert bleu == pytest.approx(100 * (5 / 6 * 3 / 5 * 1 / 4 * 1 / 6) ** 0.25)


def test_long_answers_of_other_alphabets():
    """rouge-score's own tokeniser would find no letter at all."""
    german = long_answer_metrics(["das Ärztehaus"], [["ärztehaus"]], "other")
    assert german["rouge_1"] == pytest.approx(2 / 3)  # of two words one, which is all
    assert long_answer_metrics(["москва"], [["Москва"]], "other")["rouge_l"] == 1
    korean = long_answer_metrics(["서울 시"], [["서울"]], "ko")
    assert korean["rouge_1"] == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))
    assert korean["rouge_2"] == pytest.approx(2 * (1 / 2) / (1 / 2 + 1))
    assert "tok:char" in korean["bleu_signature"]
    assert "tok:zh" in long_answer_metrics(["北京"], [["北京"]], "zh")["bleu_signature"]


# --- evidence ------------------------------------------------------------------------------------

# Of four questions: the answer in the first passage, in the third, in the sixth, in none of five.
HOLDS = [
    [True, False, True],
    [False, False, True],
    [False] * 5 + [True],
    [False] * 5,
]


def test_recall():
    assert recall_metrics(HOLDS) == {"recall_1": 1 / 4, "recall_5": 2 / 4, "recall_all": 3 / 4}
    assert recall_metrics([[False] * 20 + [True]])["recall_20"] == 0
    assert set(recall_metrics([[True] * 100])) == {
        *("recall_1", "recall_5", "recall_20", "recall_100", "recall_all"),
    }
    assert recall_metrics([[], []]) == recall_metrics([]) == {}
    assert recall_metrics([[], [True]]) == {"recall_1": 0.5, "recall_all": 0.5}


def test_the_passage_pointed_at_comes_first():
    moved = reranked([["1", "2", "3"]] * 5, [1, 2, 3, 0, None])
    assert ["".join(row) for row in moved] == ["123", "213", "312", "123", "123"]
    assert reranked([["1", "2"]], [3]) == [["1", "2"]]


def test_pointing():
    metrics = pointing_metrics(HOLDS, [3, 1, 6, 0])
    assert metrics["evidence_accuracy"] == 3 / 4  # all but the second
    assert (metrics["pointed_accuracy"], metrics["with_evidence"]) == (2 / 3, 3)
    assert (metrics["none_accuracy"], metrics["without_evidence"]) == (1.0, 1)
    assert metrics["pointed_nowhere"] == 0
    assert metrics["reranked_recall_1"] == 2 / 4
    assert metrics["reranked_recall_5"] == 3 / 4


def test_pointing_among_the_passages_that_were_read():
    """Of two read, only the first question's hold an answer; 0 is right for the others."""
    metrics = pointing_metrics(HOLDS, [2, 0, 6, None], read=2)
    assert metrics["evidence_accuracy"] == 1 / 4
    assert (metrics["pointed_accuracy"], metrics["with_evidence"]) == (0.0, 1)
    assert (metrics["none_accuracy"], metrics["without_evidence"]) == (1 / 3, 3)
    assert metrics["pointed_nowhere"] == 2  # a sixth of two, and nothing
    # What was not read does not move; the second passage of the first question does.
    assert metrics["reranked_recall_1"] == 0
    all_held = pointing_metrics([[True]], [1])
    assert (all_held["none_accuracy"], all_held["pointed_accuracy"]) == (None, 1.0)
