"""The public JSON of Fusion-in-Decoder: questions, answers, and the passages found for each.

The format of Izacard & Grave (2021): an array of objects, or one object a line (JSON lines),
gzipped or not::

    {"id": "0", "question": "...", "target": "...", "answers": ["..."],
     "ctxs": [{"id": "1", "title": "...", "text": "...", "score": 30.8}]}

``id``, ``target``, ``score`` and a passage's ``id`` may be missing; other keys of an example are
kept as they are. A half of a surrogate pair, which no UTF-8 can hold, is read as U+FFFD.
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
    """A passage found for a question; the first of an example is the best."""

    title: str
    text: str
    id: str | None = None
    score: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the object of the public format."""
        given = {"id": self.id, "title": self.title, "text": self.text, "score": self.score}
        return {key: value for key, value in given.items() if value is not None}


@dataclass(frozen=True)
class Example:
    """A question, its right answers, and the passages to read.

    Attributes:
        id: as given, or the number of the example in its file, from 0.
        target: the answer to train on; None where the file names none: the first of ``answers``.
        answers: every string that counts as right; may be empty where that was allowed.
        passages: in the order of the file; may be empty where that was allowed.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    passages: tuple[Passage, ...]
    target: str | None = None
    extra: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def answer(self) -> str:
        """What a model is trained to say: the target, or the first right answer."""
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
    path: str | Path, need_answers: bool = True, need_passages: bool = True
) -> Iterator[Example]:
    """Read a file of examples one by one, however large it is.

    Args:
        path: of UTF-8 JSON or JSON lines, gzipped or not, whatever its name says.
        need_answers: refuse an example without a right answer.
        need_passages: refuse an example without passages.

    Raises:
        UserError: the file is missing, empty, no JSON of this format, or lacks what is needed; the
            message names the file and the example.
    """
    number = -1
    for number, given in enumerate(read_objects(Path(path))):
        yield parse_example(given, f"{path}: example {number}", number, need_answers, need_passages)
    if number < 0:
        raise UserError(f"{path} holds no example")


def parse_example(
    given: Any,
    where: str,
    number: int = 0,
    need_answers: bool = True,
    need_passages: bool = True,
) -> Example:
    """Check one decoded object of the format.

    Args:
        given: what ``json.loads`` made of it.
        where: begins the message of an error.
        number: the id of an example without one.
        need_answers: refuse an example without a right answer.
        need_passages: refuse an example without passages.

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
    known = {"id", "question", "answers", "target", "ctxs"}
    return Example(
        id=str(number if identity is None else identity),
        question=question,
        answers=right,
        passages=tuple(
            _parse_passage(passage, f"{where}: passage {index}")
            for index, passage in enumerate(passages or [])
        ),
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
    try:  # the public files hold scores as numbers or as text
        number = None if score is None else float(score)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if number is not None and not math.isfinite(number):
        raise UserError(f"{where}: score must be a number, but is {score!r:.40}")
    identity = given.get("id")
    return Passage(title or "", text, None if identity is None else str(identity), number)


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
