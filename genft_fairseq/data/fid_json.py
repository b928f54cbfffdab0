"""The public JSON of Fusion-in-Decoder: questions, answers, and the passages found for each.

The format of Izacard & Grave (2021): an array of objects, or one object a line (JSON lines),
gzipped or not::

    {"id": "0", "question": "...", "target": "...", "answers": ["..."],
     "ctxs": [{"id": "1", "title": "...", "text": "...", "score": 30.8}]}

``id``, ``target``, ``score`` and a passage's ``id`` may be missing; other keys of an example are
kept as they are. Half of a surrogate pair, which UTF-8 cannot hold, is read as U+FFFD.

The passages of an example are read by score, highest first, as the authors' code reads them
(facebookresearch/FiD, src/data.py): a file may have been scored again without being sorted again.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from genft_fairseq.data.json_stream import read_objects
from genft_fairseq.errors import UserError


@dataclass(frozen=True)
class Passage:
    """A passage found for a question; the first of an example is the best.

    Attributes:
        score: higher is better; may be infinite, but not nan; None: missing, or not a number.
    """

    title: str
    text: str
    id: str | None = None
    score: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the object of the public format."""
        score: float | str | None = self.score
        if self.score is not None and math.isinf(self.score):
            score = str(self.score)  # JSON has no such number; scores may be text
        given = {"id": self.id, "title": self.title, "text": self.text, "score": score}
        return {key: value for key, value in given.items() if value is not None}


@dataclass
class PassageOrder:
    """Orders the passages of examples, and counts the changes.

    Highest score first; passages of the same score stay as they stand. The order of an example is
    kept where any of its passages has no score, or one that is not a number.

    Attributes:
        keep: keep the order of the file, whatever the scores.
        examples: with passages, so far.
        changed: of these, in another order now.
        unscored: of these, kept because a passage has no score.
    """

    keep: bool = False
    examples: int = 0
    changed: int = 0
    unscored: int = 0

    def __call__(self, passages: tuple[Passage, ...]) -> tuple[Passage, ...]:
        """Return the passages of an example in the order in which they are read."""
        self.examples += bool(passages)
        if self.keep:
            return passages
        scores = [passage.score for passage in passages if passage.score is not None]
        if len(scores) < len(passages):
            self.unscored += 1
            return passages
        by_score = sorted(range(len(passages)), key=scores.__getitem__, reverse=True)
        ordered = tuple(passages[number] for number in by_score)
        self.changed += ordered != passages
        return ordered

    def __str__(self) -> str:
        """Return a summary in one line."""
        if self.keep:
            return f"passages in the order of the file (--keep-order), {self.examples} examples"
        return (
            f"passages by score, highest first: {self.changed} of {self.examples} examples "
            f"reordered; {self.unscored} with a passage without a score, in the order of the file"
        )


