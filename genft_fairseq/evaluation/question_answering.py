"""Exact match and F1 of short answers, after SQuAD's normalisation, in any language.

P. Rajpurkar et al., *SQuAD: 100,000+ Questions for Machine Comprehension of Text*, EMNLP 2016
(arXiv:1606.05250), section 6.1, with the rule of version 2.0 for answers of which nothing is left.
On ASCII text and in English, the figures are those of its official script.
"""

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

# ``other``: words between spaces, no articles taken out (German, French, ...).
LANGUAGES = ("en", "ko", "zh", "ja", "th", "lo", "km", "my", "other")
# Compared letter by letter: no spaces between words, or endings attached to them.
BY_CHARACTER = frozenset({"ko", "zh", "ja", "th", "lo", "km", "my"})
# Korean has spaces between words, and KorQuAD's exact match sees them.
WITHOUT_SPACES = BY_CHARACTER - {"ko"}

_ARTICLES = regex.compile(r"\b(a|an|the)\b")
# SQuAD's are ASCII's 32 signs, nine of which ($+<=>^`|~) Unicode files under symbols.
_PUNCTUATION = regex.compile(rf"[\p{{P}}{regex.escape(string.punctuation)}]")


@dataclass(frozen=True)
class Score:
    """How one answer compares with the right ones: the best over them, for each figure alone."""

    exact_match: bool
    f1: float


def normalised(text: str, language: str = "en") -> str:
    """Return what is compared: lower case, without punctuation, articles and surplus space.

    Two deviations, neither of which changes ASCII text. Punctuation is all of Unicode's (the
    categories P*), as well as ASCII's 32 signs that SQuAD takes out. And the text is composed
    first, so that two codes of the same letter are equal: to NFC; in the languages of
    ``BY_CHARACTER`` to NFKC, where a full-width digit is the digit (and ``²`` is 2).

    Articles (a, an, the) are taken out of English alone. Spaces are taken out where the language
    has none (all of ``BY_CHARACTER`` but Korean). KorQuAD's own script puts a space in the place
    of a bracket or a quotation mark; here they are taken out like all punctuation.

    Raises:
        UserError: a language that is not in ``LANGUAGES``.
    """
    if language not in LANGUAGES:
        raise UserError(f"--language must be one of {', '.join(LANGUAGES)}, but is {language}")
    text = _PUNCTUATION.sub("", composed(text, language in BY_CHARACTER).lower())
    if language == "en":
        text = _ARTICLES.sub(" ", text)
    return ("" if language in WITHOUT_SPACES else " ").join(text.split())


def composed(text: str, by_character: bool) -> str:
    """Compose letters with their marks: NFC, or NFKC of text that is compared by characters."""
    return unicodedata.normalize("NFKC" if by_character else "NFC", text)


def score(prediction: str, answers: Sequence[str], language: str = "en") -> Score:
    """Compare an answer with every right one.

    The exact match is of normalised strings. F1 is the harmonic mean of precision and recall of the
    tokens, as a multiset: words between spaces, or in the languages of ``BY_CHARACTER`` characters
    (code points) other than spaces, as KorQuAD counts them (S. Lim et al., 2019, arXiv:1909.07005).

    A right answer of which normalisation leaves nothing (*The*) does not count beside others; where
    all are such, an answer is right (both figures 1) if nothing is left of it either. An unknown
    word (``<unk>``) matches nothing.

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
    return list("".join(words)) if language in BY_CHARACTER else words


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
