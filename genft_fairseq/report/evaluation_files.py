"""What runs wrote: output of ``fairseq-generate``, and files of ``genft evaluate-*``.

The latter hold their metrics; translations are scored here, against the data folder's raw text
where it is found, else by words against the tokenised references.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation import predictions, translation
from genft_fairseq.evaluation.translation import RawReferences
from genft_fairseq.experiments.data_folders import target_language
from genft_fairseq.metrics.repetition import repetition
from genft_fairseq.metrics.translation import score_intervals, translation_metrics, word_repetitions
from genft_fairseq.report.run_folders import (
    ANSWERS,
    LANGUAGE_MODEL,
    SUMMARIES,
    TRANSLATION,
    json_or_none,
    kind_of,
    read_json,
)
from genft_fairseq.report.training import Recipe, Training, find_folder

# Marks of --completions and --side-by-side are made anew, by words.
_PER_TEXT = {
    ANSWERS: ("exact_match", "f1"),
    SUMMARIES: ("rouge_1", "rouge_2", "rouge_l", "rouge_lsum", "rep_3", "rep_4"),
}


@dataclass(frozen=True)
class Text:
    """One thing that a model wrote.

    Attributes:
        source: what it read: a sentence, a question, a prefix; empty where it is not known.
        written: what it wrote.
        references: what it should have written; for a language model, how the text went on.
    """

    source: str
    written: str
    references: tuple[str, ...]


@dataclass
class Evaluation:
    """What was found about the texts of one run.

    Attributes:
        kind: ``TRANSLATION``, ``LANGUAGE_MODEL``, ``ANSWERS`` or ``SUMMARIES``.
        label: the name of its file without suffix: ways of decoding have files of their own.
        path: the file.
        metrics: numbers by name.
        intervals: 95 % bootstrap intervals over the texts, by name.
        of_references: the same metrics of the references or of human text, where known.
        per_text: metrics that each text has of its own, by name; None where it is too short.
        texts: in the order of the test set; none where they were not kept.
        signatures: of the scores.
        settings: how it was decoded.
        generated: the lines of ``fairseq-generate``, where it wrote the texts.
        lowercase: whether the texts are compared without regard to case.
        test_set: a fingerprint of what was to be written, as its file has it; systems are compared
            on the same.  Empty where the texts were not kept.
        checkpoint: that wrote them, as the file names it; empty where it does not.
        recipe: how that was trained; None where nothing says it.
    """

    kind: str
    label: str
    path: Path
    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    of_references: dict[str, float] = field(default_factory=dict)
    per_text: dict[str, list[float | None]] = field(default_factory=dict)
    texts: list[Text] = field(default_factory=list)
    signatures: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    generated: predictions.Generated | None = None
    lowercase: bool = False
    test_set: str = ""
    checkpoint: str = ""
    recipe: Recipe | None = None


def fingerprint(texts: Sequence[Text]) -> str:
    """Return what texts with the same references in the same order have in common."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(json.dumps(text.references, ensure_ascii=False).encode())
    return digest.hexdigest()[:12] if texts else ""


def evaluations_in(folder: Path) -> tuple[list[Evaluation], list[str]]:
    """Read everything that was decoded into the folder of a run.

    Returns:
        the evaluations, and what is wrong with files that are not whole: decoding may still be
        at them, or have left sentences out.
    """
    found, broken = [], []
    for path in sorted(path for path in folder.glob("generate-*.txt") if path.is_file()):
        try:
            found.append(_read_translations(path))
        except UserError as error:
            broken.append(str(error))
    for path in sorted(path for path in folder.glob("*.json") if path.is_file()):
        read = json_or_none(path)
        if kind_of(read) is not None:  # a broken record of another command is no concern of ours
            found.append(read_evaluation(path, read))
    return found, broken


