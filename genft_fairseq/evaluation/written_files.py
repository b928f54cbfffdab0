"""What a model has written, as files hold it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genft_fairseq.data.json_stream import read_objects
from genft_fairseq.errors import UserError, require_regular
from genft_fairseq.evaluation.pieces import Text
from genft_fairseq.evaluation.translation import generated_lines, read_lines
from genft_fairseq.evaluation.wording import Wording

# What the names of files of JSON end in.
JSON_SUFFIXES = (".json", ".jsonl")


@dataclass(frozen=True)
class Written:
    """A text by a model, and the JSON object it stands in, where it stands in one."""

    text: str
    given: Mapping[str, Any] = field(default_factory=dict)


def read_written(path: Path, text: Text | None, wording: Wording) -> list[Written]:
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
    path: Path, found: dict[str, dict[int, str]], text: Text | None, wording: Wording
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
