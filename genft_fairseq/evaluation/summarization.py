"""Evaluation of summaries: a checkpoint or a file of summaries, scored.

Summaries beside their references, as text for people to read.

One evaluation of summaries: what is asked of it, in order.
"""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from genft_fairseq.data.subwords import Detokeniser, text_form
from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.decoding import Begin, Decoding, decode
from genft_fairseq.evaluation.loading import load_reader, open_split
from genft_fairseq.evaluation.predictions import SUMMARIES, read_written
from genft_fairseq.evaluation.raw_text import raw_files, read_text
from genft_fairseq.metrics.summarization import (
    Example,
    Scored,
    Scores,
    SummaryScorer,
    length_ratio,
    p_values,
    plain,
    summary_metrics,
)
from genft_fairseq.metrics.words import mark_repeated

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


@dataclass(frozen=True)
class SummaryDecoding(Decoding):
    """How summaries are searched for; the defaults are fairseq-generate's.

    Attributes:
        max_len_a: the most tokens are ``max_len_a`` times those of the source, its end included,
            and ``max_len_b``.
        min_len: the fewest tokens, without the end.
    """

    beam: int = 5
    max_len_b: int = 200
    max_len_a: float = 0.0
    min_len: int = 1


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated: a checkpoint on a data folder, or summaries that a file holds.

    Attributes:
        data: the binarized folder.
        path: the checkpoint; None: score ``predictions_from``.
        split: part of the data.
        predictions_from: a file of summaries; see ``read_written``.
        references: a file of the right ones, one a line; None: those of the data folder's ``raw``.
        sources: a file of what they summarise, one a line; None: those of ``raw``, if they are
            there, beside the references of ``raw``.
        baseline: a file of another system's summaries of the same sources, to compare with.
        limit: the first sources only.
        language: of the summaries; one of ``LANGUAGES``.
        stemming: of English, in ROUGE.
        decoding: how summaries are searched for.
        bpe: how pieces make up words; see ``Subwords``.
        tokenizer: how words make up text; see ``text_form``.
        cpu: do not use a GPU.
    """

    data: str | None
    path: str | None = None
    split: str = "test"
    predictions_from: str | None = None
    references: str | None = None
    sources: str | None = None
    baseline: str | None = None
    limit: int | None = None
    language: str = "en"
    stemming: bool = True
    decoding: SummaryDecoding = field(default_factory=SummaryDecoding)
    bpe: str = "auto"
    tokenizer: str = "auto"
    cpu: bool = False


@dataclass(frozen=True)
class Summarized:
    """Sources, their summaries, and how good these are."""

    examples: Sequence[Example]
    scored: Sequence[Scored]
    by_character: bool

    def json_lines(self) -> Iterator[str]:
        """Yield a summary with its reference and scores as JSON, one a line."""
        for example, scored in zip(self.examples, self.scored, strict=True):
            written = {"prediction": example.summary, "reference": example.reference}
            yield json.dumps(written | scored.summary, ensure_ascii=False) + "\n"

    def side_by_side(self, width: int = WIDTH) -> Iterator[str]:
        """Yield the texts of each example for people to read; see ``example_text``."""
        pairs = zip(self.examples, self.scored, strict=True)
        for number, (example, scored) in enumerate(pairs, start=1):
            yield example_text(number, example, scored, self.by_character, width)


@dataclass(frozen=True)
class _Gold:
    """References and sources with the files that they are from."""

    references: list[str]
    of: Path
    sources: list[str] | None
    by: Path | None


def evaluate(asked: Evaluation, begin: Begin) -> tuple[dict[str, Any], Summarized]:
    """Evaluate, and return the figures by name, and the summaries.

    Raises:
        UserError: the model, the files and what is asked of them do not fit.
    """
    gold, text = _gold(asked), _text(asked)
    number = min(asked.limit or len(gold.references), len(gold.references))
    baseline = None
    if asked.baseline:  # whatever does not fit is said before the work
        baseline = _paired(Path(asked.baseline), gold, number, text)
    if asked.path is None:
        summaries = _paired(Path(str(asked.predictions_from)), gold, number, text)
        decoded: dict[str, Any] = {}
    else:
        summaries, decoded = _decode(asked, gold, number, text, begin)
    examples = [
        Example(
            summary,
            gold.references[index],
            gold.sources[index] if gold.sources else None,
            baseline[index] if baseline else None,
        )
        for index, summary in enumerate(summaries)
    ]
    scorer = SummaryScorer(asked.language, asked.stemming)
    progress = begin("scoring", number)
    scored = []
    for example in examples:
        scored.append(scorer.score(example))
        progress(1)
    metrics = {
        **{name: getattr(asked, name) for name in ("path", "predictions_from", "data")},
        "references": str(gold.of),
        "sources": str(gold.by) if gold.by else None,
        "split": asked.split if asked.data else None,
        "language": asked.language,
        "rouge_tokeniser": scorer.rouge_tokeniser,
        **decoded,
        **_measures(scored, asked.baseline),
    }
    return metrics, Summarized(examples, scored, scorer.by_character)


def _gold(asked: Evaluation) -> _Gold:
    """Read references and sources; what the flags do not name is in the data folder."""
    sources = Path(asked.sources) if asked.sources else None
    references = Path(asked.references) if asked.references else None
    if asked.data and references is None:
        raw_sources, references = raw_files(Path(asked.data), asked.split)
        if sources is None and raw_sources.is_file():
            sources = raw_sources
    assert references
    right = read_text(references, "reference")
    if sources is None:
        return _Gold(right, references, None, None)
    read = read_text(sources, "source")
    if len(read) != len(right):
        raise UserError(
            f"{sources} holds {len(read)} sources, but {references} {len(right)} references"
        )
    return _Gold(right, references, read, sources)


def _text(asked: Evaluation) -> Detokeniser | None:
    """What makes text of symbols, where a folder tells how they were made."""
    folders = [Path(asked.data)] if asked.data else []
    folders += [Path(asked.path).parent] if asked.path else []
    if not folders:
        return None
    return text_form(folders, asked.bpe, asked.tokenizer).text(asked.language)


def _paired(file: Path, gold: _Gold, number: int, text: Detokeniser | None) -> list[str]:
    """Read summaries of all sources, or of the first ones that are evaluated."""
    found = [written.text for written in read_written(file, text, SUMMARIES)]
    whole = len(gold.references)
    if len(found) not in (whole, number):
        first = f" (the first {number} are evaluated)" if number < whole else ""
        raise UserError(
            f"{file} holds {len(found)} summaries, but {gold.of} {whole} references{first}"
        )
    return found[:number]


def _decode(
    asked: Evaluation, gold: _Gold, number: int, text: Detokeniser | None, begin: Begin
) -> tuple[list[str], dict[str, Any]]:
    data, path = str(asked.data), str(asked.path)
    assert text
    reader = load_reader(data, path, asked.cpu, wording=SUMMARIES)
    dataset = open_split(reader, data, asked.split)
    if len(dataset) != len(gold.references):
        raise UserError(
            f"--split {asked.split}: {data} holds {len(dataset)} binarized sources, but {gold.of} "
            f"{len(gold.references)} references"
        )
    progress = begin("summarising", number)
    found, cost = decode(reader, dataset, number, asked.decoding, progress, SUMMARIES)
    metrics = {**asdict(asked.decoding), **cost.seconds_metrics("summary")}
    return [text(symbols) for symbols in found], metrics


def _measures(scored: Sequence[Scored], baseline: str | None) -> dict[str, Any]:
    scores = [found.summary for found in scored]
    references = summary_metrics([found.reference for found in scored])
    metrics = summary_metrics(scores)
    measures = {
        "summaries": len(scored),
        **metrics,
        "length_ratio": length_ratio(metrics, references),
        "of_references": references,
    }
    others = [found.baseline for found in scored if found.baseline is not None]
    if baseline:
        theirs = summary_metrics(others)
        measures["baseline"] = {
            "predictions": baseline,
            **theirs,
            "length_ratio": length_ratio(theirs, references),
            **p_values(others, scores),
        }
    return measures
