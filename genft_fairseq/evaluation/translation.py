"""Translations of a data folder's split, scored against its untouched references.

Preparation leaves the untouched text of each split in the folder ``raw``: ``raw/SPLIT.LANGUAGE``.
"""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from genft_fairseq.data.subwords import TextForm, text_form
from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.predictions import Generated, join_subwords, read_lines
from genft_fairseq.metrics.translation import translation_metrics
from genft_fairseq.metrics.unknown_words import known_parts

RAW_FOLDER = "raw"


def generated_metrics(
    generated: Generated, data: Path, split: str, language: str | None
) -> tuple[dict[str, Any] | None, Path | None]:
    """Score what ``fairseq-generate`` wrote: as text, where the data folder has raw references.

    Args:
        generated: for every sentence of the split.
        data: the data folder.
        split: part of the data.
        language: of the target, where it is known.

    Returns:
        the metrics of ``translation_metrics``, *tokenised* where there are no untouched references,
        and None without any; and the file of untouched references.
    """
    raw = raw_references(data, split, language) if language else None
    if raw and raw.fit(generated):
        metrics = translation_metrics(raw.texts(generated), raw.lines, raw.lowercase(generated))
        return metrics, raw.file
    if not all(generated.targets):
        return None, None
    # What its flags did to the translations, they did to the targets, too.
    written, targets = (
        list(map(join_subwords, t)) for t in (generated.detokenised, generated.targets)
    )
    return translation_metrics(written, targets, tokenised=True), None


@dataclass(frozen=True)
class RawReferences:
    """The untouched references of a split, and how symbols become text that compares with them.

    Attributes:
        file: that holds them.
        lines: one a sentence.
        form: of the data folder's text.
        language: of the target.
    """

    file: Path
    lines: list[str]
    form: TextForm
    language: str

    @classmethod
    def read(cls, data: Path, file: Path, language: str) -> "RawReferences":
        """Read references of a data folder's split.

        Raises:
            UserError: the file cannot be read, or is not UTF-8.
        """
        try:
            lines = read_lines(file)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{file} cannot be read: {error}") from error
        return cls(file, lines, text_form([data]), language)

    def lowercase(self, generated: Generated) -> bool:
        """Tell whether case is to be disregarded: the data has none, as manifest or targets say."""
        if self.form.words.is_lowercased:
            return True
        targets = [target for target in generated.targets if target]
        return (
            bool(targets)
            and not any(map(_has_capitals, targets))
            and any(map(_has_capitals, self.lines))
        )

    def fit(self, generated: Generated) -> bool:
        """Tell whether these are the references that were tokenised; another set may be as long."""
        if len(self.lines) != len(generated.targets):
            return False
        pairs = [(raw, t) for raw, t in zip(self.lines, generated.targets, strict=True) if t]
        return 2 * sum(self._is_of(*pair) for pair in pairs) >= len(pairs)

    def texts(self, generated: Generated) -> list[str]:
        """Return translations as text: by the form of the data, or as fairseq-generate wrote it."""
        if not self.form.is_known:
            return generated.detokenised
        return [self._text(line) for line in generated.hypotheses]

    def _is_of(self, raw: str, target: str) -> bool:
        if _agree(raw, target):  # text already
            return True
        try:
            return _agree(raw, self._text(target))
        except UserError:  # no symbols of the model that the data are for
            return False

    @cached_property
    def _text(self) -> Callable[[str], str]:
        text = self.form.text(self.language)
        return lambda line: text(line.split())


def raw_references(data: Path, split: str, language: str) -> RawReferences | None:
    """Return the untouched references of a split; None where the data folder has none."""
    file = data / RAW_FOLDER / f"{split}.{language}"
    return RawReferences.read(data, file, language) if file.is_file() else None


def _agree(raw: str, target: str) -> bool:
    """Tell whether a target is of a raw line; an unknown word may be anything in it."""
    left = _letters(raw)
    first, *rest = map(_letters, known_parts(target))
    if not rest:
        return left == first
    *middle, last = rest
    if not left.startswith(first) or not left[len(first) :].endswith(last):
        return False
    left = left[len(first) : len(left) - len(last)]
    for part in middle:
        place = left.find(part)
        if place < 0:
            return False
        left = left[place + len(part) :]
    return True


def _has_capitals(text: str) -> bool:
    return text != text.lower()


def _letters(text: str) -> str:
    """What tokenising leaves alone: letters and digits, not their case."""
    return re.sub(r"[\W_]", "", html.unescape(text)).casefold()
