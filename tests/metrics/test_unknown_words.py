"""Unknown words in what ``--scoring`` of fairseq-generate scores."""

import re

import pytest
import sacrebleu
from fairseq import scoring
from fairseq.data import Dictionary
from omegaconf import OmegaConf

import genft_fairseq  # noqa: F401


def score(name, references, translations):
    settings = {"_name": name}
    if name == "sacrebleu":
        settings |= {"sacrebleu_tokenizer": "13a", "sacrebleu_lowercase": False}
        settings["sacrebleu_char_level"] = False
    scorer = scoring.build_scorer(OmegaConf.create(settings), Dictionary())
    for reference, translation in zip(references, translations, strict=True):
        scorer.add_string(reference, translation)
    return float(re.search(r"= (\d+\.\d+)", scorer.result_string())[1])


@pytest.mark.parametrize("name", ["chrf", "sacrebleu"])
def test_an_unknown_word_matches_nothing(name):
    assert score(name, ["<<unk>> ⁇", "unk < >"], ["<unk> ⁇", "<unk>"]) == 0
    known = score(name, ["der Hund läuft weg ωωωωω"], ["der Hund läuft weg ρρρρρ"])
    assert score(name, ["der Hund läuft weg <<unk>>"], ["der Hund läuft weg <unk>"]) == known
    assert score(name, ["der Hund läuft weg"], ["der Hund läuft weg"]) == pytest.approx(100)


def test_what_holds_no_unknown_word_is_scored_as_before():
    references, translations = ["ein Hund, der läuft"], ["ein Hund läuft"]
    expected = sacrebleu.corpus_chrf(translations, [references]).score
    assert score("chrf", references, translations) == pytest.approx(expected, abs=0.005)
