"""Passage tables, and documents to be cut into passages.

A passage table has the header ``id<TAB>text<TAB>title`` and a passage a line, as DPR and
Fusion-in-Decoder publish it.  Two dialects are read: DPR's ``psgs_w100.tsv`` quotes fields and
doubles the quotes inside, as csv does; others quote nothing, though a text may begin with a quote.
A field counts as quoted if it begins and ends with a quote and has no undoubled quote in between; a
row is always one line.

Documents are JSON lines, or a table of the same columns.
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genft_fairseq.data.fid_json import Passage
from genft_fairseq.errors import UserError
from genft_fairseq.files import numbered_lines

HEADER = ("id", "text", "title")

# Numeric ids below this are remembered as bits: 21 million passages take 2.6 MB.
_NUMBERS = 1 << 28


@dataclass(frozen=True)
class Fingerprint:
    """Identifies the content of a passage table.

    Attributes:
        sha256: of the rows in order; the same with and without gzip or quotes.
        passages: number of passages.
    """

    sha256: str
    passages: int

    def __str__(self) -> str:
        return f"{self.passages} passages, SHA-256 {self.sha256[:16]}"


class PassageTable:
    """A passage table, read from its file in every iteration; no passage is kept.

    Args:
        path: of UTF-8 text; gzipped where its name ends in ``.gz``.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._fingerprint: Fingerprint | None = None

    def __iter__(self) -> Iterator[Passage]:
        """Read the passages in order, all of which have an id and a text.

        Raises:
            UserError: the file cannot be read, holds no passage, or has a malformed row; the
                message names the file and the line.
        """
        digest, number, seen = hashlib.sha256(), 0, _SeenIds()
        for line, row in _rows(self.path):
            identity, text, title = row
            where = f"{self.path}: line {line}"
            if not identity.strip():
                raise UserError(f"{where} has an empty id")
            if not text.strip():
                raise UserError(f"{where} (id {identity}) has an empty text")
            if not seen.add(identity):
                raise UserError(f"{where}: id {identity} was given to an earlier passage")
            for value in row:
                encoded = value.encode()
                digest.update(len(encoded).to_bytes(8, "little") + encoded)
            number += 1
            yield Passage(title, text, identity)
        if not number:
            raise UserError(f"{self.path} holds no passage")
        self._fingerprint = Fingerprint(digest.hexdigest(), number)

    def fingerprint(self) -> Fingerprint:
        """Return the table's fingerprint, for which it is read once."""
        if self._fingerprint is None:
            for _ in self:
                pass
        assert self._fingerprint is not None
        return self._fingerprint

    def pick(self, numbers: Iterable[int]) -> dict[int, Passage]:
        """Read the passages of these row numbers, from 0."""
        wanted = set(numbers)
        return {number: passage for number, passage in enumerate(self) if number in wanted}


def passage_rows(passages: Iterable[Passage]) -> Iterator[str]:
    """Return the lines of a table, header first; a text that begins with a quote is quoted.

    Runs of white space become one space, since a row is a line and a tab ends a field.
    """
    yield "\t".join(HEADER) + "\n"
    for number, passage in enumerate(passages, start=1):
        fields = (passage.id or str(number), passage.text, passage.title)
        yield "\t".join(_quoted(" ".join(field.split())) for field in fields) + "\n"


def _quoted(field: str) -> str:
    doubled = field.replace('"', '""')
    return f'"{doubled}"' if field.startswith('"') else field


def _unquoted(field: str) -> str:
    if len(field) < 2 or field[0] != '"' or field[-1] != '"':
        return field
    inside = field[1:-1]
    return field if '"' in inside.replace('""', "") else inside.replace('""', '"')


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Read the rows below the header, with their line numbers, from 1."""
    for number, line in numbered_lines(path):
        where = f"{path}: line {number}"
        row = line.split("\t")
        if number == 1:
            if tuple(map(_unquoted, row)) != HEADER:
                raise UserError(
                    f"{where} must be the header id<TAB>text<TAB>title, but is {line[:80]!r}"
                )
            continue
        if len(row) > len(HEADER) and '"' in line:  # a tab between quotes
            with suppress(csv.Error):  # longer than csv reads: the columns are counted as they are
                row = next(csv.reader([line], delimiter="\t"))
        else:
            row = [_unquoted(field) for field in row]
        if len(row) != len(HEADER):
            raise UserError(
                f"{where} has {len(row)} column{'s' * (len(row) != 1)}, but must have 3: "
                "id, text and title, a tab between them"
            )
        yield number, row


class _SeenIds:
    """The ids so far; numeric ones take a bit each."""

    def __init__(self) -> None:
        self._bits = bytearray()
        self._texts: set[str] = set()

    def add(self, identity: str) -> bool:
        """Remember an id, and tell whether it is new."""
        if identity.isascii() and identity.isdecimal() and len(identity) <= 9:
            number = int(identity)
            if number < _NUMBERS and str(number) == identity:
                return self._add_number(number)
        if identity in self._texts:
            return False
        self._texts.add(identity)
        return True

    def _add_number(self, number: int) -> bool:
        place, bit = number >> 3, 1 << (number & 7)
        if place >= len(self._bits):
            self._bits.extend(bytes(max(place + 1, 2 * len(self._bits)) - len(self._bits)))
        if self._bits[place] & bit:
            return False
        self._bits[place] |= bit
        return True


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
