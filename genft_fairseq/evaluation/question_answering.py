"""Evaluation of question answering: the answers of a checkpoint or of a file, scored."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from genft_fairseq.data.fid_json import PassageOrder
from genft_fairseq.data.json_stream import read_objects
from genft_fairseq.data.questions import Question, read_references
from genft_fairseq.data.subwords import Detokeniser
from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.decoding import Decoding, decode, target_symbols
from genft_fairseq.evaluation.loading import Progress, load_encoder_decoder, open_split
from genft_fairseq.evaluation.predictions import (
    JSON_SUFFIXES,
    detokeniser,
    prediction_objects,
    read_predictions,
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

# The end of the name of what preparation leaves of a split, beside the binarized text.
PREPARED = ".fid.jsonl"

_POINTER = re.compile(r"\s*<passage:(\d{1,9})>\s*")


@dataclass(frozen=True)
class Answer:
    """A model's answer to a question.

    Attributes:
        text: without the pointer.
        pointer: the passage it names as its evidence, from 1; 0: none of them; None: it names none.
    """

    text: str
    pointer: int | None = None


def evaluate(
    progress: Progress,
    data: str | None = None,
    path: str | None = None,
    split: str = "test",
    predictions_from: str | None = None,
    references: str | None = None,
    keep_order: bool = False,
    baseline: str | None = None,
    n_context: int | None = None,
    limit: int | None = None,
    language: str = "en",
    decoding: Decoding | None = None,
    bpe: str = "auto",
    tokenizer: str = "auto",
    cpu: bool = False,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Evaluate a checkpoint on a data folder, or the answers that a file holds.

    Args:
        progress: told of the questions that have been answered.
        data: the binarized folder.
        path: the checkpoint; None: score ``predictions_from``.
        split: part of the data.
        predictions_from: a file of answers; see ``read_answers``.
        references: the questions and right answers; None: those of the data folder's split.
        keep_order: the passages of ``references`` in the order of the file, not by score.
        baseline: a file of another run's answers to the same questions, to compare with.
        n_context: passages that the model reads of each question; 0: all; None: as it was trained.
        limit: the first questions only.
        language: of the answers; one of ``LANGUAGES``.
        decoding: how answers are searched for.
        bpe: how subwords are joined; see ``Subwords``.
        tokenizer: how words make up text; see ``text_form``.
        cpu: do not use a GPU.

    Returns:
        the metrics by name; and each question with its answer and scores, as JSON has it.

    Raises:
        UserError: the model, the files and the options do not fit.
    """
    references_file = Path(references) if references else _prepared_references(str(data), split)
    order = PassageOrder(keep_order)
    questions = read_references(references_file, order)
    detokenise = detokeniser(data, path, bpe, tokenizer, language)
    baseline_answers: list[Answer] = []
    if baseline:  # whatever does not fit is said before the work
        baseline_answers = read_answers(
            Path(baseline), questions[:limit], references_file, detokenise
        )
    cost: dict[str, Any] = {}
    passages_read, is_pointing = n_context or None, False
    if path is None:
        answers = read_answers(Path(str(predictions_from)), questions, references_file, detokenise)
    else:
        assert detokenise
        loaded = load_encoder_decoder(str(data), path, cpu, n_context)
        dataset = open_split(loaded, str(data), split)
        if len(dataset) != len(questions):
            raise UserError(
                f"--split {split}: {data} holds {len(dataset)} binarized questions, but "
                f"{references_file} {len(questions)}"
            )
        questions = questions[:limit]
        number = len(questions)
        decoding = decoding or Decoding()
        answered = partial(progress, "answering", number)
        answered(0)
        symbols, costs = decode(loaded, dataset, number, decoding, answered)
        answers = [_answer(text, detokenise) for text in symbols]
        passages_read = int(getattr(loaded.task.cfg, "n_context", 0)) or None
        is_pointing = bool(getattr(loaded.task.cfg, "source_pointing", False))
        cost = {"n_context": passages_read, **asdict(decoding), **costs.metrics()}
        if dataset.tgt is not None:
            # What the way into subwords and back, and a limit on the target's length, cost.
            targets = [_answer(s, detokenise) for s in target_symbols(loaded, dataset, number)]
            found = answer_metrics(_scores(questions, targets, language))
            cost |= {f"target_{name}": found[name] for name in ("exact_match", "f1")}
    scores = _scores(questions, answers, language)
    metrics: dict[str, Any] = {
        "path": path,
        "predictions_from": predictions_from,
        "data": data,
        "references": str(references_file),
        "split": split if data else None,
        "language": language,
        # Of questions without text of passages, None.
        "passage_order": asdict(order) if order.examples else None,
        **cost,
        **_metrics(questions, answers, scores, language),
    }
    pointers = [answer.pointer for answer in answers]
    if is_pointing or any(pointer is not None for pointer in pointers):
        holds = [question.holds for question in questions]
        metrics |= pointing_metrics(holds, pointers, passages_read)
    if baseline_answers:
        compared = paired_metrics(_scores(questions, baseline_answers, language), scores)
        metrics["baseline"] = {"predictions": baseline, **compared}
    return metrics, _rows(questions, answers, scores)


