"""Scores of translations that ``fairseq-generate`` wrote."""

import html
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import sacrebleu

from genft_fairseq.evaluation.translation import (
    read_lines,
    translation_figures,
    word_repetitions,
)
from genft_fairseq.report.data_fingerprint import find_folder
from genft_fairseq.report.evaluation_files import Evaluation, Text, repetitions
from genft_fairseq.report.training import Training
from genft_fairseq.study.data_folders import flag_values

_BOOTSTRAPS = 1000
_IDS = re.compile(r"[\d\s]*$")


def raw_references(evaluation: Evaluation, training: Training | None) -> Sequence[str] | None:
    """Return the detokenised references, one a sentence; None where there are none.

    They are where ``data-prep`` leaves them, in ``raw/SPLIT.LANGUAGE`` of the data folder.

    Args:
        evaluation: what was written.
        training: the run, whose command names the data.
    """
    if training is None or training.data is None:
        return None
    folder = find_folder(training.data.path.split(":")[0], evaluation.path.parent)
    language = _target_language(training)
    if folder is None or language is None:
        return None
    # generate-test.txt, or generate-test-blocked.txt for another way of decoding
    split = evaluation.label.removeprefix("generate-").split("-")[0]
    path = Path(folder, "raw", f"{split}.{language}")
    if not path.is_file():
        return None
    lines = read_lines(path)
    return lines if _are_the_same(lines, evaluation) else None


def _are_the_same(raw: Sequence[str], evaluation: Evaluation) -> bool:
    """Whether raw references are those that were tokenised; another test set may be as long."""
    texts = evaluation.texts
    if len(raw) != len(texts):
        return False
    pairs = [(r, text.references[0]) for r, text in zip(raw, texts, strict=True) if text.references]
    # Ids of GPT-2's pieces, which fairseq prints as they are, tell nothing.
    same = sum(_IDS.match(t) is not None or _letters(r) == _letters(t) for r, t in pairs)
    return 2 * same >= len(pairs)


def _letters(text: str) -> str:
    """What tokenising leaves alone: letters and digits, not their case."""
    return re.sub(r"[\W_]", "", html.unescape(text)).casefold()


def take_raw(evaluation: Evaluation, raw: Sequence[str]) -> None:
    """Put detokenised translations and references in the place of tokenised ones."""
    evaluation.texts = [
        Text(text.source, written, (reference,))
        for text, written, reference in zip(
            evaluation.texts, evaluation.detokenised, raw, strict=True
        )
    ]


def score_translations(evaluation: Evaluation, is_raw: bool) -> None:
    """Fill in the figures of translations.

    Args:
        evaluation: what was written, and what should have been.
        is_raw: whether the text is detokenised; what is not has ``tokenised_bleu``, which cannot be
            compared with other papers' BLEU.
    """
    written = [text.written for text in evaluation.texts]
    references = [text.references[0] for text in evaluation.texts if text.references]
    evaluation.per_text["rep_4"] = repetitions(evaluation.texts)
    if len(references) != len(written):  # --gen-subset without a target side
        evaluation.figures |= _known(word_repetitions(written))
        return
    figures = translation_figures(written, references)
    for name in ("bleu_signature", "chrf_signature"):
        evaluation.signatures[name] = figures.pop(name)
    if not is_raw:
        figures["tokenised_bleu"] = (
            sacrebleu.BLEU(tokenize="none").corpus_score(written, [references]).score
        )
        figures.pop("bleu")
        evaluation.signatures.pop("bleu_signature")
    evaluation.figures |= _known(figures)
    evaluation.of_references |= _known(word_repetitions(references))


def bleu_interval(evaluation: Evaluation) -> tuple[str, tuple[float, float]] | None:
    """Return the name of the BLEU that there is, and its 95 % bootstrap interval."""
    name = next((n for n in ("bleu", "tokenised_bleu") if n in evaluation.figures), None)
    if name is None or len(evaluation.texts) < 2:
        return None
    written = tuple(text.written for text in evaluation.texts)
    references = tuple(text.references[0] for text in evaluation.texts)
    return name, _bootstrap(written, references, "13a" if name == "bleu" else "none")


@lru_cache(maxsize=512)  # a report that is watched has the same texts again and again
def _bootstrap(
    written: tuple[str, ...], references: tuple[str, ...], tokenize: str
) -> tuple[float, float]:
    score = sacrebleu.BLEU(tokenize=tokenize).corpus_score(
        written, [references], n_bootstrap=_BOOTSTRAPS
    )
    return score._mean - score._ci, score._mean + score._ci


def _known(figures: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if value is not None}


def _target_language(training: Training) -> str | None:
    words = training.words()
    found = [value for flag in ("--target-lang", "-t") for value in flag_values(words, flag)]
    return found[-1] if found else None
