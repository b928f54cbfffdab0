"""Data for ``training.py``: random words, in sentences as long as real ones."""

import random
from collections.abc import Iterator
from pathlib import Path

from training_commands import Model

SPECIAL = 4  # symbols that every dictionary of fairseq has besides
# Lengths of sentences in words, log-normal, about those of spoken text: a mean of 21.
MEDIAN, SPREAD, SHORTEST, LONGEST = 18.0, 0.55, 2, 100


def write_text(folder: Path, model: Model, updates: int) -> list[str]:
    """Write words and a dictionary, enough for that many updates.

    Args:
        folder: where ``train.*`` and ``dict.txt`` go.
        model: its kind, vocabulary and batch.
        updates: of a run, which shall not begin a second epoch.

    Returns:
        the arguments of ``fairseq-preprocess``, but for where it writes.
    """
    drawn = random.Random(0)
    # A fifth more than needed: batches are never quite full.
    wanted = 1.2 * (updates + 2) * model.tokens
    lengths = []
    while sum(lengths) + len(lengths) < wanted:  # with the end of each sentence
        lengths += [_length(drawn) for _ in range(1000)]
    words = model.vocabulary - SPECIAL
    counts = (f"w{rank} {words // rank + 1}\n" for rank in range(1, words + 1))
    (folder / "dict.txt").write_text("".join(counts), encoding="utf-8")
    shared = ["--srcdict", str(folder / "dict.txt")]
    if model.kind == "language":
        path = folder / "train.txt"
        _write(path, _sentences(drawn, lengths, words))
        return ["--only-source", "--trainpref", str(path), *shared]
    for language in ("xx", "yy"):
        _write(folder / f"train.{language}", _sentences(drawn, lengths, words))
        # A translation is about as long as its source.
        lengths = [max(SHORTEST, round(length * drawn.uniform(0.8, 1.25))) for length in lengths]
    languages = ["--source-lang", "xx", "--target-lang", "yy", "--joined-dictionary"]
    return [*languages, "--trainpref", str(folder / "train"), *shared]


def _length(drawn: random.Random) -> int:
    length = round(MEDIAN * drawn.lognormvariate(0.0, SPREAD))
    return min(LONGEST, max(SHORTEST, length))


def _sentences(drawn: random.Random, lengths: list[int], words: int) -> Iterator[str]:
    for length in lengths:
        # The rank is log-uniform, which is Zipf's law with exponent 1.
        ranks = (int((words + 1) ** drawn.random()) for _ in range(length))
        yield " ".join(f"w{rank}" for rank in ranks) + "\n"


def _write(path: Path, lines: Iterator[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(lines)


def target_dictionary(folder: Path, kind: str) -> Path | None:
    """Return the dictionary of what is predicted; None where a folder holds no data of a kind."""
    if kind == "language":
        return folder / "dict.txt" if (folder / "train.idx").exists() else None
    found = [path.name.split(".")[1] for path in folder.glob("train.*-*.*.idx")]
    return folder / f"dict.{found[0].rpartition('-')[2]}.txt" if found else None


def vocabulary_of(dictionary: Path) -> int:
    """Count the entries of a dictionary."""
    with dictionary.open(encoding="utf-8") as lines:
        return SPECIAL + sum(1 for _ in lines)
