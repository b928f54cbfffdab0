"""Metrics of summaries: ROUGE, repetition, length, and what is taken from the source.

ROUGE: C.-Y. Lin, *ROUGE: A Package for Automatic Evaluation of Summaries*, 2004; rouge-score's.
ROUGE-Lsum compares sentences, which are found by a rule that needs no model.

Novel n-grams: A. See et al., *Get To The Point: Summarization with Pointer-Generator Networks*, ACL
2017, arXiv:1704.04368, figure 6; S. Narayan et al., *Don't Give Me the Details, Just the Summary!*,
EMNLP 2018, arXiv:1808.08745, table 1.

Extractive fragments: M. Grusky et al., *Newsroom: A Dataset of 1.3 Million Summaries with Diverse
Extractive Strategies*, NAACL 2018, arXiv:1804.11283, section 4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import regex
from rouge_score.rouge_scorer import RougeScorer

from genft_fairseq.metrics.question_answering import rouge_tokenizer
from genft_fairseq.metrics.repetition import repetition
from genft_fairseq.metrics.significance import mean_interval, mean_p_value
from genft_fairseq.metrics.unknown_words import marked
from genft_fairseq.metrics.words import BY_CHARACTER, words_of

ROUGE = {
    "rouge1": "rouge_1",
    "rouge2": "rouge_2",
    "rougeL": "rouge_l",
    "rougeLsum": "rouge_lsum",
}

LENGTHS = (1, 2, 3, 4)

# What two systems are compared by.
COMPARED = (*ROUGE.values(), *(f"rep_{n}" for n in LENGTHS), "repeats_trigram", "words")

# The scores of one text by metric; None: it is too short to tell.
Scores = dict[str, float | None]

# Between sentences, as PreSumm writes summaries; a line feed parts them, too.
MARK = "<q>"

# Signs that a space must follow (of Latin, Arabic, Indic, Ethiopic, Burmese and Tibetan text), and
# those of scripts without spaces.
_END = regex.compile(
    r"""(?P<sign>[.!?…\u061f\u06d4\u0964\u0965\u1362\u104b\u0f0d]+)
        (?P<close>[\p{Pe}\p{Pf}"'“]*) \s+
      | [。！？｡]+ [\p{Pe}\p{Pf}"'“]* \s*""",
    regex.VERBOSE,
)

_OPENING = regex.compile(r"[\p{Ps}\p{Pi}\p{Pf}\"'`„]*")

_LAST_WORD = regex.compile(r"[\p{L}\p{M}\p{N}.]*$")

_INITIALS = regex.compile(r"(\p{L}\.)*\p{L}")

# What stands before a name, and what stands before a number.
_TITLES = frozenset(
    "mr mrs ms dr prof st sen rep gov gen col lt capt sgt hon rev pres supt mme mlle vs".split()
)

_NUMBERED = frozenset(
    "no nos nr fig vol pp art jan feb mar apr jun jul aug sep sept oct nov dec".split()
)


@dataclass(frozen=True)
class Example:
    """A summary with what it is scored against.

    Attributes:
        summary: of the system.
        reference: the right one.
        source: what is summarised; None: it is not known.
        baseline: the summary of another system; None: there is none.
    """

    summary: str
    reference: str
    source: str | None = None
    baseline: str | None = None


@dataclass(frozen=True)
class Scored:
    """The scores of the texts of one example; of the reference there is no ROUGE."""

    summary: Scores
    reference: Scores
    baseline: Scores | None = None


class Source:
    """The words of what is summarised, and where they stand.

    Args:
        words: in order.
    """

    def __init__(self, words: Sequence[str]):
        self.words = words

    @cached_property
    def ngrams(self) -> dict[int, set[tuple[str, ...]]]:
        """Its n-grams by n."""
        return {n: ngrams(self.words, n) for n in LENGTHS}

    @cached_property
    def places(self) -> dict[str, list[int]]:
        """Where each word stands."""
        found: dict[str, list[int]] = {}
        for place, word in enumerate(self.words):
            found.setdefault(word, []).append(place)
        return found


class SummaryScorer:
    """Scores summaries one by one.

    ROUGE-1, ROUGE-2 and ROUGE-L are of the whole text, ROUGE-Lsum of its ``sentences``; F-measure,
    precision and recall. In English the tokens are rouge-score's own, a-z and 0-9, stemmed as those
    of published results are; in other languages those of ``UnicodeTokenizer``; an unknown word
    (``<unk>``) matches nothing. All other metrics are over ``words_of`` a text: no punctuation,
    lower case; letters one by one in the languages of ``BY_CHARACTER``.

    Args:
        language: one of ``LANGUAGES``.
        stemming: of English, by Porter's algorithm.
    """

    def __init__(self, language: str = "en", stemming: bool = True):
        self.by_character = language in BY_CHARACTER
        tokenizer, self.rouge_tokeniser = rouge_tokenizer(language, stemming)
        self._rouge = RougeScorer(list(ROUGE), tokenizer=tokenizer)

    def score(self, example: Example) -> Scored:
        """Score the texts of an example.

        Returns:
            for each text ``rep_1`` to ``rep_4``, the share of its n-grams that repeat an earlier
            one; ``repeats_trigram``, 1 or 0; ``words``, how many; where the source is known
            ``novel_1`` to ``novel_4`` and ``coverage``, ``density`` and ``compression`` of
            ``extractiveness``. For summaries ``rouge_1``, ``rouge_2``, ``rouge_l`` and
            ``rouge_lsum`` in [0, 1] as well: the F-measure, and with ``_precision`` and ``_recall``
            behind the name these.
        """
        source = None if example.source is None else Source(self._words(example.source))

        def of_system(text: str) -> Scores:
            return self._rouge_scores(text, example.reference) | self._measures(text, source)

        return Scored(
            of_system(example.summary),
            self._measures(example.reference, source),
            None if example.baseline is None else of_system(example.baseline),
        )

    def _words(self, text: str) -> list[str]:
        return words_of(plain(text), self.by_character)

    def _rouge_scores(self, summary: str, reference: str) -> Scores:
        # rouge-score takes lines for sentences, and in other metrics for spaces.
        given, right = ("\n".join(sentences(text)) for text in (summary, reference))
        (given,), (right,) = marked([given], "candidate"), marked([right], "reference")
        scores: Scores = {}
        for key, found in self._rouge.score(right, given).items():
            scores[ROUGE[key]] = float(found.fmeasure)
            scores[f"{ROUGE[key]}_precision"] = float(found.precision)
            scores[f"{ROUGE[key]}_recall"] = float(found.recall)
        return scores

    def _measures(self, text: str, source: Source | None) -> Scores:
        words = self._words(text)
        scores: Scores = {f"rep_{n}": repetition(words, n) for n in LENGTHS}
        scores["repeats_trigram"] = float(bool(scores["rep_3"]))
        scores["words"] = float(len(words))
        if source is not None:
            scores |= {f"novel_{n}": novel_ngrams(words, source, n) for n in LENGTHS}
            scores |= fragment_metrics(words, source)
        return scores


def summary_metrics(scores: Sequence[Scores]) -> dict[str, Any]:
    """Average the scores of texts, each over those that are long enough to have one.

    Args:
        scores: at least one, all of the same names.

    Returns:
        the means by the names of the scores (None where no text has one); for each of them
        ``..._interval``, [low, high], the 95% interval of a bootstrap over the texts (None for a
        single one); ``rep_n_too_short``, how many texts have no n-gram: these are left out of
        ``rep_n`` and ``novel_n``; ``empty_summaries``, how many have no word.
    """
    columns = {name: _column(scores, name) for name in scores[0]}
    metrics: dict[str, Any] = {
        name: sum(values) / len(values) if values else None for name, values in columns.items()
    }
    metrics |= {f"{name}_interval": mean_interval(columns[name]) for name in columns}
    short = {n: len(scores) - len(columns[f"rep_{n}"]) for n in LENGTHS}
    metrics |= {f"rep_{n}_too_short": number for n, number in short.items()}
    return metrics | {"empty_summaries": columns["words"].count(0.0)}


def length_ratio(metrics: Mapping[str, Any], references: Mapping[str, Any]) -> float | None:
    """Return the words of the summaries for each word of the references, over all together."""
    return metrics["words"] / references["words"] if references["words"] else None


def p_values(baseline: Sequence[Scores], scores: Sequence[Scores]) -> dict[str, float | None]:
    """Compare two systems on the same sources, in the same order.

    Returns:
        ``..._p_value`` of each metric of ``COMPARED``, by ``mean_p_value`` over the examples in
        which both systems' texts are long enough to have it; None for fewer than two of these.
    """
    found: dict[str, float | None] = {}
    for name in COMPARED:
        pairs = zip((s[name] for s in baseline), (s[name] for s in scores), strict=True)
        both = [(before, after) for before, after in pairs if None not in (before, after)]
        before, after = ([float(p[i] or 0) for p in both] for i in (0, 1))
        found[f"{name}_p_value"] = mean_p_value(before, after) if len(both) > 1 else None
    return found


def novel_ngrams(words: Sequence[str], source: Source, n: int) -> float | None:
    """Return the share of a text's distinct n-grams that its source does not have.

    An n-gram counts once, however often the text has it: repetition is no novelty.

    Args:
        words: of the summary.
        source: what it summarises.
        n: of ``LENGTHS``.

    Returns:
        a share in [0, 1], or None for a text shorter than n.
    """
    own = ngrams(words, n)
    return len(own - source.ngrams[n]) / len(own) if own else None


def fragments(words: Sequence[str], source: Source) -> list[int]:
    """Return the lengths of the fragments of the source that a text is made of.

    Greedy, as in figure 3 of the paper: from the first word on, the longest run of words that the
    source has, then on behind it. As there, occurrences in the source that overlap with one already
    tried are not looked at.
    """
    found = []
    begin = 0
    while begin < len(words):
        longest = untried = 0
        for place in source.places.get(words[begin], ()):
            if place < untried:
                continue
            length = _shared(words, begin, source.words, place)
            longest, untried = max(longest, length), place + length
        if longest:
            found.append(longest)
        begin += max(longest, 1)
    return found


def fragment_metrics(words: Sequence[str], source: Source) -> dict[str, float | None]:
    """Compute what the fragments of a text tell.

    Returns:
        ``coverage``, the share of its words that stand in a fragment; ``density``, the mean length
        (words) of the fragment that a word stands in, 0 outside; ``compression``, the words of the
        source for each of its own. All are None for a text without words.
    """
    if not words:
        return dict.fromkeys(("coverage", "density", "compression"))
    lengths = fragments(words, source)
    return {
        "coverage": sum(lengths) / len(words),
        "density": sum(length**2 for length in lengths) / len(words),
        "compression": len(source.words) / len(words),
    }


def sentences(text: str) -> list[str]:
    """Split a text into sentences: at its marks, or where it has none by a rule.

    A sentence ends at ``.``, ``!``, ``?`` or the like of other scripts, with the quotation marks
    and brackets that close there, before a space, unless a small letter follows; and at the
    full-width signs of Chinese and Japanese, before anything. A full stop ends none after a single
    letter (*J. Smith*, *U.S.*), after some English titles (*Mr.*), and between words that number
    and a number (*No. 5*). A sign between spaces, as in text that is split into words, ends one
    whatever follows.

    Letters of which scripts have no small ones follow any end; abbreviations of other languages
    are not known. No word is cut, so that metrics other than ROUGE-Lsum do not change.

    Args:
        text: where it holds ``MARK`` or a line feed, the rule is not applied.

    Returns:
        the sentences without spaces around them; none is empty.
    """
    if MARK in text or "\n" in text:
        parts = regex.split(rf"{MARK}|\n", text)
    else:
        ends = [found.end() for found in _END.finditer(text) if not _goes_on(text, found)]
        borders = [0, *ends, len(text)]
        parts = [text[a:b] for a, b in pairwise(borders)]
    return [part.strip() for part in parts if part.strip()]


def plain(text: str) -> str:
    """Return a text without the marks between its sentences."""
    return " ".join(filter(None, map(str.strip, regex.split(rf"{MARK}|\n", text))))


def ngrams(words: Sequence[str], n: int) -> set[tuple[str, ...]]:
    """Return the distinct n-grams of words in a row."""
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def _column(scores: Sequence[Scores], name: str) -> list[float]:
    return [value for score in scores if (value := score[name]) is not None]


def _goes_on(text: str, found: regex.Match[str]) -> bool:
    """Tell whether a sentence does not end where it could."""
    sign, begin = found["sign"], found.start()
    if sign is None:
        return False
    opening = _OPENING.match(text, found.end())
    following = text[opening.end() : opening.end() + 1] if opening else ""
    if len(sign) == 1 and (begin == 0 or text[begin - 1].isspace()):
        return False
    if following.islower():
        return True
    before = _LAST_WORD.search(text, max(0, begin - 40), begin)
    word = before[0] if before else ""
    if sign != "." or found["close"] or not word:
        return False
    if _INITIALS.fullmatch(word) or word.lower() in _TITLES:
        return True
    return following.isdigit() and word.lower() in _NUMBERED


def _shared(words: Sequence[str], begin: int, others: Sequence[str], place: int) -> int:
    length = 0
    room = min(len(words) - begin, len(others) - place)
    while length < room and words[begin + length] == others[place + length]:
        length += 1
    return length
