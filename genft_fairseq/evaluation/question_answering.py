"""Evaluation of question answering: a checkpoint or a file of answers, scored.

The answers that a model writes to the questions of a split, and what they cost.

One evaluation of question answering: what is asked of it, in order.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genft_fairseq.data.fid_json import PassageOrder
from genft_fairseq.data.subwords import Detokeniser, text_form
from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.decoding import (
    Begin,
    Decoding,
    DecodingCost,
    Progress,
    decode,
    target_symbols,
)
from genft_fairseq.evaluation.loading import Reader, load_reader, open_split
from genft_fairseq.evaluation.predictions import (
    ANSWERS,
    PREPARED,
    Prediction,
    Question,
    paired,
    parse_prediction,
    read_predictions,
    read_questions,
)
from genft_fairseq.metrics.question_answering import (
    Score,
    answer_metrics,
    long_answer_metrics,
    paired_metrics,
    pointing_metrics,
    recall_metrics,
    score,
    without_letters,
)


def answer(
    reader: Reader,
    dataset: Any,
    number: int,
    decoding: Decoding,
    text: Detokeniser,
    progress: Progress,
) -> tuple[list[Prediction], DecodingCost]:
    """Answer the first questions of a split; see ``decode``.

    Args:
        reader: the model.
        dataset: from ``open_split``.
        number: of questions.
        decoding: how.
        text: from ``TextForm``.
        progress: told how many questions have been answered.

    Raises:
        UserError: questions too long for the model; more hypotheses than there are symbols.
    """
    found, cost = decode(reader, dataset, number, decoding, progress, ANSWERS)
    return [_prediction(symbols, text) for symbols in found], cost


def targets(reader: Reader, dataset: Any, number: int, text: Detokeniser) -> list[Prediction]:
    """Return the targets of the first questions of a split, as if a model had written them."""
    return [_prediction(symbols, text) for symbols in target_symbols(reader, dataset, number)]


def _prediction(symbols: Sequence[str], text: Detokeniser) -> Prediction:
    pointer = parse_prediction(" ".join(symbols[:1])).pointer
    return Prediction(text(symbols if pointer is None else symbols[1:]), pointer)


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated: a checkpoint on a data folder, or answers that a file holds.

    Attributes:
        data: the binarized folder.
        path: the checkpoint; None: score ``predictions_from``.
        split: part of the data.
        predictions_from: a file of answers; see ``read_predictions``.
        references: the questions and right answers; None: those of the data folder's split.
        keep_order: the passages of ``references`` in the order of the file, not by score.
        baseline: a file of another run's answers to the same questions, to compare with.
        n_context: passages that the model reads of each question; 0: all; None: as it was trained.
        limit: the first questions only.
        language: of the answers; one of ``LANGUAGES``.
        decoding: how answers are searched for.
        bpe: how pieces make up words; see ``Subwords``.
        tokenizer: how words make up text; see ``text_form``.
        cpu: do not use a GPU.
    """

    data: str | None
    path: str | None = None
    split: str = "test"
    predictions_from: str | None = None
    references: str | None = None
    keep_order: bool = False
    baseline: str | None = None
    n_context: int | None = None
    limit: int | None = None
    language: str = "en"
    decoding: Decoding = field(default_factory=Decoding)
    bpe: str = "auto"
    tokenizer: str = "auto"
    cpu: bool = False


@dataclass(frozen=True)
class Answered:
    """Questions, what was answered to each, and how good that is."""

    questions: Sequence[Question]
    predictions: Sequence[Prediction]
    scores: Sequence[Score]

    def json_lines(self) -> Iterator[str]:
        """Yield a question with its answer as JSON, one a line."""
        for question, prediction, found in zip(
            self.questions, self.predictions, self.scores, strict=True
        ):
            written: dict[str, Any] = {"id": question.id, "question": question.question}
            written["prediction"] = prediction.text
            if prediction.pointer is not None:
                written["pointer"] = prediction.pointer
            written |= {"answers": question.answers, **asdict(found)}
            yield json.dumps(written, ensure_ascii=False) + "\n"


def evaluate(asked: Evaluation, begin: Begin) -> tuple[dict[str, Any], Answered]:
    """Evaluate, and return the figures by name, and the answers.

    Raises:
        UserError: the model, the files and what is asked of them do not fit.
    """
    source = _references(asked)
    order = PassageOrder(asked.keep_order)
    questions = read_questions(source, order)
    metrics: dict[str, Any] = {
        **{name: getattr(asked, name) for name in ("path", "predictions_from", "data")},
        "references": str(source),
        "split": asked.split if asked.data else None,
        "language": asked.language,
        # Of questions without text of passages, None.
        "passage_order": asdict(order) if order.examples else None,
    }
    convert = _convert(asked)
    baseline = None
    if asked.baseline:  # whatever does not fit is said before the work
        baseline = _paired(asked.baseline, questions[: asked.limit], source, convert)
    if asked.path is None:
        predictions = _paired(str(asked.predictions_from), questions, source, convert)
        read, pointing = asked.n_context or None, False
    else:
        predictions, read, pointing, decoded = _decode(asked, questions, source, begin)
        questions = questions[: len(predictions)]
        metrics |= decoded
    answered = Answered(questions, predictions, _scores(questions, predictions, asked.language))
    metrics |= _measures(answered, asked.language)
    pointers = [prediction.pointer for prediction in predictions]
    if pointing or any(pointer is not None for pointer in pointers):
        metrics |= pointing_metrics([q.holds for q in questions], pointers, read)
    if baseline:
        compared = paired_metrics(_scores(questions, baseline, asked.language), answered.scores)
        metrics["baseline"] = {"predictions": asked.baseline, **compared}
    return metrics, answered


