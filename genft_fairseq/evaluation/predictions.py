"""Files of predictions, and the questions with right answers that they are scored against.

What messages call the things that a model reads and writes.

What a model has written, as files hold it.

Questions with their right answers, and the answers of a model, as files hold them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from genft_fairseq.data.answer_match import contains_answer
from genft_fairseq.data.fid_json import PassageOrder, parse_example
from genft_fairseq.data.json_stream import read_objects
from genft_fairseq.data.questions import is_squad, squad_examples
from genft_fairseq.data.subwords import Detokeniser
from genft_fairseq.errors import UserError, require_regular
from genft_fairseq.evaluation.translation import generated_lines, read_lines


@dataclass(frozen=True)
class Wording:
    """The words of one kind of task.

    Attributes:
        read: one of what the model reads.
        written: one of what it writes.
        link: between the two: an answer *to* a question.
        too_long: what those are that do not fit into the model.
        advice: what to do about these.
    """

    read: str
    written: str
    link: str
    too_long: str
    advice: str


ANSWERS = Wording(
    read="question",
    written="answer",
    link="to",
    too_long="longer with what is read with them",
    advice="prepare the data with shorter passages",
)

SUMMARIES = Wording(
    read="source",
    written="summary",
    link="of",
    too_long="longer",
    advice="prepare the data with shorter sources (--max-source-tokens)",
)


# What the names of files of JSON end in.
JSON_SUFFIXES = (".json", ".jsonl")


@dataclass(frozen=True)
class Written:
    """A text by a model, and the JSON object it stands in, where it stands in one."""

    text: str
    given: Mapping[str, Any] = field(default_factory=dict)


def read_written(path: Path, text: Detokeniser | None, wording: Wording) -> list[Written]:
    """Read texts, in the order of what they were written for.

    One text a line; or JSON (a name that ends in ``.json`` or ``.jsonl``), objects with
    ``prediction``; or the output of ``fairseq-generate``, of which the first hypothesis of each
    example counts.

    Args:
        path: of the file; UTF-8.
        text: makes text of the symbols of a hypothesis (``H-``); None, or where they are ids, of
            which another model has others: take the text that fairseq-generate made of it
            (``D-``), or the symbols where it made none.
        wording: of messages.

    Raises:
        UserError: the file is missing, not UTF-8, malformed, or has no text for some examples.
    """
    if path.suffix in JSON_SUFFIXES:
        return of_json(read_objects(path), path, wording)
    lines = _lines(path)
    generated = generated_lines("\n".join(lines))
    if generated["H"] or generated["D"]:
        return _generated(path, generated, text, wording)
    return [Written(line) for line in lines]


def of_json(objects: Iterable[Any], path: Path, wording: Wording) -> list[Written]:
    """Take texts out of objects with ``prediction``; see ``read_written``."""
    where = f"{path}: {wording.written}"
    return [_of_object(given, f"{where} {number}") for number, given in enumerate(objects)]


def _of_object(given: Any, where: str) -> Written:
    prediction = given.get("prediction") if isinstance(given, dict) else None
    if not isinstance(prediction, str):
        raise UserError(f"{where} must be an object with a text named prediction")
    return Written(prediction, given)


def _generated(
    path: Path, found: dict[str, dict[int, str]], text: Detokeniser | None, wording: Wording
) -> list[Written]:
    kind = "H" if (text and found["H"]) or not found["D"] else "D"
    hypotheses = found[kind]
    missing = max(hypotheses) + 1 - len(hypotheses)
    if missing:
        first = next(n for n in range(len(hypotheses)) if n not in hypotheses)
        raise UserError(
            f"{path} has no {wording.written} {wording.link} {missing} of the {wording.read}s 0 to "
            f"{max(hypotheses)}, {first} the first"
        )
    best = [hypotheses[number] for number in range(len(hypotheses))]
    if kind == "D" or not text or _is_of_numbers(best, found["D"]):
        return [Written(found["D"].get(number, line)) for number, line in enumerate(best)]
    return [Written(text(line.split())) for line in best]


def _is_of_numbers(hypotheses: list[str], texts: dict[int, str]) -> bool:
    """Tell whether these are ids, of some model's pieces, whose text stands beside them."""
    beside = [texts.get(number, line) for number, line in enumerate(hypotheses)]
    return all(map(_of_ids, hypotheses)) and not all(map(_of_ids, beside))


def _of_ids(line: str) -> bool:
    return all(symbol.isdigit() or symbol.startswith("<") for symbol in line.split())


