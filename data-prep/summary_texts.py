"""Documents and their summaries as parallel texts: SPLIT.source and SPLIT.target, a line each.

A third text beside them, the labels, says where each pair comes from, so that a complaint about one
that is found later can name it. Sentences of a summary may be parted by `<q>`, as PreSumm writes
them: the raw text keeps the mark, and training reads a space.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from book_text import LINE_BREAKS
from one_line_errors import PrepareError
from progress import told

SENTENCE_MARK = "<q>"
SIDES = ("source", "target")


class Pair(NamedTuple):
    """A document and its summary, and what the user calls the pair."""

    label: str
    source: str
    summary: str


def one_line(text: str) -> str:
    """Return a text without line breaks inside, of which Python and Unicode have many."""
    return text.translate(LINE_BREAKS).strip()


def joined_sentences(summary: str) -> str:
    """Return a summary whose marked sentences are parted by spaces."""
    if SENTENCE_MARK not in summary:
        return summary
    return " ".join(filter(None, map(str.strip, summary.split(SENTENCE_MARK))))


def lacking(pair: Pair) -> str | None:
    """Return which of the two a pair lacks, if it lacks one."""
    if not pair.source.strip():
        return "source"
    return None if joined_sentences(pair.summary).strip() else "summary"


class Writer:
    """Writes the pairs of each split, and counts those that are dropped."""

    def __init__(self, text: Path, labels: Path) -> None:
        """Begin with nothing written."""
        self.text = text
        self.labels = labels
        self.dropped: dict[str, int] = {}

    def write(
        self, split: str, pairs: Iterable[Pair], drop_empty: bool = True, limit: int | None = None
    ) -> None:
        """Write a split: of the pairs that are not dropped the first ones, up to the limit."""
        kept = dropped = empty = 0
        source, target = (self.text / f"{split}.{side}" for side in SIDES)
        with (
            source.open("w", encoding="utf-8", newline="\n") as sources,
            target.open("w", encoding="utf-8", newline="\n") as targets,
            (self.labels / split).open("w", encoding="utf-8", newline="\n") as labels,
        ):
            for pair in told(pairs, split, "pairs"):
                if kept == limit:
                    break
                if lacking(pair):
                    empty += 1
                    if drop_empty:
                        dropped += 1
                        continue
                sources.write(pair.source + "\n")
                targets.write(pair.summary + "\n")
                labels.write(pair.label + "\n")
                kept += 1
        if not kept:
            raise PrepareError(f"{split}: no pair is left, because each has nothing on one side")
        what = "dropped" if drop_empty else "kept"
        lack = f", {empty} with nothing on one side {what}" if empty else ""
        print(f"    {split}: {kept} pairs{lack}", flush=True)
        self.dropped[split] = dropped

    def finish(self, counts: Path) -> None:
        """Write how many pairs of each split were dropped, for the manifest."""
        counts.write_text(json.dumps(self.dropped), encoding="utf-8")
