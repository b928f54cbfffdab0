"""Questions in the formats they are published in: JSON lines, CSV, SQuAD.

Questions to find passages for, in the formats that they are published in.

SQuAD's own JSON: articles of paragraphs, each with questions on it.

One object, as versions 1.1 and 2.0 (P. Rajpurkar et al., 2016, arXiv:1606.05250; 2018,
arXiv:1806.03822) and the data sets of their format (MLQA, XQuAD, KorQuAD 1.0, ...) publish it::

    {"version": "v2.0", "data": [{"title": "...", "paragraphs": [{"context": "...", "qas": [
        {"id": "5a", "question": "...", "answers": [{"text": "...", "answer_start": 9}]}]}]}]}
"""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from genft_fairseq.data.fid_json import Example, read_examples
from genft_fairseq.errors import UserError
from genft_fairseq.files import numbered_lines


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


def is_squad(given: Any) -> bool:
    """Tell whether an object of JSON is a data set in SQuAD's format, not a single example."""
    return isinstance(given, dict) and "data" in given and "question" not in given


def squad_examples(given: dict[str, Any], path: object) -> Iterator[Example]:
    """Yield the questions of a data set in its order; one that has no answer has none.

    Args:
        given: what ``json.loads`` made of the file.
        path: of the file, for messages.

    Raises:
        UserError: a part is missing or of another type.
    """
    seen: set[str] = set()
    for article, where in _parts(given, "data", str(path)):
        for paragraph, within in _parts(article, "paragraphs", where):
            for asked, here in _parts(paragraph, "qas", within):
                example = _example(asked, here)
                if example.id in seen:
                    raise UserError(f"{here}: an earlier question has the id {example.id!r}, too")
                seen.add(example.id)
                yield example
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


def _example(asked: dict[str, Any], where: str) -> Example:
    identity, question = asked.get("id"), asked.get("question")
    if not isinstance(identity, str | int) or isinstance(identity, bool):
        raise UserError(f"{where} has no id: it must be text or a number, but is {identity!r:.40}")
    if not isinstance(question, str):
        raise UserError(f"{where}: question must be text, but is {question!r:.40}")
    answers: list[str] = []
    for answer, here in _parts(asked, "answers", where):
        text = answer.get("text")
        if not isinstance(text, str):
            raise UserError(f"{here}: text must be text, but is {text!r:.40}")
        answers.append(text)
    return Example(str(identity), question, tuple(answers), ())
