"""Rewards of token ids against the libraries and formulas on text."""

import pytest
import sacrebleu
import torch
from fairseq.data import Dictionary

from genft_fairseq.generation.rewards import REWARDS, rewards, texts
from genft_fairseq.metrics.repetition import repetition

WORDS = "ein@@ e kleine katze schläft auf der grünen bank auf der bank".split()


@pytest.fixture
def dictionary():
    found = Dictionary()
    for word in WORDS:
        found.add_symbol(word)
    return found


def rows(dictionary, *sentences):
    ids = [[*map(dictionary.index, s.split()), dictionary.eos()] for s in sentences]
    width = max(map(len, ids))
    return torch.tensor([row + [dictionary.pad()] * (width - len(row)) for row in ids])


GOLD = "ein@@ e kleine katze schläft auf der bank"
FIRST = "ein@@ e katze schläft auf der grünen bank auf der bank"
SECOND = "kleine kleine kleine kleine kleine kleine"


def scored(name, dictionary, *candidates, remove_bpe="@@ "):
    gold = rows(dictionary, GOLD, SECOND)
    owners = torch.zeros(len(candidates)).long()
    return rewards(
        name, rows(dictionary, *candidates), gold, owners, dictionary, remove_bpe
    ).tolist()


def test_text(dictionary):
    assert texts("candidate", rows(dictionary, GOLD, "bank"), dictionary, "@@ ") == [
        "eine kleine katze schläft auf der bank",
        "bank",
    ]


def test_bleu_and_chrf_are_sacrebleus(dictionary):
    gold = GOLD.replace("@@ ", "")
    for name, metric in {
        "bleu": sacrebleu.BLEU(effective_order=True, tokenize="none"),
        "chrf": sacrebleu.CHRF(),
    }.items():
        got = scored(name, dictionary, FIRST, SECOND, GOLD)
        want = [
            metric.sentence_score(text.replace("@@ ", ""), [gold]).score / 100
            for text in (FIRST, SECOND, GOLD)
        ]
        assert got == pytest.approx(want)
        assert 0 < got[0] < 1 and got[2] == pytest.approx(1)


def test_rouge_l_by_hand(dictionary):
    """9 words against 6, 5 in common order (eine katze schläft auf der ... bank has 6): F1."""
    got = scored("rouge_l", dictionary, FIRST, GOLD, SECOND)
    precision, recall = 6 / 10, 6 / 7
    assert got[0] == pytest.approx(2 * precision * recall / (precision + recall))
    assert got[1] == 1
    assert got[2] == pytest.approx(2 * (1 / 6) * (1 / 7) / (1 / 6 + 1 / 7))


def test_repetition_is_minus_what_diversity_lacks(dictionary):
    got = scored("repetition", dictionary, FIRST, SECOND, GOLD)
    for value, text in zip(got, (FIRST, SECOND, GOLD), strict=True):
        tokens = [*text.split(), "</s>"]
        diversity = 1.0
        for n in (2, 3, 4):
            diversity *= 1 - repetition(tokens, n)
        assert value == pytest.approx(diversity - 1)
    assert got[2] == 0 > got[0] > got[1]


@pytest.mark.parametrize("name", ["bleu", "chrf", "rouge_l"])
def test_an_unknown_word_matches_nothing(dictionary, name):
    """Not an unknown one, and no letter of a known one."""
    for word in ("hyp", "unknown", "ref", "<unk>", "unk"):
        dictionary.add_symbol(word)
    gold = rows(dictionary, "bank unbekannt katze")
    candidates = ("? ? ?", "? schläft ?", "unknown hyp ref", "unk", "bank hyp katze")
    owners = torch.zeros(len(candidates)).long()
    got = rewards(name, rows(dictionary, *candidates), gold, owners, dictionary, "@@ ").tolist()
    if name == "chrf":  # bank has letters of unknown, and katze of schläft
        assert got[0] == 0 < max(got[1:4]) < got[4] / 3
    else:
        assert got[:4] == [0, 0, 0, 0] and got[4] > 0.3
    same = rewards(name, gold, gold, torch.tensor([0]), dictionary, "@@ ").item()
    assert same < 1 if name != "rouge_l" else same == pytest.approx(2 / 3)


def test_unknown_words_in_chrf(dictionary):
    """What is wrong everywhere is worth nothing, and what has two words of three right more."""
    for word in ("aaa", "bbb", "ccc", "ddd"):
        dictionary.add_symbol(word)
    gold = rows(dictionary, "aaa ? bbb")
    candidates = rows(dictionary, "ccc ? ddd", "? ? ?", "aaa ccc bbb", "aaa ? bbb")
    got = rewards("chrf", candidates, gold, torch.zeros(4).long(), dictionary, None).tolist()
    assert got[:2] == [0, 0] and got[2] > 0.1 and got[3] > 0.1


@pytest.mark.parametrize("name", REWARDS)
def test_nothing_written(dictionary, name):
    eos = torch.tensor([[dictionary.eos()]])
    got = rewards(name, eos, rows(dictionary, GOLD), torch.tensor([0]), dictionary, None)
    assert got.tolist() == [0]
