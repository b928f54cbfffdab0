"""Questions to find passages for, in the formats that they are published in."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from genft_fairseq.data.fid_json import Example, read_examples
from genft_fairseq.data.text_lines import numbered_lines
from genft_fairseq.errors import UserError


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
