"""Evaluation of summaries: those of a checkpoint or of a file, scored."""

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from genft_fairseq.data.subwords import Detokeniser
from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.decoding import Decoding, decode
from genft_fairseq.evaluation.loading import Progress, load_encoder_decoder, open_split
from genft_fairseq.evaluation.predictions import detokeniser, read_predictions, read_text
from genft_fairseq.evaluation.translation import RAW_FOLDER
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
from genft_fairseq.metrics.words import BY_CHARACTER, mark_repeated

_BINARIZED = re.compile(r".+\.(?P<source>[^.-]+)-(?P<target>[^.-]+)\.(?P=source)\.idx")

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


def evaluate(
    progress: Progress,
    data: str | None = None,
    path: str | None = None,
    split: str = "test",
    predictions_from: str | None = None,
    references: str | None = None,
    sources: str | None = None,
    baseline: str | None = None,
    limit: int | None = None,
    language: str = "en",
    stemming: bool = True,
    decoding: SummaryDecoding | None = None,
    bpe: str = "auto",
    tokenizer: str = "auto",
    cpu: bool = False,
) -> tuple[dict[str, Any], list[Example], list[Scored]]:
    """Evaluate a checkpoint on a data folder, or the summaries that a file holds.

    Args:
        progress: told of the summaries that have been written and scored.
        data: the binarized folder.
        path: the checkpoint; None: score ``predictions_from``.
        split: part of the data.
        predictions_from: a file of summaries; see ``read_predictions``.
        references: a file of the right ones, one a line; None: those of the data folder's ``raw``.
        sources: a file of what they summarise, one a line; None: those of ``raw``, if they are
            there, beside the references of ``raw``.
        baseline: a file of another system's summaries of the same sources, to compare with.
        limit: the first sources only.
        language: of the summaries; one of ``LANGUAGES``.
        stemming: of English, in ROUGE.
        decoding: how summaries are searched for.
        bpe: how subwords are joined; see ``Subwords``.
        tokenizer: how words make up text; see ``text_form``.
        cpu: do not use a GPU.

    Returns:
        the metrics by name; the texts, and their scores.

    Raises:
        UserError: the model, the files and the options do not fit.
    """
    references_file = Path(references) if references else None
    sources_file = Path(sources) if sources else None
    if data and references_file is None:
        raw_sources, references_file = raw_files(Path(data), split)
        if sources_file is None and raw_sources.is_file():
            sources_file = raw_sources
    assert references_file
    reference_texts = read_text(references_file, "reference")
    whole = len(reference_texts)
    source_texts: Sequence[str | None] = [None] * whole
    if sources_file:
        source_texts = read_text(sources_file, "source")
        if len(source_texts) != whole:
            raise UserError(
                f"{sources_file} holds {len(source_texts)} sources, but {references_file} {whole} "
                "references"
            )
    detokenise = detokeniser(data, path, bpe, tokenizer, language)
    number = min(limit or whole, whole)
    baseline_summaries: Sequence[str | None] = [None] * whole
    if baseline:  # whatever does not fit is said before the work
        baseline_summaries = _read_summaries(
            Path(baseline), detokenise, references_file, whole, number
        )
    cost: dict[str, Any] = {}
    if path is None:
        summaries = _read_summaries(
            Path(str(predictions_from)), detokenise, references_file, whole, number
        )
    else:
        assert detokenise
        loaded = load_encoder_decoder(str(data), path, cpu)
        dataset = open_split(loaded, str(data), split)
        if len(dataset) != whole:
            raise UserError(
                f"--split {split}: {data} holds {len(dataset)} binarized sources, but "
                f"{references_file} {whole} references"
            )
        decoding = decoding or SummaryDecoding()
        summarised = partial(progress, "summarising", number)
        summarised(0)
        symbols, costs = decode(loaded, dataset, number, decoding, summarised)
        summaries = [detokenise(text) for text in symbols]
        cost = {**asdict(decoding), **costs.seconds_metrics("summary")}
    examples = [
        Example(*texts)  # of the first ones that are evaluated
        for texts in zip(summaries, reference_texts, source_texts, baseline_summaries, strict=False)
    ]
    scorer = SummaryScorer(language, stemming)
    scored = []
    for example in examples:
        scored.append(scorer.score(example))
        progress("scoring", number, 1)
    metrics = {
        "path": path,
        "predictions_from": predictions_from,
        "data": data,
        "references": str(references_file),
        "sources": str(sources_file) if sources_file else None,
        "split": split if data else None,
        "language": language,
        "rouge_tokeniser": scorer.rouge_tokeniser,
        **cost,
        **_metrics(scored, baseline),
    }
    return metrics, examples, scored


def json_lines(examples: Sequence[Example], scored: Sequence[Scored]) -> Iterator[str]:
    """Yield a summary with its reference and scores as JSON, one a line."""
    for example, scores in zip(examples, scored, strict=True):
        texts = {"prediction": example.summary, "reference": example.reference}
        yield json.dumps(texts | scores.summary, ensure_ascii=False) + "\n"


def side_by_side(
    examples: Sequence[Example], scored: Sequence[Scored], language: str, width: int = WIDTH
) -> Iterator[str]:
    """Yield the texts of each example for people to read; see ``example_text``."""
    by_character = language in BY_CHARACTER
    for number, (example, scores) in enumerate(zip(examples, scored, strict=True), start=1):
        yield example_text(number, example, scores, by_character, width)


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


def raw_files(data: Path, split: str) -> tuple[Path, Path]:
    """Return where the sources and the references of a split are: ``raw/SPLIT.LANGUAGE``.

    Raises:
        UserError: there are no references, or see ``language_pair``; the message names the splits
            that have some.
    """
    source, target = language_pair(data)
    folder = data / RAW_FOLDER
    references = folder / f"{split}.{target}"
    if not references.is_file():
        there = sorted(path.name.removesuffix(f".{target}") for path in folder.glob(f"*.{target}"))
        advice = (
            f"it has those of {', '.join(there)} (--split)"
            if there
            else "name files of them with --references and --sources"
        )
        raise UserError(
            f"{data} holds no {RAW_FOLDER}/{references.name}, the references of --split {split}: "
            f"{advice}"
        )
    return folder / f"{split}.{source}", references


def language_pair(data: Path) -> tuple[str, str]:
    """Return what the source and the target of binarized data are called, such as *en* and *de*.

    Raises:
        UserError: the folder holds no binarized pair, or several.
    """
    names = [_BINARIZED.fullmatch(path.name) for path in data.glob("*.idx")]
    pairs = sorted({(found["source"], found["target"]) for found in names if found})
    if len(pairs) == 1:
        return pairs[0]
    several = " and ".join("-".join(pair) for pair in pairs)
    held = f"the pairs {several}" if pairs else "no binarized source and target"
    raise UserError(f"{data} holds {held}: name the texts with --references and --sources")


def _read_summaries(
    file: Path, detokenise: Detokeniser | None, references_file: Path, whole: int, number: int
) -> list[str]:
    """Read summaries of all sources, or of the first ones that are evaluated."""
    summaries = [given["prediction"] for given in read_predictions(file, detokenise)]
    if len(summaries) not in (whole, number):
        first = f" (the first {number} are evaluated)" if number < whole else ""
        raise UserError(
            f"{file} holds {len(summaries)} summaries, but {references_file} {whole} "
            f"references{first}"
        )
    return summaries[:number]


def _metrics(scored: Sequence[Scored], baseline: str | None) -> dict[str, Any]:
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
