"""Metrics of question answering: exact match and F1, evidence, BLEU and ROUGE of long answers.

Exact match and F1 of short answers, in any language, after the normalisation of SQuAD and MLQA:
P. Rajpurkar et al., *SQuAD: 100,000+ Questions for Machine Comprehension of Text*, EMNLP 2016
(arXiv:1606.05250), section 6.1, with the rule of version 2.0 for answers of which nothing is left;
P. Lewis et al., *MLQA: Evaluating Cross-lingual Extractive Question Answering*, ACL 2020
(arXiv:1910.07475), with the rules of its evaluation (facebookresearch/MLQA,
mlqa_evaluation_v1.py).

Evidence: whether the passages hold the answer, as retrieved and as a model points at them. Source
pointing: S. Hofstätter et al., *FiD-Light*, SIGIR 2023 (arXiv:2209.14290): the model names the
passage that its answer comes from, which then moves to the front.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import regex
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer, Tokenizer

from genft_fairseq.errors import UserError
from genft_fairseq.metrics.significance import mean_interval, mean_p_value
from genft_fairseq.metrics.unknown_words import MARK, marked
from genft_fairseq.metrics.words import BY_CHARACTER, CHARACTER, LANGUAGES, WORD, composed

# Of the languages compared by characters, MLQA has a rule of its own for answers in Chinese.
_ANSWERS_BY_CHARACTER = BY_CHARACTER - {"zh"}

# Korean has spaces between words, and KorQuAD's exact match sees them.
_WITHOUT_SPACES = _ANSWERS_BY_CHARACTER - {"ko"}

# What counts as an article in MLQA's evaluation.  Python's own \b, as there: a combining mark ends
# a word.
_ARTICLES = {
    "en": re.compile(r"\b(?:a|an|the)\b"),
    "de": re.compile(r"\b(?:ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "es": re.compile(r"\b(?:un|una|unos|unas|el|la|los|las)\b"),
    "vi": re.compile(r"\b(?:của|là|cái|chiếc|những)\b"),
    "ar": re.compile("ال"),  # wherever the two letters stand, inside a word as well
}

# SQuAD's are ASCII's 32 signs, nine of which ($+<=>^`|~) Unicode files under symbols.
_PUNCTUATION = regex.compile(rf"[\p{{P}}{regex.escape(string.punctuation)}]")

# The range that MLQA takes for Chinese characters; what is outside it is split at spaces.
_CHINESE = "\u4e00-\u9fa5"

_CHINESE_SEGMENTS = re.compile(rf"[{_CHINESE}]|[^\s{_CHINESE}]+")

# k of recall at k.
RANKS = (1, 5, 20, 100)

# For each question, whether each of its passages holds a right answer, the one retrieved first at
# the front.
Holds = Sequence[Sequence[bool]]

ROUGE = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l"}


@dataclass(frozen=True)
class Score:
    """How one answer compares with the right ones: the best over them, for each metric alone."""

    exact_match: bool
    f1: float


def score(prediction: str, answers: Sequence[str], language: str = "en") -> Score:
    """Compare an answer with every right one.

    The exact match is of normalised strings. F1 is the harmonic mean of precision and recall of the
    tokens, as a multiset: what ``normalised`` leaves between spaces, or in the languages of
    ``BY_CHARACTER`` other than Chinese characters (code points) other than spaces, as KorQuAD
    counts them (S. Lim et al., 2019, arXiv:1909.07005).

    A right answer of which normalisation leaves nothing (*The*) does not count beside others; where
    all are such, an answer is right (both metrics 1) if nothing is left of it either. That is SQuAD
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


def without_letters(answers: Sequence[str], language: str = "en") -> bool:
    """Tell whether normalisation leaves nothing of any of the answers."""
    return not any(normalised(answer, language) for answer in answers)


def answer_metrics(scores: Sequence[Score]) -> dict[str, Any]:
    """Average the scores of a test set, with how far another test set's could lie.

    Returns:
        ``exact_match`` and ``f1`` in [0, 1]; ``exact_match_interval`` and ``f1_interval``, [low,
        high]: 95% intervals of a bootstrap over the questions (None for a single question).
    """
    columns = _columns(scores)
    means = {name: sum(values) / len(values) for name, values in columns.items()}
    return means | {f"{name}_interval": mean_interval(v) for name, v in columns.items()}


def paired_metrics(baseline: Sequence[Score], scores: Sequence[Score]) -> dict[str, Any]:
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


def recall_metrics(holds: Holds) -> dict[str, float]:
    """Return the share of questions with a passage that holds an answer among the first k.

    Returns:
        ``recall_k`` for k of ``RANKS``, as far as a question has so many passages, and
        ``recall_all`` over all passages; nothing where no question has any.
    """
    most = max(map(len, holds), default=0)
    if not most:
        return {}
    ranks = {f"recall_{k}": k for k in RANKS if k <= most} | {"recall_all": most}
    return {name: sum(any(row[:k]) for row in holds) / len(holds) for name, k in ranks.items()}


