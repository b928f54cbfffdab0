"""Completions on disk: many of them, written as they come, never held together."""

import json
import tempfile
from collections.abc import Iterator
from typing import Any

from genft_fairseq.evaluation.completions import (
    NGRAMS,
    Completion,
    CompletionFigures,
    repeated_tokens,
)
from genft_fairseq.evaluation.pieces import Pieces
from genft_fairseq.evaluation.repetition import repetition


class CompletionLog:
    """Turns completions into text, adds up their figures, and keeps the texts in a file.

    Args:
        pieces: the text of token ids.
        length: of a whole continuation; figures of humans are of whole ones.
        peer_compatible: see ``CompletionFigures``.
    """

    def __init__(self, pieces: Pieces, length: int, peer_compatible: bool):
        self.pieces = pieces
        self.length = length
        self.peer_compatible = peer_compatible
        self.model = CompletionFigures(peer_compatible)
        self.human = CompletionFigures(peer_compatible)
        self._file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 (as long as we)

    def add(self, completion: Completion) -> None:
        """Count a completion, and write its texts down."""
        texts = {
            part: self.pieces.text(getattr(completion, part))
            for part in ("prefix", "continuation", "human")
        }
        written = completion.continuation
        repetitions = {f"seq_rep_{n}": repetition(written, n) for n in NGRAMS}
        for part, figures in (("continuation", self.model), ("human", self.human)):
            ids = getattr(completion, part)
            repeated = repeated_tokens(ids, self.peer_compatible)
            if len(ids) == self.length:
                figures.add(ids, texts[part], repeated)
            texts[f"{part}_marked"] = self.pieces.marked(ids, repeated)
        self._file.write(json.dumps(texts | repetitions, ensure_ascii=False) + "\n")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the texts of every completion, and the ``seq_rep_n`` of its continuation."""
        self._file.flush()
        self._file.seek(0)
        yield from map(json.loads, self._file)

    def json_parts(self, figures: dict[str, Any]) -> Iterator[str]:
        """Yield figures, texts and their repetition as one JSON object, piece by piece."""
        yield json.dumps(figures, indent=2, ensure_ascii=False).removesuffix("\n}")
        yield ',\n  "completions": ['
        for number, texts in enumerate(self):
            kept = {name: texts[name] for name in texts if not name.endswith("_marked")}
            yield ("," if number else "") + "\n    " + json.dumps(kept, ensure_ascii=False)
        yield "\n  ]\n}\n"

    def text_parts(self) -> Iterator[str]:
        """Yield the texts for people to read, repeated 4-grams marked."""
        for number, texts in enumerate(self, start=1):
            yield (
                f"== {number}\n{texts['prefix']}\n-- model\n{texts['continuation_marked']}\n"
                f"-- human\n{texts['human_marked']}\n\n"
            )

    def json_lines(self) -> Iterator[str]:
        """Yield the texts and their repetition as JSON, one completion a line."""
        for texts in self:
            yield json.dumps(texts, ensure_ascii=False) + "\n"
