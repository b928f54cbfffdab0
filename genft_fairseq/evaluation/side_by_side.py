"""Summaries beside their references, as text for people to read."""

import io
from functools import cache

from rich.console import Console
from rich.text import Text

from genft_fairseq.evaluation.sentences import plain
from genft_fairseq.evaluation.summarization import Example, Scored, Scores
from genft_fairseq.evaluation.word_spans import mark_repeated

WIDTH = 100
# Characters of a source that are shown.
BEGINNING = 400
_LABEL = 11
_TITLES = {
    "rouge_1": "ROUGE-1",
    "rouge_2": "ROUGE-2",
    "rouge_l": "ROUGE-L",
    "rouge_lsum": "ROUGE-Lsum",
}


def example_text(
    number: int, example: Example, scored: Scored, by_character: bool, width: int = WIDTH
) -> str:
    """Return an example as text: source, reference, summaries and scores, as far as there are any.

    Of the source only the beginning. Words of trigrams that occurred earlier in the same summary
    stand between ``⟦`` and ``⟧``.

    Args:
        number: of the example, from 1.
        example: the texts.
        scored: the scores.
        by_character: letters are the words; see ``SummaryScorer``.
        width: no line is wider, in columns; 40 at least.
    """
    rows = {"reference": plain(example.reference)}
    if example.source is not None:
        rows = {"source": _beginning(plain(example.source)), **rows}
    for name, text, scores in (
        ("baseline", example.baseline, scored.baseline),
        ("summary", example.summary, scored.summary),
    ):
        if text is not None and scores is not None:
            rows[name] = mark_repeated(plain(text), 3, by_character)
            rows[f"{name} scores"] = _score_line(scores)
    rows["lengths"] = _length_line(scored, "characters" if by_character else "words")
    written = [f"== {number}"]
    for name, text in rows.items():
        label = "" if name.endswith(" scores") else name
        written += [
            f"{'' if line else label:{_LABEL}}{part}".rstrip()
            for line, part in enumerate(_wrapped(text, max(width, 40) - _LABEL))
        ]
    return "\n".join(written) + "\n\n"


def _beginning(text: str) -> str:
    if len(text) <= BEGINNING:
        return text
    kept = text[:BEGINNING]
    head, space, _ = kept.rpartition(" ")
    return (head if space else kept) + " …"


def _score_line(scores: Scores) -> str:
    parts = [f"{title} {100 * (scores[name] or 0):.1f}" for name, title in _TITLES.items()]
    repeated = scores["rep_3"]
    parts.append("rep-3 " + ("-" if repeated is None else f"{100 * repeated:.1f}%"))
    novel = scores.get("novel_2")
    if novel is not None:
        parts.append(f"novel bigrams {100 * novel:.0f}%")
    return ", ".join(parts)


def _length_line(scored: Scored, unit: str) -> str:
    of_texts = {
        "reference": scored.reference,
        "baseline": scored.baseline,
        "summary": scored.summary,
    }
    known = [f"{name} {scores['words']:.0f}" for name, scores in of_texts.items() if scores]
    return f"{', '.join(known)} {unit}"


def _wrapped(text: str, width: int) -> list[str]:
    """Split into lines; a wide letter takes two columns, and what has no spaces is cut."""
    lines = Text(" ".join(text.split())).wrap(_measuring(), width)
    return [line.plain.rstrip() for line in lines] or [""]


@cache
def _measuring() -> Console:
    return Console(file=io.StringIO(), width=WIDTH)
