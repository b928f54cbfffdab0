"""Translations as fairseq-generate writes them, scored by sacreBLEU."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sacrebleu

from genft_fairseq.errors import UserError, require_regular
from genft_fairseq.evaluation.repetition import mean_repetition


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text; only a line feed ends one, whatever else Unicode has."""
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def read_translations(path: Path) -> list[str]:
    """Return the detokenised hypotheses of a ``generate-*.txt``, in the order of the test set.

    Raises:
        UserError: the file cannot be read, is not UTF-8, or numbers them otherwise than 0, 1, 2,
            ...: sentences are missing.
    """
    require_regular(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    found = re.findall(r"^D-(\d{1,12})\t\S+\t(.*)$", text, re.MULTILINE)
    rows = sorted((int(number), hypothesis) for number, hypothesis in found)
    if [number for number, _ in rows] != list(range(len(rows))):
        raise UserError(f"{path} does not hold one translation of every sentence")
    return [hypothesis for _, hypothesis in rows]


def translation_figures(
    translations: Sequence[str], references: Sequence[str], lowercase: bool = False
) -> dict[str, Any]:
    """Compute corpus BLEU and chrF with their signatures, the ratio of lengths, and rep-4.

    Args:
        translations: detokenised, one a sentence.
        references: untouched, as many.
        lowercase: score BLEU and chrF without regard to case; the signatures say so.

    Returns:
        ``bleu`` and ``chrf`` in [0, 100]; ``length_ratio`` of sacreBLEU's tokens; ``rep_1`` to
        ``rep_4``, the mean share of n-grams of words that repeat within a sentence.

    Raises:
        UserError: not as many translations as references.
    """
    if len(translations) != len(references):
        raise UserError(f"{len(translations)} translations of {len(references)} references")
    bleu, chrf = sacrebleu.BLEU(lowercase=lowercase), sacrebleu.CHRF(lowercase=lowercase)
    score = bleu.corpus_score(translations, [references])
    return {
        "bleu": score.score,
        "bleu_signature": str(bleu.get_signature()),
        "chrf": chrf.corpus_score(translations, [references]).score,
        "chrf_signature": str(chrf.get_signature()),
        "length_ratio": score.ratio,
        **word_repetitions(translations),
    }


def word_repetitions(texts: Sequence[str]) -> dict[str, float | None]:
    """Return ``rep_1`` to ``rep_4`` of texts."""
    return {f"rep_{n}": word_repetition(texts, n) for n in (1, 2, 3, 4)}


def word_repetition(texts: Sequence[str], n: int = 4) -> float | None:
    """Return the mean share of n-grams of words that repeat within a text."""
    return mean_repetition([text.split() for text in texts], n).mean
