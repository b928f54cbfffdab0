"""Questions with their right answers, in the formats in which they are published.

Fusion-in-Decoder's JSON (``fid_json``), NQ-open's JSON lines, DPR's rows, and SQuAD's own JSON: one
object of articles and paragraphs, as versions 1.1 and 2.0 (P. Rajpurkar et al., 2016,
arXiv:1606.05250; 2018, arXiv:1806.03822) and the data sets of their format (MLQA, XQuAD,
KorQuAD 1.0, ...) publish it::

    {"version": "v2.0", "data": [{"title": "...", "paragraphs": [{"context": "...", "qas": [
        {"id": "5a", "question": "...", "answers": [{"text": "...", "answer_start": 9}]}]}]}]}
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genft_fairseq.data.answer_match import contains_answer
from genft_fairseq.data.fid_json import Example, PassageOrder, parse_example, read_examples
from genft_fairseq.data.json_stream import read_objects
from genft_fairseq.errors import UserError
from genft_fairseq.files import numbered_lines


@dataclass(frozen=True)
class Question:
    """A question as its answers are scored.

    Attributes:
        id: of the example.
        question: its text.
        answers: right ones, at least one; an empty one alone where the question has no answer.
        holds: whether each of its passages holds one of them, the best passage first.
        long_answer: what a model was trained to write, where that is no short answer; else None.
        answerable: false for a question of SQuAD 2.0 without an answer.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    holds: tuple[bool, ...]
    long_answer: str | None = None
    answerable: bool = True


def read_references(path: Path, order: PassageOrder | None = None) -> list[Question]:
    """Read questions that answers are scored against.

    Of Fusion-in-Decoder's JSON, of what its preparation leaves of it, or of SQuAD's JSON. In the
    first an answer is looked for in the passages' text; the second has no text, but says of each
    passage whether it ``has_answer``, in the order in which models read them. Of SQuAD's the
    paragraphs are not looked at.

    Args:
        path: of the file.
        order: puts passages that have text in order, by score if None.

    Raises:
        UserError: the file is missing, of another format, or lacks an answer.
    """
    questions: list[Question] = []
    for number, given in enumerate(read_objects(path)):
        if isinstance(given, dict) and "data" in given and "question" not in given:
            questions += _squad_questions(given, path)
        else:
            questions.append(_fid_question(given, f"{path}: example {number}", number, order))
    if not questions:
        raise UserError(f"{path} holds no example")
    return questions


def read_questions(path: str | Path, need_answers: bool = False) -> Iterator[Example]:
    """Read questions and their right answers, one at a time.

    Args:
        path: of Fusion-in-Decoder's JSON or JSON lines, with or without passages; of NQ-open's JSON
            lines (``question`` and ``answer``, a list); or, where the name ends in ``.tsv`` or
            ``.tsv.gz``, of DPR's rows ``question<TAB>['answer', ...]``, or of rows ``question`` and
            any number of answers, with tabs between.
        need_answers: refuse a question without an answer.

    Raises:
        UserError: it cannot be read, or is none of these; the message names the file and the
            example or line.
    """
    name = Path(path).name
    rows = _read_rows if name.endswith((".tsv", ".tsv.gz")) else _read_json
    for example in rows(Path(path)):
        if need_answers and not example.answers:
            raise UserError(f"{path}: question {example.id!r} has no answer")
        yield example


def _read_json(path: Path) -> Iterator[Example]:
    for example in read_examples(path, need_answers=False, need_passages=False):
        given = example.extra.get("answer")
        given = [given] if isinstance(given, str) else given
        if not example.answers and isinstance(given, list):
            answers = tuple(answer for answer in given if isinstance(answer, str) and answer)
            yield replace(example, answers=answers)
        else:
            yield example


def _read_rows(path: Path) -> Iterator[Example]:
    number = 0
    for number, line in numbered_lines(path):
        question, *answers = line.split("\t")
        if not question.strip():
            raise UserError(f"{path}: line {number} has no question")
        yield Example(str(number - 1), question, _answers(answers), ())
    if not number:
        raise UserError(f"{path} holds no question")


def _answers(columns: list[str]) -> tuple[str, ...]:
    if len(columns) == 1 and columns[0].strip().startswith("["):
        try:
            found = ast.literal_eval(columns[0].strip())
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            found = None
        if isinstance(found, list) and all(isinstance(answer, str) for answer in found):
            columns = found
    return tuple(answer for answer in columns if answer.strip())


def _fid_question(given: Any, where: str, number: int, order: PassageOrder | None) -> Question:
    passages = given.get("ctxs") if isinstance(given, dict) else None
    if isinstance(passages, list) and passages and all(map(_says_what_it_holds, passages)):
        holds = [passage["has_answer"] for passage in passages]
        example = parse_example({**given, "ctxs": []}, where, number, need_passages=False)
    else:
        example = parse_example(given, where, number, need_passages=False, order=order)
        holds = [contains_answer(passage.text, example.answers) for passage in example.passages]
    long_answer = None if example.target in example.answers else example.target
    return Question(example.id, example.question, example.answers, tuple(holds), long_answer)


def _says_what_it_holds(passage: Any) -> bool:
    if not isinstance(passage, dict) or "text" in passage:
        return False
    return isinstance(passage.get("has_answer"), bool)


def _squad_questions(given: dict[str, Any], path: Path) -> Iterator[Question]:
    """Yield the questions of a data set in its order; an unanswerable one has an empty answer."""
    seen: set[str] = set()
    for article, where in _parts(given, "data", str(path)):
        for paragraph, within in _parts(article, "paragraphs", where):
            for asked, here in _parts(paragraph, "qas", within):
                question = _squad_question(asked, here)
                if question.id in seen:
                    raise UserError(f"{here}: an earlier question has the id {question.id!r}, too")
                seen.add(question.id)
                yield question
    if not seen:
        raise UserError(f"{path} holds no question")


def _parts(given: Any, name: str, where: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the objects of a list, each with how messages call it."""
    found = given.get(name)
    where = f"{where}: {name}" if name == "data" else f"{where}.{name}"
    if not isinstance(found, list):
        raise UserError(f"{where} must be a list, as in SQuAD's JSON")
    for number, part in enumerate(found):
        if not isinstance(part, dict):
            raise UserError(f"{where}[{number}] must be an object, as in SQuAD's JSON")
        yield part, f"{where}[{number}]"


def _squad_question(given: dict[str, Any], where: str) -> Question:
    identity, text = given.get("id"), given.get("question")
    if not isinstance(identity, str | int) or isinstance(identity, bool):
        raise UserError(f"{where} has no id: it must be text or a number, but is {identity!r:.40}")
    if not isinstance(text, str):
        raise UserError(f"{where}: question must be text, but is {text!r:.40}")
    answers: list[str] = []
    for answer, here in _parts(given, "answers", where):
        if not isinstance(answer.get("text"), str):
            raise UserError(f"{here}: text must be text, but is {answer.get('text')!r:.40}")
        answers.append(answer["text"])
    return Question(str(identity), text, tuple(answers or [""]), (), answerable=bool(answers))
