"""Metrics of translations."""

import pytest
from refusals import refuses

from genft_fairseq.metrics.translation import translation_metrics


def test_figures():
    references = ["der Hund läuft über die Wiese", "ein Mann liest"]
    perfect = translation_metrics(references, references)
    assert perfect["bleu"] == pytest.approx(100)
    assert perfect["chrf"] == pytest.approx(100)
    assert perfect["length_ratio"] == 1
    assert "tok:13a" in perfect["bleu_signature"] and "nc:6" in perfect["chrf_signature"]
    # Eight words for nine, and a sentence that says a 4-gram twice: 1 of 5 4-grams repeats.
    repeating = translation_metrics(["a b c d a b c d", "x"], references)
    assert repeating["bleu"] < 5
    assert repeating["rep_4"] == pytest.approx(1 / 5)
    # Of 8 words, 7 bigrams and 6 trigrams; the second sentence, one word, counts for n = 1 only.
    assert repeating["rep_1"] == pytest.approx((4 / 8 + 0) / 2)
    assert repeating["rep_2"] == pytest.approx(3 / 7)
    assert repeating["rep_3"] == pytest.approx(2 / 6)
    with refuses(1, 2):
        translation_metrics(["a"], references)


def known_only(text):
    """The text with words of no letters in common in the place of unknown ones."""
    return text.replace("<<unk>>", "ρρρρρ").replace("<unk>", "ωωωωω").replace("⁇", "ωωωωω")


def test_an_unknown_word_matches_nothing():
    references = ["der <<unk>> läuft", "ein <unk> unk < > nk", "er ⁇ nun."]
    translations = ["der <unk> läuft", "ein <unk> unk", "er ⁇ <unk>."]
    right = [known_only(r).replace("ωωωωω", "ρρρρρ") for r in references]
    for tokenised in (False, True):
        found = translation_metrics(translations, references, tokenised=tokenised)
        assert found == {
            **translation_metrics([known_only(t) for t in translations], right, tokenised=tokenised)
        }
    only = translation_metrics(["<unk> <unk>"] * 3, ["u n k <unk>", "<<unk>>", "unk"])
    assert only["chrf"] == only["bleu"] == 0
    assert only["rep_1"] == 0.5  # of one text: the same word twice


@pytest.mark.parametrize("subword", ["Hun@@ de", "Hun@@", "▁Hun de"])
def test_subwords_do_not_compare_with_words(subword):
    """Whichever side holds them; figures of both in subwords are a choice."""
    words = ["Hunde bellen", "x@y @@ a@@b"]
    for sides in (([subword, "b"], words), (words, [subword, "b"])):
        with refuses(subword):
            translation_metrics(*sides)
    assert translation_metrics([subword], [subword], tokenised=True)["length_ratio"] == 1


def test_without_regard_to_case():
    metrics = translation_metrics(["Der HUND läuft über"], ["der Hund läuft über"], lowercase=True)
    assert metrics["bleu"] == pytest.approx(100) and metrics["chrf"] == pytest.approx(100)
    assert "case:lc" in metrics["bleu_signature"] and "case:lc" in metrics["chrf_signature"]