def _read_translations(path: Path) -> Evaluation:
    """Read what ``fairseq-generate`` wrote: sources, references, hypotheses.

    The references are as the data folder has them, tokenised; see ``score_translations``.

    Raises:
        UserError: not every sentence has its hypothesis.
    """
    generated = predictions.read_generated(path)
    # What its flags did to the translations, they did to the references, too.
    sources, written, targets = (
        [predictions.join_subwords(line) for line in lines]
        for lines in (generated.sources, generated.detokenised, generated.targets)
    )
    texts = [
        Text(source, line, (target,) if target else ())
        for source, line, target in zip(sources, written, targets, strict=True)
    ]
    return Evaluation(
        *(TRANSLATION, path.stem, path),
        texts=texts,
        generated=generated,
        test_set=fingerprint(texts),
    )


def read_evaluation(path: Path, found: dict[str, Any] | None = None) -> Evaluation:
    """Read a file that ``genft evaluate-lm``, ``-qa`` or ``-summaries`` wrote with ``--output``.

    The texts and their own metrics are taken from the ``.jsonl`` of the same name, where it is.

    Raises:
        UserError: it is not such a file.
    """
    found = read_json(path) if found is None else found
    kind = kind_of(found)
    if kind is None:
        raise UserError(f"{path} is not an output of genft evaluate-lm, evaluate-qa or -summaries")
    try:
        return _of_kind(kind, path, found)
    except UserError:
        raise
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise UserError(
            f"{path} is not a complete output of a measuring command ({error})"
        ) from error


def _of_kind(kind: str, path: Path, found: dict[str, Any]) -> Evaluation:
    evaluation = Evaluation(kind, path.stem, path, checkpoint=str(found["path"] or ""))
    evaluation.metrics = _numbers(found)
    evaluation.intervals = {
        name.removesuffix("_interval"): (float(ends[0]), float(ends[1]))
        for name, ends in found.items()
        if name.endswith("_interval") and isinstance(ends, list) and len(ends) == 2
    }
    evaluation.of_references = _numbers(found.get("of_references"))
    evaluation.signatures = {n: str(v) for n, v in found.items() if n.endswith("_signature")}
    evaluation.settings = {
        name: found[name]
        for name in ("split", "beam", "search", "lenpen", "no_repeat_ngram_size", "n_context")
        if found.get(name) is not None
    }
    if kind == LANGUAGE_MODEL:
        _read_completions(evaluation, found)
    else:
        _read_lines(evaluation, path.with_suffix(".jsonl"))
    evaluation.test_set = fingerprint(evaluation.texts)
    return evaluation


def _numbers(found: Any) -> dict[str, float]:
    if not isinstance(found, dict):
        return {}
    numbers = {n: v for n, v in found.items() if isinstance(v, int | float)}
    return {n: float(v) for n, v in numbers.items() if not isinstance(v, bool)}


def _read_completions(evaluation: Evaluation, found: dict[str, Any]) -> None:
    """The metrics of continuations are those of dictionary tokens, beside the human text's.

    Files of earlier versions do not have them for each text, so that words speak for them.
    """
    for part, metrics in (("model", evaluation.metrics), ("human", evaluation.of_references)):
        numbers = _numbers(found.get(part))
        named = {f"rep_{n}": f"seq_rep_{n}" for n in range(1, 5)}
        named["uniq_seq"] = "uniq_seq"
        metrics |= {ours: numbers[theirs] for ours, theirs in named.items() if theirs in numbers}
    if "human_uniq" in evaluation.metrics:
        evaluation.of_references["uniq"] = evaluation.metrics["human_uniq"]
    completions = found.get("completions")
    listed = completions if isinstance(completions, list) else []
    rows = [one for one in listed if isinstance(one, dict)]
    for one in rows:
        prefix, written, human = (str(one.get(n, "")) for n in ("prefix", "continuation", "human"))
        evaluation.texts.append(Text(prefix, written, (human,)))
    evaluation.per_text["rep_4"] = repetitions(evaluation.texts)
    for n in range(1, 5):
        _take_per_text(evaluation, f"rep_{n}", [one.get(f"seq_rep_{n}", "") for one in rows])


def repetitions(texts: Sequence[Text], n: int = 4) -> list[float | None]:
    """Return the share of repeated n-grams of words of each text."""
    return [repetition(text.written.split(), n) for text in texts]