def _references(asked: Evaluation) -> Path:
    if asked.references:
        return Path(asked.references)
    source = Path(str(asked.data)) / f"{asked.split}{PREPARED}"
    if not source.is_file():
        there = sorted(p.name.removesuffix(PREPARED) for p in source.parent.glob(f"*{PREPARED}"))
        advice = (
            f"it has those of {', '.join(there)} (--split)"
            if there
            else "name a file of them with --references"
        )
        raise UserError(
            f"{asked.data} holds no {source.name}, the right answers of --split {asked.split}: "
            f"{advice}"
        )
    return source


def _convert(asked: Evaluation) -> Detokeniser | None:
    """What makes text of symbols, where a folder tells how they were made."""
    folders = [Path(asked.data)] if asked.data else []
    folders += [Path(asked.path).parent] if asked.path else []
    if not folders:
        return None
    return text_form(folders, asked.bpe, asked.tokenizer).text(asked.language)


def _paired(
    file: str, questions: Sequence[Question], source: Path, convert: Any
) -> list[Prediction]:
    return paired(read_predictions(Path(file), convert), questions, Path(file), source)


def _decode(
    asked: Evaluation, questions: Sequence[Question], source: Path, begin: Begin
) -> tuple[list[Prediction], int | None, bool, dict[str, Any]]:
    data, path, convert = str(asked.data), str(asked.path), _convert(asked)
    assert convert
    reader = load_reader(data, path, asked.cpu, asked.n_context)
    dataset = open_split(reader, data, asked.split)
    if len(dataset) != len(questions):
        raise UserError(
            f"--split {asked.split}: {data} holds {len(dataset)} binarized questions, but {source} "
            f"{len(questions)}"
        )
    number = min(asked.limit or len(dataset), len(dataset))
    progress = begin("answering", number)
    predictions, cost = answer(reader, dataset, number, asked.decoding, convert, progress)
    metrics = {"n_context": reader.n_context, **asdict(asked.decoding), **cost.metrics()}
    if dataset.tgt is not None:
        gold = targets(reader, dataset, number, convert)
        scores = answer_metrics(_scores(questions[:number], gold, asked.language))
        # What the way into pieces and back, and a limit on the target's length, cost.
        metrics |= {f"target_{name}": scores[name] for name in ("exact_match", "f1")}
    return predictions, reader.n_context, reader.pointing, metrics


def _scores(
    questions: Sequence[Question], predictions: Sequence[Prediction], language: str
) -> list[Score]:
    return [
        score(prediction.text, question.answers, language)
        for question, prediction in zip(questions, predictions, strict=True)
    ]


def references(question: Question) -> Sequence[str]:
    """What a text is compared with as a whole: the long answer where there is one."""
    return question.answers if question.long_answer is None else (question.long_answer,)


def _measures(answered: Answered, language: str) -> dict[str, Any]:
    questions, scores = answered.questions, answered.scores
    texts = [prediction.text for prediction in answered.predictions]
    answerable = [number for number, question in enumerate(questions) if question.answerable]
    measured = answerable or range(len(questions))
    return {
        "questions": len(questions),
        **answer_metrics(scores),
        **_by_answerable(questions, scores),
        # Right only where nothing is answered, or nothing but articles and punctuation.
        "answers_without_letters": sum(without_letters(q.answers, language) for q in questions),
        "empty_predictions": sum(not text.strip() for text in texts),
        **long_answer_metrics(
            [texts[number] for number in measured],
            [references(questions[number]) for number in measured],
            language,
        ),
        **recall_metrics([question.holds for question in questions]),
    }


def _by_answerable(questions: Sequence[Question], scores: Sequence[Score]) -> dict[str, Any]:
    """Return the figures of questions with an answer and without, where there are such.

    What SQuAD 2.0's script calls HasAns and NoAns.
    """
    if all(question.answerable for question in questions):
        return {}
    metrics: dict[str, Any] = {}
    for name, kind in (("has_answer", True), ("no_answer", False)):
        chosen = [s for q, s in zip(questions, scores, strict=True) if q.answerable is kind]
        metrics[f"{name}_questions"] = len(chosen)
        if chosen:
            metrics |= {f"{name}_{key}": value for key, value in answer_metrics(chosen).items()}
    return metrics
