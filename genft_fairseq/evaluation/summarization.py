"""Figures of summaries: ROUGE, repetition, length, and what is taken from the source.

ROUGE: C.-Y. Lin, *ROUGE: A Package for Automatic Evaluation of Summaries*, 2004; rouge-score's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rouge_score.rouge_scorer import RougeScorer

from genft_fairseq.evaluation.extractiveness import LENGTHS, Source, fragment_figures, novel_ngrams
from genft_fairseq.evaluation.long_answers import rouge_tokenizer
from genft_fairseq.evaluation.question_answering import BY_CHARACTER
from genft_fairseq.evaluation.repetition import repetition
from genft_fairseq.evaluation.sentences import plain, sentences
from genft_fairseq.evaluation.significance import mean_interval, mean_p_value
from genft_fairseq.evaluation.word_spans import words_of
from genft_fairseq.generation.unknown_words import marked

# What one text is worth, by the name of the figure; None: it is too short to tell.
Scores = dict[str, float | None]

ROUGE = {
    "rouge1": "rouge_1",
    "rouge2": "rouge_2",
    "rougeL": "rouge_l",
    "rougeLsum": "rouge_lsum",
}
# What two systems are compared by.
COMPARED = (*ROUGE.values(), *(f"rep_{n}" for n in LENGTHS), "repeats_trigram", "words")


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


class SummaryScorer:
    """Scores summaries one by one.

    ROUGE-1, ROUGE-2 and ROUGE-L are of the whole text, ROUGE-Lsum of its ``sentences``; F-measure,
    precision and recall. In English the tokens are rouge-score's own, a-z and 0-9, stemmed as those
    of published figures are; in other languages those of ``UnicodeTokenizer``; an unknown word
    (``<unk>``) matches nothing. All other figures
    are over ``words_of`` a text: no punctuation, lower case; letters one by one in the languages
    of ``BY_CHARACTER``.

    Args:
        language: one of ``question_answering.LANGUAGES``.
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
        # rouge-score takes lines for sentences, and in other figures for spaces.
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
            scores |= fragment_figures(words, source)
        return scores


def summary_figures(scores: Sequence[Scores]) -> dict[str, Any]:
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
    figures: dict[str, Any] = {
        name: sum(values) / len(values) if values else None for name, values in columns.items()
    }
    figures |= {f"{name}_interval": mean_interval(columns[name]) for name in columns}
    short = {n: len(scores) - len(columns[f"rep_{n}"]) for n in LENGTHS}
    figures |= {f"rep_{n}_too_short": number for n, number in short.items()}
    return figures | {"empty_summaries": columns["words"].count(0.0)}


def _column(scores: Sequence[Scores], name: str) -> list[float]:
    return [value for score in scores if (value := score[name]) is not None]


def length_ratio(figures: Mapping[str, Any], references: Mapping[str, Any]) -> float | None:
    """Return the words of the summaries for each word of the references, over all together."""
    return figures["words"] / references["words"] if references["words"] else None


def p_values(baseline: Sequence[Scores], scores: Sequence[Scores]) -> dict[str, float | None]:
    """Compare two systems on the same sources, in the same order.

    Returns:
        ``..._p_value`` of each figure of ``COMPARED``, by ``mean_p_value`` over the examples in
        which both systems' texts are long enough to have it; None for fewer than two of these.
    """
    found: dict[str, float | None] = {}
    for name in COMPARED:
        pairs = zip((s[name] for s in baseline), (s[name] for s in scores), strict=True)
        both = [(before, after) for before, after in pairs if None not in (before, after)]
        before, after = ([float(p[i] or 0) for p in both] for i in (0, 1))
        found[f"{name}_p_value"] = mean_p_value(before, after) if len(both) > 1 else None
    return found
