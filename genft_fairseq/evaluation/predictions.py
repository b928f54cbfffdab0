"""Files of predictions (the output of ``fairseq-generate``, lines, or JSON) and of references."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genft_fairseq.data.json_stream import read_objects
from genft_fairseq.data.subwords import Detokeniser, text_form
from genft_fairseq.errors import UserError, require_regular
from genft_fairseq.files import numbered_lines

JSON_SUFFIXES = (".json", ".jsonl")

_LINE = re.compile(r"^([STHD])-(\d{1,12})\t(.*)$", re.MULTILINE)


def read_predictions(path: Path, detokenise: Detokeniser | None) -> list[dict[str, Any]]:
    """Read predictions in the order of the examples they were made for.

    A file holds one text a line; or JSON (a name that ends in ``.json`` or ``.jsonl``), objects
    with ``prediction``; or the output of ``fairseq-generate``, of which the first hypothesis of
    each example counts.

    Args:
        path: of the file; UTF-8.
        detokenise: makes text of the symbols of a hypothesis (``H-``). None, or where the symbols
            are ids, of which another model has others: take the text that fairseq-generate made of
            it (``D-``), or the symbols where it made none.

    Returns:
        objects with the text ``prediction``, and whatever else a JSON file says beside it.

    Raises:
        UserError: the file is missing, not UTF-8, malformed, or has no text for some examples.
    """
    if path.suffix in JSON_SUFFIXES:
        return prediction_objects(read_objects(path), path)
    require_regular(path)
    try:
        texts = read_lines(path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    texts = [] if texts == [""] else texts
    generated = _generated_lines("\n".join(texts))
    if generated["H"] or generated["D"]:
        texts = _best_texts(path, generated, detokenise)
    return [{"prediction": text} for text in texts]


def prediction_objects(objects: Iterable[Any], path: Path) -> list[dict[str, Any]]:
    """Return JSON objects, each of which must have the text ``prediction``.

    Raises:
        UserError: one has none; the message names the file and the number of the object.
    """
    checked = []
    for number, given in enumerate(objects):
        if not isinstance(given, dict) or not isinstance(given.get("prediction"), str):
            raise UserError(
                f"{path}: prediction {number} must be an object with a text named prediction"
            )
        checked.append(given)
    return checked


def detokeniser(
    data: str | None, path: str | None, bpe: str, tokenizer: str, language: str
) -> Detokeniser | None:
    """Return what makes text of symbols, as the files in a folder tell.

    Args:
        data: the data folder, which is looked into first.
        path: of the checkpoint, whose folder is looked into, too.
        bpe: how subwords are joined; see ``Subwords``.
        tokenizer: how words make up text; see ``text_form``.
        language: of the text.

    Returns:
        None where neither folder is given.
    """
    folders = [Path(data)] if data else []
    folders += [Path(path).parent] if path else []
    return text_form(folders, bpe, tokenizer).text(language) if folders else None


@dataclass(frozen=True)
class Generated:
    """What ``fairseq-generate`` wrote, in the order of the test set.

    Attributes:
        sources: what was translated, as it prints it (``S-``).
        targets: what should have been written (``T-``); empty where it is not known.
        hypotheses: the best ones, as symbols (``H-``); where it kept none, ``detokenised``.
        detokenised: what its flags made of these (``D-``).
    """

    sources: list[str]
    targets: list[str]
    hypotheses: list[str]
    detokenised: list[str]


def read_generated(path: Path) -> Generated:
    """Read a ``generate-*.txt``; of several hypotheses of a sentence the first, which is the best.

    Raises:
        UserError: the file cannot be read, is not UTF-8, or numbers them otherwise than 0, 1, 2,
            ...: sentences are missing.
    """
    require_regular(path)
    try:
        text = path.read_bytes().decode().replace("\r\n", "\n")  # a lone return ends no line
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return parse_generated(text, str(path))


def parse_generated(text: str, name: str) -> Generated:
    """Read what ``fairseq-generate`` prints; see ``read_generated``.

    Args:
        text: the output.
        name: of the output, for messages.
    """
    lines = _generated_lines(text)
    lines["H"] = lines["H"] or lines["D"]
    numbers = sorted(lines["H"])
    if not numbers or numbers != list(range(len(numbers))) or sorted(lines["D"]) != numbers:
        raise UserError(
            f"{name} does not hold one translation of every sentence, but of {len(numbers)}"
        )
    return Generated(*([lines[kind].get(number, "") for number in numbers] for kind in "STHD"))


def read_translations(path: Path) -> list[str]:
    """Return the hypotheses of a ``generate-*.txt`` as fairseq-generate detokenised them.

    Raises:
        UserError: as ``read_generated``.
    """
    return read_generated(path).detokenised


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text; only a line feed ends one, whatever else Unicode has."""
    with open(path, encoding="utf-8", newline="\n") as stream:
        return [line.rstrip("\r\n") for line in stream]


def read_text(path: Path, what: str) -> list[str]:
    """Read lines of text.

    Args:
        path: gzipped where it ends in ``.gz``.
        what: a line is, for the message.

    Raises:
        UserError: the file is empty, cannot be read, or is not UTF-8.
    """
    lines = [line for _, line in numbered_lines(path)]
    if not lines:
        raise UserError(f"{path} is empty: it must hold a {what} a line")
    return lines


def join_subwords(line: str) -> str:
    """Join the subwords of a line of ``fairseq-generate``."""
    if "\u2581" in line:
        return line.replace(" ", "").replace("\u2581", " ").strip()
    return re.sub(r"@@( |$)", "", line)


def _generated_lines(text: str) -> dict[str, dict[int, str]]:
    """Return the lines ``S-``, ``T-``, ``H-`` and ``D-`` of ``fairseq-generate`` by their numbers.

    Of several hypotheses of a sentence the first counts, which is the best.
    """
    lines: dict[str, dict[int, str]] = {kind: {} for kind in "STHD"}
    for kind, number, rest in _LINE.findall(text):
        score, tab, written = rest.partition("\t") if kind in "HD" else ("", "\t", rest)
        if tab and " " not in score:
            lines[kind].setdefault(int(number), written)
    return lines


def _best_texts(
    path: Path, generated: dict[str, dict[int, str]], detokenise: Detokeniser | None
) -> list[str]:
    hypotheses, texts = generated["H"], generated["D"]
    if texts and not (detokenise and hypotheses):
        hypotheses = texts
    missing = max(hypotheses) + 1 - len(hypotheses)
    if missing:
        first = next(n for n in range(len(hypotheses)) if n not in hypotheses)
        raise UserError(
            f"{path} has no prediction for {missing} of the examples 0 to {max(hypotheses)}, "
            f"number {first} the first"
        )
    best = [hypotheses[number] for number in range(len(hypotheses))]
    beside = [texts.get(number, line) for number, line in enumerate(best)]
    if hypotheses is texts or not detokenise:
        return beside
    if all(map(_is_of_ids, best)) and not all(map(_is_of_ids, beside)):
        return beside  # ids of another model's subwords
    return [detokenise(line.split()) for line in best]


def _is_of_ids(line: str) -> bool:
    return all(symbol.isdigit() or symbol.startswith("<") for symbol in line.split())
