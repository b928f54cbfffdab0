"""Questions with their right answers, and the answers of a model, as files hold them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genft_fairseq.data.answer_match import contains_answer
from genft_fairseq.data.fid_json import parse_example
from genft_fairseq.data.json_stream import read_objects
from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.translation import read_lines

# The end of the name of what preparation leaves of a split, beside the binarized text.
PREPARED = ".fid.jsonl"
_POINTER = re.compile(r"\s*<passage:(\d+)>\s*")
_GENERATED = re.compile(r"([HD])-(\d+)\t\S+\t(.*)")


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


def read_predictions(
    path: Path, text: Callable[[Sequence[str]], str] | None = None
) -> list[Prediction]:
    """Read answers, in the order of their questions.

    One answer a line; or JSON (a name that ends in ``.json`` or ``.jsonl``), objects with
    ``prediction`` and perhaps ``pointer`` and ``id``; or the output of ``fairseq-generate``, of
    which the first hypothesis of each question counts.

    Args:
        path: of the file; UTF-8.
        text: makes text of the symbols of a hypothesis (``H-``); None: take the text that
            fairseq-generate made of it (``D-``), or the symbols where it made none.

    Raises:
        UserError: the file is missing, not UTF-8, malformed, or has no answer to some questions.
    """
    if path.suffix in (".json", ".jsonl"):
        numbered = enumerate(read_objects(path))
        return [_json_prediction(given, f"{path}: answer {number}") for number, given in numbered]
    lines = _lines(path)
    generated = [found for line in lines if (found := _GENERATED.fullmatch(line))]
    if generated:
        return _generated_predictions(path, [found.groups() for found in generated], text)
    return [parse_prediction(line) for line in lines]


def _generated_predictions(
    path: Path, rows: list[tuple[str, ...]], text: Callable[[Sequence[str]], str] | None
) -> list[Prediction]:
    found: dict[str, dict[int, str]] = {"H": {}, "D": {}}
    for kind, number, written in rows:
        found[kind].setdefault(int(number), written)  # the first is the best
    kind = "H" if (text and found["H"]) or not found["D"] else "D"
    hypotheses = found[kind]
    missing = max(hypotheses) + 1 - len(hypotheses)
    if missing:
        first = next(n for n in range(len(hypotheses)) if n not in hypotheses)
        raise UserError(
            f"{path} has no answer to {missing} of the questions 0 to {max(hypotheses)}, "
            f"{first} the first"
        )
    best = [hypotheses[number] for number in range(len(hypotheses))]
    if text and kind == "H":
        best = [text(line.split()) for line in best]
    return [parse_prediction(line) for line in best]


def _json_prediction(given: Any, where: str) -> Prediction:
    prediction = given.get("prediction") if isinstance(given, dict) else None
    if not isinstance(prediction, str):
        raise UserError(f"{where} must be an object with a text named prediction")
    identity, pointer = given.get("id"), given.get("pointer")
    if pointer is not None and (type(pointer) is not int or pointer < 0):
        raise UserError(f"{where}: pointer must be the number of a passage, but is {pointer!r}")
    if "pointer" not in given:
        parsed = parse_prediction(prediction)
        prediction, pointer = parsed.text, parsed.pointer
    return Prediction(prediction, pointer, None if identity is None else str(identity))


def _lines(path: Path) -> list[str]:
    try:
        lines = read_lines(path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    return [] if lines == [""] else lines


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