@dataclass(frozen=True)
class Example:
    """A question, its correct answers, and the passages to read.

    Attributes:
        id: as given, or the number of the example in its file, from 0.
        target: the answer to train on; None where the file names none: the first of ``answers``.
        answers: all correct answers; may be empty where that was allowed.
        passages: the best one first; may be empty where that was allowed.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    passages: tuple[Passage, ...]
    target: str | None = None
    extra: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def answer(self) -> str:
        """The answer to train on: the target, or the first correct answer."""
        return self.target if self.target is not None else self.answers[0]

    def as_json(self) -> dict[str, Any]:
        """Return the object of the public format."""
        given: dict[str, Any] = {"id": self.id, "question": self.question}
        if self.target is not None:
            given["target"] = self.target
        given["answers"] = list(self.answers)
        given["ctxs"] = [passage.as_json() for passage in self.passages]
        return given | self.extra


def read_examples(
    path: str | Path,
    need_answers: bool = True,
    need_passages: bool = True,
    order: PassageOrder | None = None,
) -> Iterator[Example]:
    """Read a file of examples one by one, however large it is.

    Args:
        path: of UTF-8 JSON or JSON lines, gzipped or not, whatever its name says.
        need_answers: refuse an example without a right answer.
        need_passages: refuse an example without passages.
        order: what puts passages in order; its counts are those of the examples read.

    Raises:
        UserError: the file is missing, empty, no JSON of this format, or lacks what is needed; the
            message names the file and the example.
    """
    number = -1
    for number, given in enumerate(read_objects(Path(path))):
        where = f"{path}: example {number}"
        yield parse_example(given, where, number, need_answers, need_passages, order)
    if number < 0:
        raise UserError(f"{path} holds no example")


def parse_example(
    given: Any,
    where: str,
    number: int = 0,
    need_answers: bool = True,
    need_passages: bool = True,
    order: PassageOrder | None = None,
) -> Example:
    """Check one decoded object of the format.

    Args:
        given: what ``json.loads`` made of it.
        where: begins the message of an error.
        number: the id of an example without one.
        need_answers: refuse an example without a right answer.
        need_passages: refuse an example without passages.
        order: what puts passages in order, by score if None.

    Raises:
        UserError: something is missing or of another type.
    """
    if not isinstance(given, dict):
        raise UserError(f"{where} is {_kind(given)}, but must be an object with a question")
    identity = given.get("id")
    if identity is not None:
        where = f"{where} (id {identity!r})"
    question = given.get("question")
    if not isinstance(question, str) or not question.strip():
        found = "empty" if isinstance(question, str) else _kind(question)
        raise UserError(f"{where} has no question: it must be text, but is {found}")
    answers = given.get("answers", [])
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise UserError(f"{where}: answers must be a list of texts, but is {_kind(answers)}")
    target = given.get("target")
    if target is not None and not isinstance(target, str):
        raise UserError(f"{where}: target must be text, but is {_kind(target)}")
    right = tuple(answer for answer in answers if answer.strip())
    if not (target or "").strip():
        target = None
    if target is not None and not right:
        right = (target,)
    if need_answers and not right:
        raise UserError(f"{where} has no answer: neither answers nor target holds text")
    passages = given.get("ctxs")
    if need_passages and not passages:
        missing = "has no ctxs" if passages is None else "has an empty list of ctxs"
        raise UserError(f"{where} {missing}: the passages to read, the best one first")
    if not isinstance(passages or [], list):
        raise UserError(f"{where}: ctxs must be a list of passages, but is {_kind(passages)}")
    read = tuple(
        _parse_passage(passage, f"{where}: passage {index}")
        for index, passage in enumerate(passages or [])
    )
    known = {"id", "question", "answers", "target", "ctxs"}
    return Example(
        id=str(number if identity is None else identity),
        question=question,
        answers=right,
        passages=(PassageOrder() if order is None else order)(read),
        target=target,
        extra={key: value for key, value in given.items() if key not in known},
    )


def _parse_passage(given: Any, where: str) -> Passage:
    if not isinstance(given, dict):
        raise UserError(f"{where} is {_kind(given)}, but must be an object with title and text")
    title, text, score = given.get("title"), given.get("text"), given.get("score")
    if title is not None and not isinstance(title, str):
        raise UserError(f"{where}: title must be text, but is {_kind(title)}")
    if not isinstance(text, str):
        raise UserError(f"{where} has no text: it must be text, but is {_kind(text)}")
    identity = given.get("id")
    identity = None if identity is None else str(identity)
    return Passage(title or "", text, identity, _number(score))


def _number(score: Any) -> float | None:
    """Read a score, which the public files hold as a number or as text."""
    if isinstance(score, bool):
        return None
    try:
        number = float(score)
    except OverflowError:  # a whole number beyond every float
        return math.inf if score > 0 else -math.inf
    except (TypeError, ValueError):
        return None
    return None if math.isnan(number) else number


def write_examples(stream: TextIO, examples: Iterable[Example]) -> int:
    """Write examples as JSON lines of the public format, and return their number."""
    number = 0
    for example in examples:
        stream.write(json.dumps(example.as_json(), ensure_ascii=False) + "\n")
        number += 1
    return number


def _kind(given: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    return "missing" if given is None else names.get(type(given), "a number")
