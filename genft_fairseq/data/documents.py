"""Long documents to be cut into passages: JSON lines, or a table like that of passages."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genft_fairseq.data.fid_json import Passage
from genft_fairseq.data.passage_table import PassageTable
from genft_fairseq.data.text_lines import numbered_lines
from genft_fairseq.errors import UserError


def read_documents(path: str | Path) -> Iterator[Passage]:
    """Read documents one at a time, all with an id and a text.

    Args:
        path: of objects ``{"id": ..., "title": ..., "text": ...}``, one a line; or, where the name
            ends in ``.tsv`` or ``.tsv.gz``, of rows ``id<TAB>text<TAB>title`` below such a header.
            A document without an id has the number of its line, from 0; a title may be missing.

    Raises:
        UserError: it cannot be read or holds something else; the message names the file and line.
    """
    path = Path(path)
    if path.name.endswith((".tsv", ".tsv.gz")):
        yield from PassageTable(path)
        return
    seen: set[str] = set()
    for number, line in numbered_lines(path):
        where = f"{path}: line {number}"
        try:
            document = _document(json.loads(line), where, number)
        except (ValueError, RecursionError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{where} is no JSON ({error}): give one document a line") from None
        assert document.id is not None
        if document.id in seen:
            raise UserError(f"{where}: id {document.id} was given to an earlier document")
        seen.add(document.id)
        yield document
    if not seen:
        raise UserError(f"{path} holds no document")


def _document(given: Any, where: str, number: int) -> Passage:
    if not isinstance(given, dict):
        raise UserError(f"{where} must be an object with id, title and text")
    text, title, identity = given.get("text"), given.get("title") or "", given.get("id")
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{where} has no text")
    if not isinstance(title, str):
        raise UserError(f"{where}: title must be text, but is {title!r}")
    if isinstance(identity, dict | list | bool):
        raise UserError(f"{where}: id must be text or a number, but is {identity!r}")
    try:
        f"{identity}{title}{text}".encode()
    except UnicodeEncodeError:
        raise UserError(f"{where} holds half of a surrogate pair, which is no text") from None
    return Passage(title, text, str(number - 1 if identity is None else identity))
