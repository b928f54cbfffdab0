"""Exact match and F1 of short answers, after the normalisation of SQuAD and MLQA, in any language.

P. Rajpurkar et al., *SQuAD: 100,000+ Questions for Machine Comprehension of Text*, EMNLP 2016
(arXiv:1606.05250), section 6.1, with the rule of version 2.0 for answers of which nothing is left.
P. Lewis et al., *MLQA: Evaluating Cross-lingual Extractive Question Answering*, ACL 2020
(arXiv:1910.07475), with the rules of its evaluation (facebookresearch/MLQA,
mlqa_evaluation_v1.py).
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import regex

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.significance import mean_interval, mean_p_value
from genft_fairseq.generation.unknown_words import marked

# The first seven are MLQA's.  ``other``: words between spaces, no articles (French, Russian, ...).
LANGUAGES = (
    *("en", "de", "es", "vi", "ar", "hi", "zh"),
    *("ko", "ja", "th", "lo", "km", "my", "other"),
)
# Languages whose words are characters: no spaces between words, or endings attached to them.
BY_CHARACTER = frozenset({"ko", "zh", "ja", "th", "lo", "km", "my"})
# Of these, MLQA has a rule of its own for answers in Chinese.
_ANSWERS_BY_CHARACTER = BY_CHARACTER - {"zh"}
# Korean has spaces between words, and KorQuAD's exact match sees them.
_WITHOUT_SPACES = _ANSWERS_BY_CHARACTER - {"ko"}


def _any_of(words: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(words.split())})\b")


# What counts as an article in MLQA's evaluation.  Python's own \b, as there: a combining mark ends
# a word.
_ARTICLES = {
    "en": _any_of("a an the"),
    "de": _any_of("ein eine einen einem eines einer der die das den dem des"),
    "es": _any_of("un una unos unas el la los las"),
    "vi": _any_of("của là cái chiếc những"),
    "ar": re.compile("ال"),  # wherever the two letters stand, inside a word as well
}
# SQuAD's are ASCII's 32 signs, nine of which ($+<=>^`|~) Unicode files under symbols.
_PUNCTUATION = regex.compile(rf"[\p{{P}}{regex.escape(string.punctuation)}]")
# The range that MLQA takes for Chinese characters; what is outside it is split at spaces.
_CHINESE = "\u4e00-\u9fa5"
_CHINESE_SEGMENTS = re.compile(rf"[{_CHINESE}]|[^\s{_CHINESE}]+")


@dataclass(frozen=True)
class Score:
    """How one answer compares with the right ones: the best over them, for each figure alone."""

    exact_match: bool
    f1: float


def normalised(text: str, language: str = "en") -> str:
    """Return what is compared: lower case, without punctuation, articles and surplus space.

    The articles of ``_ARTICLES`` become spaces in their language.  Chinese is split into its
    characters and, between them, into words at spaces, with one space between any two.  In the
    other languages of ``BY_CHARACTER`` spaces are taken out, but for Korean.

    On text in NFC the result is that of MLQA's evaluation in its seven languages, and that of
    SQuAD's on ASCII text in English.  Punctuation is all of Unicode's (the categories P*), as well
    as ASCII's 32 signs that SQuAD takes out.  Two deviations: text is composed first, so that two
    codes of the same letter are equal: to NFC; in ``BY_CHARACTER`` without Chinese to NFKC, where a
    full-width digit is the digit (and ``²`` is 2).  And KorQuAD's own script puts a space in the
    place of a bracket or a quotation mark, which here is taken out like all punctuation.

    Raises:
        UserError: a language that is not in ``LANGUAGES``.
    """
    if language not in LANGUAGES:
        raise UserError(f"--language must be one of {', '.join(LANGUAGES)}, but is {language}")
    text = _PUNCTUATION.sub("", composed(text, language in _ANSWERS_BY_CHARACTER).lower())
    if language in _ARTICLES:
        text = _ARTICLES[language].sub(" ", text)
    words = _CHINESE_SEGMENTS.findall(text) if language == "zh" else text.split()
    return ("" if language in _WITHOUT_SPACES else " ").join(words)


def composed(text: str, by_character: bool) -> str:
    """Compose letters with their marks: NFC, or NFKC of text that is compared by characters."""
    return unicodedata.normalize("NFKC" if by_character else "NFC", text)


def score(prediction: str, answers: Sequence[str], language: str = "en") -> Score:
    """Compare an answer with every right one.

    The exact match is of normalised strings. F1 is the harmonic mean of precision and recall of the
    tokens, as a multiset: what ``normalised`` leaves between spaces, or in the languages of
    ``BY_CHARACTER`` other than Chinese characters (code points) other than spaces, as KorQuAD
    counts them (S. Lim et al., 2019, arXiv:1909.07005).

    A right answer of which normalisation leaves nothing (*The*) does not count beside others; where
    all are such, an answer is right (both figures 1) if nothing is left of it either. That is SQuAD
    2.0's rule in every language; MLQA's script and SQuAD 1.1's give such a pair an F1 of 0. An
    unknown word (``<unk>``) matches nothing.

    Args:
        prediction: the answer given.
        answers: right ones, at least one.
        language: one of ``LANGUAGES``.

    Returns:
        the largest exact match, and the largest F1 in [0, 1].

    Raises:
        UserError: no right answer, or an unknown language.
    """
    if not answers:
        raise UserError("an answer cannot be scored without a right one")
    (given,) = (normalised(text, language) for text in marked([prediction], "candidate"))
    known = marked(answers, "reference")
    right = {normalised(answer, language) for answer in known} - {""} or {""}
    tokens = _tokens(given, language)
    f1 = max(_f1(tokens, _tokens(answer, language)) for answer in right)
    return Score(given in right, f1)


def _tokens(text: str, language: str) -> list[str]:
    words = text.split()
    return list("".join(words)) if language in _ANSWERS_BY_CHARACTER else words


def _f1(given: list[str], right: list[str]) -> float:
    if not given or not right:
        return float(given == right)
    shared = sum((Counter(given) & Counter(right)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(given), shared / len(right)
    return 2 * precision * recall / (precision + recall)


def without_letters(answers: Sequence[str], language: str = "en") -> bool:
    """Tell whether normalisation leaves nothing of any of the answers."""
    return not any(normalised(answer, language) for answer in answers)


def answer_figures(scores: Sequence[Score]) -> dict[str, Any]:
    """Average the scores of a test set, with how far another test set's figures could lie.

    Returns:
        ``exact_match`` and ``f1`` in [0, 1]; ``exact_match_interval`` and ``f1_interval``, [low,
        high]: 95% intervals of a bootstrap over the questions (None for a single question).
    """
    columns = _columns(scores)
    means = {name: sum(values) / len(values) for name, values in columns.items()}
    return means | {f"{name}_interval": mean_interval(v) for name, v in columns.items()}


def paired_figures(baseline: Sequence[Score], scores: Sequence[Score]) -> dict[str, Any]:
    """Compare two runs on the same questions, in the same order.

    Returns:
        of the baseline ``exact_match`` and ``f1``; ``exact_match_p_value`` and ``f1_p_value``: of
        the differences, by ``mean_p_value`` (None for a single question).
    """
    before, after = _columns(baseline), _columns(scores)
    means = {name: sum(values) / len(values) for name, values in before.items()}
    return means | {
        f"{name}_p_value": mean_p_value(before[name], after[name]) if len(scores) > 1 else None
        for name in before
    }


def _columns(scores: Sequence[Score]) -> dict[str, list[float]]:
    return {name: [float(getattr(s, name)) for s in scores] for name in ("exact_match", "f1")}
