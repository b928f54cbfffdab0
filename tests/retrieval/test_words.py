"""What BM25 takes for words."""

import pytest

from genft_fairseq.retrieval.bm25 import Words

TEXTS = {
    "English": ("The Cats' 3.5 hats, in 2018!", ["cats", "3", "5", "hats", "2018"]),
    "other alphabets": ("Röntgen ΑΘΗΝΑ Москва", ["röntgen", "αθηνα", "москва"]),
    "joined accents": ("Cafe\u0301 naïve", ["café", "naïve"]),
    "full width": ("ＡＢＣ１", ["abc1"]),
    "vowel signs": ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
    "Korean": ("서울은 수도", ["서울", "울은", "수도"]),
    "Chinese": ("北京是首都。", ["北京", "京是", "是首", "首都"]),
    "Japanese": ("スーパーへ", ["スー", "ーパ", "パー", "ーへ"]),
    "one character": ("水 の", ["水", "の"]),
    "mixed": ("2018년 BTS가", ["2018", "년", "bts", "가"]),
    "Thai": ("กรุง", ["กร", "รุ", "ุง"]),
    "nothing": (" ...!? ", []),
}


@pytest.mark.parametrize(("text", "want"), TEXTS.values(), ids=TEXTS)
def test_words(text, want):
    assert Words()(text) == want


def test_stopwords_are_kept_where_asked():
    assert Words(stopwords=False)("To be or not") == ["to", "be", "or", "not"]
    assert Words()("To be or not to be, that is") == []


def test_stemming_is_for_english_words():
    words = Words(stemming=True)
    assert words("running runs easily prizes") == ["run", "run", "easili", "prize"]
    assert words("Prüfungen 서울은") == ["prüfungen", "서울", "울은"]
