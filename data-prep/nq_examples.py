"""Join the official files of Natural Questions for Fusion-in-Decoder to examples, a line each.

As Izacard & Grave (2021) published them, a split is three files: which questions of NQ-open are in
it, by number; for each of them, in that order, the ids of the passages that were found for it; and
the questions themselves. The text of the passages is in DPR's table.
"""

from __future__ import annotations

import argparse
import json
import mmap
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from one_line_errors import PrepareError, report_errors
from progress import told


class Split(NamedTuple):
    """One split: its questions, and the passages of each."""

    examples: list[dict[str, Any]]
    passages: list[array]


def read_json(path: Path, kind: type) -> Any:
    """Return the content of a file of JSON, which must be of a kind."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise PrepareError(f"{path.name} is no JSON: {error}") from None
    if not isinstance(content, kind):
        raise PrepareError(f"{path.name} must hold a {kind.__name__} of JSON")
    return content


def read_questions(path: Path) -> list[dict[str, Any]]:
    """Return questions and answers of NQ-open, in the names of Fusion-in-Decoder."""
    questions = []
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                given = json.loads(line)
                questions.append({"question": given["question"], "answers": given["answer"]})
            except (ValueError, KeyError, TypeError, RecursionError):
                raise PrepareError(
                    f"{path.name}: line {number} is no object with question and answer"
                ) from None
    return questions


def read_split(
    questions: list[dict[str, Any]], index: Path, passages: Path, count: int | None
) -> Split:
    """Return a split with as many passages for each question as wanted, if a number is."""
    chosen, found = read_json(index, list), read_json(passages, dict)
    examples, ids = [], []
    for number, question in enumerate(chosen):
        if not isinstance(question, int) or not 0 <= question < len(questions):
            raise PrepareError(
                f"{index.name} asks for question {question!r}, but there are {len(questions)}"
            )
        theirs = found.get(str(number))
        if not isinstance(theirs, list) or (count is not None and len(theirs) != count):
            raise PrepareError(
                f"{passages.name} must have a list of {count or 'the'} passages for question "
                f"{number}"
            )
        try:
            ids.append(array("Q", map(int, theirs)))
        except (ValueError, TypeError, OverflowError):
            raise PrepareError(
                f"{passages.name}: a passage of question {number} has no number for an id"
            ) from None
        examples.append(questions[question])
    return Split(examples, ids)


def copy_passages(table: Path, wanted: set[int], copy: Path) -> dict[int, tuple[int, int]]:
    """Write the wanted passages as JSON, and return where each begins and ends."""
    from genft_fairseq.data.passages import PassageTable
    from genft_fairseq.errors import UserError

    places: dict[int, tuple[int, int]] = {}
    try:
        with copy.open("wb") as lines:
            for passage in told(PassageTable(table), table.name, "passages"):
                identity = passage.id or ""
                if identity.isdecimal() and int(identity) in wanted:
                    begin = lines.tell()
                    lines.write(json.dumps(passage.as_json(), ensure_ascii=False).encode("utf-8"))
                    places[int(identity)] = (begin, lines.tell())
    except UserError as error:
        raise PrepareError(str(error)) from None
    missing = len(wanted) - len(places)
    if missing:
        first = min(wanted - places.keys())
        raise PrepareError(
            f"{table} lacks {missing} of the passages, first that with the id {first}"
        )
    return places


def lines(split: Split, content: mmap.mmap, places: dict[int, tuple[int, int]]) -> Iterator[bytes]:
    """Yield the examples of a split in the public JSON, a line each."""
    for example, ids in zip(split.examples, split.passages, strict=True):
        head = json.dumps(example, ensure_ascii=False).encode("utf-8")[:-1]
        passages = (content[slice(*places[identity])] for identity in ids)
        yield head + b', "ctxs": [' + b", ".join(passages) + b"]}\n"


def main() -> None:
    """Read the command line and write DESTINATION/SPLIT.jsonl."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("destination", type=Path)
    parser.add_argument("--table", type=Path, required=True, help="psgs_w100.tsv, gzipped or not")
    parser.add_argument(
        "--split",
        nargs=4,
        action="append",
        required=True,
        metavar=("NAME", "QUESTIONS", "INDEX", "PASSAGES"),
    )
    parser.add_argument("--passages", type=int, help="pinned number of passages of a question")
    args = parser.parse_args()
    splits = {}
    for name, questions, *paths in args.split:
        splits[name] = read_split(
            read_questions(Path(questions)), *map(Path, paths), count=args.passages
        )
        print(f"    {name}: {len(splits[name].examples)} questions", flush=True)
    wanted = {identity for split in splits.values() for ids in split.passages for identity in ids}
    copy = args.destination / "passages"
    places = copy_passages(args.table, wanted, copy)
    print(f"    {len(wanted)} distinct passages", flush=True)
    with copy.open("rb") as passages:
        content = mmap.mmap(passages.fileno(), 0, access=mmap.ACCESS_READ)
        for name, split in splits.items():
            with (args.destination / f"{name}.jsonl").open("wb") as out:
                out.writelines(told(lines(split, content, places), name, "examples"))
    copy.unlink()


if __name__ == "__main__":
    with report_errors():
        main()
    sys.exit(0)
