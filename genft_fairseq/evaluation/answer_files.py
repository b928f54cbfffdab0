"""Questions with their right answers, and the answers of a model, as files hold them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genft_fairseq.data.answer_match import contains_answer
from genft_fairseq.data.fid_json import parse_example
from genft_fairseq.data.json_stream import read_objects
from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.pieces import Text
from genft_fairseq.evaluation.wording import ANSWERS
from genft_fairseq.evaluation.written_files import Written, read_written

# The end of the name of what preparation leaves of a split, beside the binarized text.
PREPARED = ".fid.jsonl"
_POINTER = re.compile(r"\s*<passage:(\d{1,9})>\s*")


@dataclass(frozen=True)
class Question:
    """A question as it is scored.

    Attributes:
        id: of the example.
        question: its text.
        answers: right ones, at least one.
        holds: whether each of its passages holds one of them, the best passage first.
        long_answer: what a model was to write, where that is no short answer; else None.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    holds: tuple[bool, ...]
    long_answer: str | None = None


@dataclass(frozen=True)
class Prediction:
    """What a model answers.

    Attributes:
        text: the answer.
        pointer: the passage it names as its evidence, from 1; 0: none of them; None: it names none.
        id: of its question, where the file gives it.
    """

    text: str
    pointer: int | None = None
    id: str | None = None


def parse_prediction(text: str) -> Prediction:
    """Take the symbol of source pointing, ``<passage:i>``, off the beginning of an answer."""
    found = _POINTER.match(text)
    if not found:
        return Prediction(text)
    return Prediction(text[found.end() :], int(found[1]))


def read_questions(path: Path) -> list[Question]:
    """Read the public JSON of Fusion-in-Decoder, or what its preparation leaves of it.

    In the former an answer is looked for in the passages' text; the latter has no text, but says of
    each passage whether it ``has_answer``.

    Raises:
        UserError: the file is missing, of another format, or lacks an answer.
    """
    found = enumerate(read_objects(path))
    questions = [_question(given, f"{path}: example {number}", number) for number, given in found]
    if not questions:
        raise UserError(f"{path} holds no example")
    return questions


def _question(given: Any, where: str, number: int) -> Question:
    passages = given.get("ctxs") if isinstance(given, dict) else None
    if isinstance(passages, list) and passages and all(map(_says_what_it_holds, passages)):
        holds = [passage["has_answer"] for passage in passages]
        example = parse_example({**given, "ctxs": []}, where, number, need_passages=False)
    else:
        example = parse_example(given, where, number, need_passages=False)
        holds = [contains_answer(passage.text, example.answers) for passage in example.passages]
    target = example.target
    long_answer = None if target in example.answers else target
    return Question(example.id, example.question, example.answers, tuple(holds), long_answer)


def _says_what_it_holds(passage: Any) -> bool:
    if not isinstance(passage, dict) or "text" in passage:
        return False
    return isinstance(passage.get("has_answer"), bool)


def read_predictions(path: Path, text: Text | None = None) -> list[Prediction]:
    """Read answers, in the order of their questions.

    As ``read_written`` reads them; an object may hold ``pointer`` and ``id``, too.

    Args:
        path: of the file; UTF-8.
        text: makes text of symbols; see ``read_written``.

    Raises:
        UserError: the file is missing, not UTF-8, malformed, or has no answer to some questions.
    """
    found = read_written(path, text, ANSWERS)
    return [
        _prediction(written, f"{path}: answer {number}") for number, written in enumerate(found)
    ]


def _prediction(written: Written, where: str) -> Prediction:
    identity, pointer = written.given.get("id"), written.given.get("pointer")
    if pointer is not None and (type(pointer) is not int or pointer < 0):
        raise UserError(f"{where}: pointer must be the number of a passage, but is {pointer!r}")
    if "pointer" in written.given:
        parsed = Prediction(written.text, pointer)
    else:
        parsed = parse_prediction(written.text)
    return replace(parsed, id=None if identity is None else str(identity))


def require_paired(
    predictions: Sequence[Prediction], questions: Sequence[Question], by: Path, of: Path
) -> None:
    """Refuse predictions that do not answer the questions one by one.

    Raises:
        UserError: there are more or fewer, or their ids are of other questions.
    """
    if len(predictions) != len(questions):
        difference = len(questions) - len(predictions)
        wrong = f"{difference} are missing" if difference > 0 else f"{-difference} too many"
        raise UserError(
            f"{by} holds {len(predictions)} predictions, but {of} {len(questions)} questions: "
            f"{wrong}"
        )
    for number, (prediction, question) in enumerate(zip(predictions, questions, strict=True)):
        if prediction.id is not None and prediction.id != question.id:
            raise UserError(
                f"{by}: prediction {number} answers the question with id {prediction.id}, but "
                f"{of} has {question.id} there"
            )