def _lines(path: Path) -> list[str]:
    require_regular(path)
    try:
        lines = read_lines(path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    return [] if lines == [""] else lines


# The end of the name of what preparation leaves of a split, beside the binarized text.
PREPARED = ".fid.jsonl"

_POINTER = re.compile(r"\s*<passage:(\d{1,9})>\s*")


@dataclass(frozen=True)
class Question:
    """A question as it is scored.

    Attributes:
        id: of the example.
        question: its text.
        answers: right ones, at least one; an empty one alone where the question has no answer.
        holds: whether each of its passages holds one of them, the best passage first.
        long_answer: what a model was to write, where that is no short answer; else None.
        answerable: false for a question of SQuAD 2.0 without an answer.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    holds: tuple[bool, ...]
    long_answer: str | None = None
    answerable: bool = True


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


def read_questions(path: Path, order: PassageOrder | None = None) -> list[Question]:
    """Read the public JSON of Fusion-in-Decoder, what its preparation leaves of it, or SQuAD's.

    In the first an answer is looked for in the passages' text; the second has no text, but says of
    each passage whether it ``has_answer``, in the order in which models read them. Of SQuAD's own
    JSON the paragraphs are not looked at.

    Args:
        path: of the file.
        order: what puts passages that have text in order, by score if None.

    Raises:
        UserError: the file is missing, of another format, or lacks an answer.
    """
    questions: list[Question] = []
    for number, given in enumerate(read_objects(path)):
        if is_squad(given):
            questions += _squad_questions(given, path)
        else:
            questions.append(_question(given, f"{path}: example {number}", number, order))
    if not questions:
        raise UserError(f"{path} holds no example")
    return questions


def _squad_questions(given: dict[str, Any], path: Path) -> Iterator[Question]:
    for example in squad_examples(given, path):
        answers = example.answers or ("",)
        yield Question(example.id, example.question, answers, (), answerable=bool(example.answers))


def _question(given: Any, where: str, number: int, order: PassageOrder | None) -> Question:
    passages = given.get("ctxs") if isinstance(given, dict) else None
    if isinstance(passages, list) and passages and all(map(_says_what_it_holds, passages)):
        holds = [passage["has_answer"] for passage in passages]
        example = parse_example({**given, "ctxs": []}, where, number, need_passages=False)
    else:
        example = parse_example(given, where, number, need_passages=False, order=order)
        holds = [contains_answer(passage.text, example.answers) for passage in example.passages]
    target = example.target
    long_answer = None if target in example.answers else target
    return Question(example.id, example.question, example.answers, tuple(holds), long_answer)


def _says_what_it_holds(passage: Any) -> bool:
    if not isinstance(passage, dict) or "text" in passage:
        return False
    return isinstance(passage.get("has_answer"), bool)


def read_predictions(
    path: Path, text: Detokeniser | None = None
) -> list[Prediction] | dict[str, Prediction]:
    """Read answers, in the order of their questions, or by the ids of these.

    As ``read_written`` reads them; an object may hold ``pointer`` and ``id``, too.  A file of JSON
    that holds one object, without ``prediction``, has the answer to each question under its id, as
    SQuAD's scripts read it.

    Args:
        path: of the file; UTF-8.
        text: makes text of symbols; see ``read_written``.

    Raises:
        UserError: the file is missing, not UTF-8, malformed, or has no answer to some questions.
    """
    if path.suffix in JSON_SUFFIXES:
        objects = list(read_objects(path))
        if len(objects) == 1 and isinstance(objects[0], dict) and "prediction" not in objects[0]:
            return _by_id(objects[0], path)
        found = of_json(objects, path, ANSWERS)
    else:
        found = read_written(path, text, ANSWERS)
    return [
        _prediction(written, f"{path}: answer {number}") for number, written in enumerate(found)
    ]


def _by_id(given: Mapping[str, Any], path: Path) -> dict[str, Prediction]:
    for identity, answer in given.items():
        if not isinstance(answer, str):
            raise UserError(
                f"{path}: the answer to the question with id {identity!r} must be text, but is "
                f"{answer!r:.40}"
            )
    return {
        identity: replace(parse_prediction(answer), id=identity)
        for identity, answer in given.items()
    }


def _prediction(written: Written, where: str) -> Prediction:
    identity, pointer = written.given.get("id"), written.given.get("pointer")
    if pointer is not None and (type(pointer) is not int or pointer < 0):
        raise UserError(f"{where}: pointer must be the number of a passage, but is {pointer!r}")
    if "pointer" in written.given:
        parsed = Prediction(written.text, pointer)
    else:
        parsed = parse_prediction(written.text)
    return replace(parsed, id=None if identity is None else str(identity))


def paired(
    predictions: Sequence[Prediction] | Mapping[str, Prediction],
    questions: Sequence[Question],
    by: Path,
    of: Path,
) -> list[Prediction]:
    """Return the answer to each question, and refuse answers that are not to these, one by one.

    SQuAD's scripts count a question without an answer as wrong (1.1) or leave it out of the
    average (2.0), and pass over answers to other questions; here both are errors.

    Args:
        predictions: in the order of the questions, or by their ids.
        questions: all of them.
        by: the file of the answers, for messages.
        of: the file of the questions.

    Raises:
        UserError: there are more or fewer, or their ids are of other questions.
    """
    if isinstance(predictions, Mapping):
        return _paired_by_id(predictions, questions, by, of)
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
    return list(predictions)


def _paired_by_id(
    predictions: Mapping[str, Prediction], questions: Sequence[Question], by: Path, of: Path
) -> list[Prediction]:
    asked = {question.id for question in questions}
    missing = [question.id for question in questions if question.id not in predictions]
    if missing:
        raise UserError(
            f"{by} has no answer to {len(missing)} of the {len(questions)} questions of {of}, the "
            f"first with id {missing[0]}"
        )
    others = [identity for identity in predictions if identity not in asked]
    if others:
        raise UserError(
            f"{by} answers {len(others)} questions that are not among the {len(questions)} of "
            f"{of}, the first with id {others[0]}"
        )
    return [predictions[question.id] for question in questions]