def _read_lines(evaluation: Evaluation, path: Path) -> None:
    if not path.is_file():
        return
    rows = list(_rows(path))
    for row in rows:
        references = row.get("answers") or [row.get("reference", "")]
        source = str(row.get("question") or row.get("source") or "")
        evaluation.texts.append(
            Text(source, str(row.get("prediction", "")), tuple(map(str, references)))
        )
    for name in _PER_TEXT[evaluation.kind]:
        _take_per_text(evaluation, name, [row.get(name) for row in rows])


def _take_per_text(evaluation: Evaluation, name: str, values: list[Any]) -> None:
    """Keep a figure that each text has of its own; a file of earlier versions may not have it."""
    if values and all(isinstance(value, int | float | None) for value in values):
        evaluation.per_text[name] = [None if v is None else float(v) for v in values]


def _rows(path: Path) -> Sequence[dict[str, Any]]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line:
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number} must be an object, but is {line[:40]}")
        rows.append(row)
    return rows


def raw_references(evaluation: Evaluation, training: Training | None) -> RawReferences | None:
    """Return the untouched references; None where there are none.

    They are where ``data-prep`` leaves them, in ``raw/SPLIT.LANGUAGE`` of the data folder.

    Args:
        evaluation: what was written.
        training: the run, whose command names the data.
    """
    if training is None or training.data is None or evaluation.generated is None:
        return None
    folder = find_folder(training.data.path.split(":")[0], evaluation.path.parent)
    language = target_language(training.words(), folder) if folder else None
    if folder is None or language is None:
        return None
    # generate-test.txt, or generate-test-blocked.txt for another way of decoding
    split = evaluation.label.removeprefix("generate-").split("-")[0]
    raw = translation.raw_references(folder, split, language)
    return raw if raw and raw.fit(evaluation.generated) else None


def take_raw(evaluation: Evaluation, raw: RawReferences) -> None:
    """Put detokenised translations and untouched references in the place of tokenised ones."""
    assert evaluation.generated is not None
    evaluation.texts = [
        Text(text.source, written, (reference,))
        for text, written, reference in zip(
            evaluation.texts, raw.texts(evaluation.generated), raw.lines, strict=True
        )
    ]
    evaluation.test_set = fingerprint(evaluation.texts)
    evaluation.lowercase = raw.lowercase(evaluation.generated)


def score_translations(evaluation: Evaluation, is_raw: bool) -> None:
    """Fill in the metrics of translations.

    Args:
        evaluation: what was written, and what should have been.
        is_raw: whether the text is detokenised; what is not has ``tokenised_bleu``, which cannot be
            compared with other papers' BLEU.
    """
    written = [text.written for text in evaluation.texts]
    references = [text.references[0] for text in evaluation.texts if text.references]
    evaluation.per_text |= {f"rep_{n}": repetitions(evaluation.texts, n) for n in range(1, 5)}
    if len(references) != len(written):  # --gen-subset without a target side
        evaluation.metrics |= _known(word_repetitions(written))
        return
    try:
        metrics = translation_metrics(written, references, evaluation.lowercase, not is_raw)
    except UserError as error:
        raise UserError(f"{evaluation.path}: {error}") from error
    for name in [name for name in metrics if name.endswith("_signature")]:
        evaluation.signatures[name] = metrics.pop(name)
    evaluation.metrics |= _known(metrics)
    evaluation.of_references |= _known(word_repetitions(references))


def intervals_of(evaluation: Evaluation) -> dict[str, tuple[float, float]]:
    """Return the 95 % bootstrap intervals of BLEU, by the name of the one there is, and of chrF."""
    written = tuple(text.written for text in evaluation.texts)
    references = tuple(text.references[0] for text in evaluation.texts if text.references)
    if len(references) != len(written):
        return {}
    is_tokenised = "tokenised_bleu" in evaluation.metrics
    found = _score_intervals(written, references, evaluation.lowercase, is_tokenised)
    return {name: (ends[0], ends[1]) for name, ends in found.items() if ends}


# A report that is watched has the same texts again and again.
_score_intervals = lru_cache(maxsize=512)(score_intervals)


def _known(metrics: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if value is not None}