def read_answers(
    path: Path,
    questions: Sequence[Question],
    references_file: Path,
    detokenise: Detokeniser | None = None,
) -> list[Answer]:
    """Read the answer to each question from a file.

    As ``read_predictions`` reads it; an object may hold ``pointer`` and ``id``, too. A file of JSON
    that holds one object, without ``prediction``, has the answer to each question under its id, as
    SQuAD's scripts read it. These count a question without an answer as wrong (1.1) or leave it out
    of the average (2.0), and pass over answers to other questions; here both are errors.

    Args:
        path: of the file; UTF-8.
        questions: all that are answered, in order.
        references_file: the file of the questions, for messages.
        detokenise: makes text of symbols; see ``read_predictions``.

    Raises:
        UserError: the file is missing, not UTF-8 or malformed, has too few or too many answers, or
            answers to other questions.
    """
    if path.suffix in JSON_SUFFIXES:
        objects = list(read_objects(path))
        if len(objects) == 1 and isinstance(objects[0], dict) and "prediction" not in objects[0]:
            return _answers_by_id(objects[0], path, questions, references_file)
        predictions = prediction_objects(objects, path)
    else:
        predictions = read_predictions(path, detokenise)
    answers = [
        _given_answer(given, f"{path}: prediction {number}")
        for number, given in enumerate(predictions)
    ]
    if len(answers) != len(questions):
        difference = len(questions) - len(answers)
        wrong = f"{difference} are missing" if difference > 0 else f"{-difference} too many"
        raise UserError(
            f"{path} holds {len(answers)} predictions, but {references_file} {len(questions)} "
            f"questions: {wrong}"
        )
    for number, (given, question) in enumerate(zip(predictions, questions, strict=True)):
        identity = given.get("id")
        if identity is not None and str(identity) != question.id:
            raise UserError(
                f"{path}: prediction {number} answers the question with id {identity}, but "
                f"{references_file} has {question.id} there"
            )
    return answers


def _answers_by_id(
    given: Mapping[str, Any], path: Path, questions: Sequence[Question], references_file: Path
) -> list[Answer]:
    for identity, text in given.items():
        if not isinstance(text, str):
            raise UserError(
                f"{path}: the answer to the question with id {identity!r} must be text, but is "
                f"{text!r:.40}"
            )
    missing = [question.id for question in questions if question.id not in given]
    if missing:
        raise UserError(
            f"{path} has no answer to {len(missing)} of the {len(questions)} questions of "
            f"{references_file}, the first with id {missing[0]}"
        )
    others = given.keys() - {question.id for question in questions}
    if others:
        first = next(identity for identity in given if identity in others)
        raise UserError(
            f"{path} answers {len(others)} questions that are not among the {len(questions)} of "
            f"{references_file}, the first with id {first}"
        )
    return [_pointed(given[question.id]) for question in questions]


def _given_answer(given: Mapping[str, Any], where: str) -> Answer:
    if "pointer" not in given:
        return _pointed(given["prediction"])
    pointer = given["pointer"]
    if pointer is not None and (type(pointer) is not int or pointer < 0):
        raise UserError(f"{where}: pointer must be the number of a passage, but is {pointer!r}")
    return Answer(given["prediction"], pointer)


def _pointed(text: str) -> Answer:
    """Take the symbol of source pointing, ``<passage:i>``, off the beginning of an answer."""
    found = _POINTER.match(text)
    return Answer(text[found.end() :], int(found[1])) if found else Answer(text)


def _answer(symbols: Sequence[str], detokenise: Detokeniser) -> Answer:
    pointer = _pointed(" ".join(symbols[:1])).pointer
    return Answer(detokenise(symbols if pointer is None else symbols[1:]), pointer)


def _prepared_references(data: str, split: str) -> Path:
    file = Path(data) / f"{split}{PREPARED}"
    if not file.is_file():
        there = sorted(p.name.removesuffix(PREPARED) for p in file.parent.glob(f"*{PREPARED}"))
        advice = (
            f"it has those of {', '.join(there)} (--split)"
            if there
            else "name a file of them with --references"
        )
        raise UserError(
            f"{data} holds no {file.name}, the right answers of --split {split}: {advice}"
        )
    return file


def _scores(questions: Sequence[Question], answers: Sequence[Answer], language: str) -> list[Score]:
    return [
        score(answer.text, question.answers, language)
        for question, answer in zip(questions, answers, strict=True)
    ]


def _metrics(
    questions: Sequence[Question],
    answers: Sequence[Answer],
    scores: Sequence[Score],
    language: str,
) -> dict[str, Any]:
    answerable = [number for number, question in enumerate(questions) if question.answerable]
    measured = answerable or range(len(questions))
    # A text is compared as a whole with the long answer, where there is one.
    whole = [q.answers if q.long_answer is None else (q.long_answer,) for q in questions]
    return {
        "questions": len(questions),
        **answer_metrics(scores),
        **_metrics_by_answerable(questions, scores),
        # Right only where nothing is answered, or nothing but articles and punctuation.
        "answers_without_letters": sum(without_letters(q.answers, language) for q in questions),
        "empty_predictions": sum(not answer.text.strip() for answer in answers),
        **long_answer_metrics(
            [answers[number].text for number in measured],
            [whole[number] for number in measured],
            language,
        ),
        **recall_metrics([question.holds for question in questions]),
    }


def _metrics_by_answerable(
    questions: Sequence[Question], scores: Sequence[Score]
) -> dict[str, Any]:
    """Return the metrics of questions with an answer and without, where there are such.

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


def _rows(
    questions: Sequence[Question], answers: Sequence[Answer], scores: Sequence[Score]
) -> list[dict[str, Any]]:
    return [
        {
            "id": question.id,
            "question": question.question,
            "prediction": answer.text,
            **({} if answer.pointer is None else {"pointer": answer.pointer}),
            "answers": question.answers,
            **asdict(found),
        }
        for question, answer, found in zip(questions, answers, scores, strict=True)
    ]