def pointing_metrics(
    holds: Holds, pointers: Sequence[int | None], read: int | None = None
) -> dict[str, Any]:
    """Judge the passages that a model names as its evidence.

    Args:
        holds: see ``Holds``.
        pointers: what each answer names: a passage, from 1; 0: none of them; None: nothing.
        read: of how many passages the model had to choose; None: of all of them.

    Returns:
        ``evidence_accuracy``: the share of questions whose passage holds an answer, or whose 0 is
        right because none of those read does.  Of ``with_evidence`` questions (some passage read
        holds an answer) ``pointed_accuracy`` points at such a one; of ``without_evidence`` ones
        ``none_accuracy`` says 0 (each None where there is no such question).  ``pointed_nowhere``
        counts answers that name nothing, or a passage that was not read: all wrong.
        ``reranked_recall_k``: see ``recall_metrics``, after ``reranked``.
    """
    seen = [list(row[:read]) for row in holds]
    right: dict[bool, list[bool]] = {True: [], False: []}
    nowhere = 0
    for row, pointer in zip(seen, pointers, strict=True):
        if pointer is None or pointer > len(row):
            nowhere += 1
            right[any(row)].append(False)
        else:
            right[any(row)].append(row[pointer - 1] if pointer else not any(row))
    within = [p if p and p <= len(row) else 0 for row, p in zip(seen, pointers, strict=True)]
    recalls = recall_metrics(reranked(holds, within))
    return {
        "evidence_accuracy": _share(right[True] + right[False]),
        "pointed_accuracy": _share(right[True]),
        "with_evidence": len(right[True]),
        "none_accuracy": _share(right[False]),
        "without_evidence": len(right[False]),
        "pointed_nowhere": nowhere,
        **{f"reranked_{name}": value for name, value in recalls.items()},
    }


def reranked(holds: Holds, pointers: Sequence[int | None]) -> list[list[bool]]:
    """Move the passage that each question's answer points at to the front.

    Args:
        holds: see ``Holds``.
        pointers: passages from 1; 0, None or a passage that is not there moves nothing.
    """
    moved = []
    for row, pointer in zip(holds, pointers, strict=True):
        at = pointer if pointer and pointer <= len(row) else 0
        moved.append([*row[at - 1 : at], *row[: at - 1], *row[at:]] if at else list(row))
    return moved


def long_answer_metrics(
    predictions: Sequence[str], answers: Sequence[Sequence[str]], language: str = "en"
) -> dict[str, Any]:
    """Compute corpus BLEU, and ROUGE-1, ROUGE-2 and ROUGE-L.

    BLEU is sacreBLEU's against all right answers; its tokeniser is ``13a``, ``zh`` in Chinese and
    ``char`` in the other languages that are compared by characters. ROUGE (C.-Y. Lin, 2004) is
    rouge-score's F-measure, of the right answer where it is largest, averaged over the questions;
    in English by rouge-score's own tokeniser without stemming, which keeps a-z and 0-9 alone, as
    published results are; elsewhere by ``UnicodeTokenizer``. An unknown word (``<unk>``) matches
    nothing.

    Args:
        predictions: an answer a question.
        answers: the right ones of each question, at least one each.
        language: one of ``LANGUAGES``.

    Returns:
        ``bleu`` in [0, 100], ``bleu_signature``, ``rouge_1``, ``rouge_2`` and ``rouge_l`` in
        [0, 1], ``rouge_tokeniser``.
    """
    by_character = language in BY_CHARACTER
    bleu = sacrebleu.BLEU(tokenize="zh" if language == "zh" else "char" if by_character else "13a")
    predictions = marked(predictions, "candidate")
    answers = [marked(right, "reference") for right in answers]
    most = max(map(len, answers))
    # sacreBLEU wants the first answers of all, the second ones, ...: None where there is none.
    streams = [[right[i] if i < len(right) else None for right in answers] for i in range(most)]
    found = bleu.corpus_score(predictions, streams)  # type: ignore[arg-type]
    tokenizer, name = rouge_tokenizer(language, stemming=False)
    scorer = RougeScorer(list(ROUGE), tokenizer=tokenizer)
    scores = [
        scorer.score_multi(right, prediction)
        for right, prediction in zip(answers, predictions, strict=True)
    ]
    return {
        "bleu": found.score,
        "bleu_signature": str(bleu.get_signature()),
        **{
            name: sum(score[key].fmeasure for score in scores) / len(scores)
            for key, name in ROUGE.items()
        },
        "rouge_tokeniser": name,
    }


def rouge_tokenizer(language: str, stemming: bool) -> tuple[Tokenizer, str]:
    """Return what splits text for ROUGE, and its name; a mark of an unknown word is a token.

    Args:
        language: ``en`` has rouge-score's own, the others of ``LANGUAGES`` ``UnicodeTokenizer``.
        stemming: of English alone.
    """
    if language == "en":
        how = "with" if stemming else "without"
        own = DefaultTokenizer(use_stemmer=stemming)
        return _KeepsUnknown(own), f"rouge-score's, {how} stemming"
    by_character = language in BY_CHARACTER
    name = f"Unicode {'characters' if by_character else 'words'}"
    return _KeepsUnknown(UnicodeTokenizer(by_character)), name


class UnicodeTokenizer(Tokenizer):
    """Words of letters, marks and digits of any script, or these one by one, in lower case.

    rouge-score's own tokeniser drops every letter that is not one of English's 26.
    """

    def __init__(self, by_character: bool):
        self.by_character = by_character

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        pattern = CHARACTER if self.by_character else WORD
        return pattern.findall(composed(text, self.by_character).lower())


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


def _columns(scores: Sequence[Score]) -> dict[str, list[float]]:
    return {name: [float(getattr(s, name)) for s in scores] for name in ("exact_match", "f1")}


def _share(right: Sequence[bool]) -> float | None:
    return sum(right) / len(right) if right else None


class _KeepsUnknown(Tokenizer):
    """Makes a token of each mark of an unknown word, which the tokeniser itself would drop."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        tokens: list[str] = []
        for part in MARK.split(text):
            tokens += [part] if MARK.fullmatch(part) else self.tokenizer.tokenize(part)
        return tokens
