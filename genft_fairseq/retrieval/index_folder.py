"""The record of an index folder: its passage table, and how it was built."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genft_fairseq.data.passages import Fingerprint, PassageTable
from genft_fairseq.errors import UserError, require_regular

RECORD = "index.json"


@dataclass(frozen=True)
class IndexRecord:
    """The record of an index folder; it is written last, so that a folder with one is complete.

    Attributes:
        method: ``bm25`` or ``dense``.
        table: the name of the passage table, for messages alone.
        fingerprint: of its content.
        options: with which the index was built.
    """

    method: str
    table: str
    fingerprint: Fingerprint
    options: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the record into a folder whose other files are there."""
        text = json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"
        (folder / RECORD).write_text(text, encoding="utf-8")


def read_record(folder: Path) -> IndexRecord:
    """Read the record of an index folder.

    Raises:
        UserError: the folder is no index.
    """
    path = folder / RECORD
    require_regular(path)
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        fingerprint = Fingerprint(**given.pop("fingerprint"))
        record = IndexRecord(**given, fingerprint=fingerprint)
        whole = isinstance(fingerprint.sha256, str) and type(fingerprint.passages) is int
        if not whole or not isinstance(record.options, dict):
            raise TypeError("a field is of another type")
        return record
    except FileNotFoundError:
        raise UserError(f"{folder} is no index: it holds no {RECORD}") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is no record of an index ({error})") from None


def check_record(folder: Path, wanted: IndexRecord, table: PassageTable) -> IndexRecord:
    """Refuse an index of another passage table, method, or option than is asked for.

    Args:
        folder: of the index.
        wanted: the record of what is asked for.
        table: to search.

    Raises:
        UserError: it is another one; the message names what the index has and what is asked.
    """
    found = read_record(folder)
    if found.method != wanted.method:
        raise UserError(f"{folder} is an index for {found.method}, not for {wanted.method}")
    if found.fingerprint != wanted.fingerprint:
        raise UserError(
            f"{folder} was built from another passage table, {found.table} ({found.fingerprint}); "
            f"{table.path} has {wanted.fingerprint}: name another folder for its index"
        )
    for name, value in wanted.options.items():
        if found.options.get(name) != value:
            raise UserError(
                f"{folder} was built with {name} {found.options.get(name)}, but {value} is asked "
                "for: name another folder for that index"
            )
    return found
