"""Scores of translations that ``fairseq-generate`` wrote."""

from functools import lru_cache

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.raw_text import RawReferences
from genft_fairseq.evaluation.raw_text import raw_references as untouched
from genft_fairseq.evaluation.translation import (
    score_intervals,
    translation_figures,
    word_repetitions,
)
from genft_fairseq.report.data_fingerprint import find_folder
from genft_fairseq.report.evaluation_files import Evaluation, Text, fingerprint, repetitions
from genft_fairseq.report.training import Training
from genft_fairseq.study.data_folders import target_language


def raw_references(evaluation: Evaluation, training: Training | None) -> RawReferences | None:
    """Return the untouched references; None where there are none.

    They are where ``data-prep`` leaves them, in ``raw/SPLIT.LANGUAGE`` of the data folder.

    Args:
        evaluation: what was written.
        training: the run, whose command names the data.
    """
    if training is None or training.data is None or evaluation.generated is None:
        return None
    folder = find_folder(training.data.path.split(":")[0], evaluation.path.parent)
    language = target_language(training.words(), folder) if folder else None
    if folder is None or language is None:
        return None
    # generate-test.txt, or generate-test-blocked.txt for another way of decoding
    split = evaluation.label.removeprefix("generate-").split("-")[0]
    raw = untouched(folder, split, language)
    return raw if raw and raw.fit(evaluation.generated) else None


def take_raw(evaluation: Evaluation, raw: RawReferences) -> None:
    """Put detokenised translations and untouched references in the place of tokenised ones."""
    assert evaluation.generated is not None
    evaluation.texts = [
        Text(text.source, written, (reference,))
        for text, written, reference in zip(
            evaluation.texts, raw.texts(evaluation.generated), raw.lines, strict=True
        )
    ]
    evaluation.test_set = fingerprint(evaluation.texts)
    evaluation.lowercase = raw.lowercase(evaluation.generated)


def score_translations(evaluation: Evaluation, is_raw: bool) -> None:
    """Fill in the figures of translations.

    Args:
        evaluation: what was written, and what should have been.
        is_raw: whether the text is detokenised; what is not has ``tokenised_bleu``, which cannot be
            compared with other papers' BLEU.
    """
    written = [text.written for text in evaluation.texts]
    references = [text.references[0] for text in evaluation.texts if text.references]
    evaluation.per_text |= {f"rep_{n}": repetitions(evaluation.texts, n) for n in range(1, 5)}
    if len(references) != len(written):  # --gen-subset without a target side
        evaluation.figures |= _known(word_repetitions(written))
        return
    try:
        figures = translation_figures(written, references, evaluation.lowercase, not is_raw)
    except UserError as error:
        raise UserError(f"{evaluation.path}: {error}") from error
    for name in [name for name in figures if name.endswith("_signature")]:
        evaluation.signatures[name] = figures.pop(name)
    evaluation.figures |= _known(figures)
    evaluation.of_references |= _known(word_repetitions(references))


def intervals_of(evaluation: Evaluation) -> dict[str, tuple[float, float]]:
    """Return the 95 % bootstrap intervals of BLEU, by the name of the one there is, and of chrF."""
    written = tuple(text.written for text in evaluation.texts)
    references = tuple(text.references[0] for text in evaluation.texts if text.references)
    if len(references) != len(written):
        return {}
    is_tokenised = "tokenised_bleu" in evaluation.figures
    found = _score_intervals(written, references, evaluation.lowercase, is_tokenised)
    return {name: (ends[0], ends[1]) for name, ends in found.items() if ends}


# A report that is watched has the same texts again and again.
_score_intervals = lru_cache(maxsize=512)(score_intervals)


def _known(figures: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if value is not None}
