"""Metrics of translations: BLEU and chrF by sacreBLEU, the ratio of lengths, and repetition."""

import re
from collections.abc import Sequence
from typing import Any

import sacrebleu

from genft_fairseq.errors import UserError
from genft_fairseq.metrics.repetition import mean_repetition, repetition
from genft_fairseq.metrics.significance import mean_interval, sacrebleu_interval
from genft_fairseq.metrics.unknown_words import marked

# The end of a subword of subword-nmt's, and what SentencePiece writes for a space.
_SUBWORD = re.compile(r"\S@@(?= |$)|\u2581")
_FEW = 0.01  # of the lines


def translation_metrics(
    translations: Sequence[str],
    references: Sequence[str],
    lowercase: bool = False,
    tokenised: bool = False,
) -> dict[str, Any]:
    """Compute corpus BLEU and chrF with their signatures, the ratio of lengths, and rep-4.

    An unknown word (``<unk>``) matches nothing; it counts as a word in lengths.

    Args:
        translations: detokenised, one a sentence.
        references: untouched, as many.
        lowercase: score BLEU and chrF without regard to case; the signatures say so.
        tokenised: both sides are tokenised: ``tokenised_bleu`` in the place of ``bleu``, of words
            between spaces, which compares with scores of the same tokens only.

    Returns:
        ``bleu`` and ``chrf`` in [0, 100]; ``length_ratio`` of sacreBLEU's tokens; ``rep_1`` to
        ``rep_4``, the mean share of n-grams of words that repeat within a sentence.

    Raises:
        UserError: not as many translations as references, or only one side holds subwords.
    """
    require_one_form(translations, references)
    written, right = marked(translations, "candidate"), [marked(references, "reference")]
    bleu = corpus_bleu(lowercase, tokenised)
    chrf = sacrebleu.CHRF(lowercase=lowercase)
    score = bleu.corpus_score(written, right)
    name = "tokenised_bleu" if tokenised else "bleu"
    return {
        name: score.score,
        f"{name}_signature": str(bleu.get_signature()),
        "chrf": chrf.corpus_score(written, right).score,
        "chrf_signature": str(chrf.get_signature()),
        "length_ratio": score.ratio,
        **word_repetitions(translations),
    }


def corpus_bleu(lowercase: bool = False, tokenised: bool = False) -> sacrebleu.BLEU:
    """Return the BLEU of ``translation_metrics``."""
    # force: that the text is tokenised is meant.
    return sacrebleu.BLEU(
        lowercase=lowercase, tokenize="none" if tokenised else "13a", force=tokenised
    )


def score_intervals(
    translations: Sequence[str],
    references: Sequence[str],
    lowercase: bool = False,
    tokenised: bool = False,
) -> dict[str, list[float] | None]:
    """Return the 95 % bootstrap intervals of the BLEU and chrF of ``translation_metrics``.

    Args:
        translations: as in ``translation_metrics``, and so are the others.
        references: as many.
        lowercase: score without regard to case.
        tokenised: both sides are tokenised.

    Returns:
        [low, high] of ``bleu`` (or ``tokenised_bleu``) and ``chrf``; None for fewer than two
        sentences.
    """
    written, right = marked(translations, "candidate"), marked(references, "reference")
    bleu, chrf = corpus_bleu(lowercase, tokenised), sacrebleu.CHRF(lowercase=lowercase)
    return {
        "tokenised_bleu" if tokenised else "bleu": sacrebleu_interval(bleu, written, right),
        "chrf": sacrebleu_interval(chrf, written, right),
    }


def translation_intervals(
    translations: Sequence[str], references: Sequence[str], lowercase: bool = False
) -> dict[str, list[float] | None]:
    """Return ``score_intervals``, and those of ``rep_1`` to ``rep_4``, over the sentences."""
    found = score_intervals(translations, references, lowercase)
    words = [text.split() for text in translations]
    for n in (1, 2, 3, 4):
        shares = [share for text in words if (share := repetition(text, n)) is not None]
        found[f"rep_{n}"] = mean_interval(shares)
    return found


def word_repetitions(texts: Sequence[str]) -> dict[str, float | None]:
    """Return ``rep_1`` to ``rep_4`` of texts."""
    return {f"rep_{n}": word_repetition(texts, n) for n in (1, 2, 3, 4)}


def word_repetition(texts: Sequence[str], n: int = 4) -> float | None:
    """Return the mean share of n-grams of words that repeat within a text."""
    return mean_repetition([text.split() for text in texts], n)


def require_one_form(translations: Sequence[str], references: Sequence[str]) -> None:
    """Refuse to compare subwords with words.

    Raises:
        UserError: not as many translations as references, or only one side holds subwords.
    """
    if len(translations) != len(references):
        raise UserError(f"{len(translations)} translations of {len(references)} references")
    mine, theirs = map(subword_line, (translations, references))
    if (mine is None) != (theirs is None):
        which, other = ("translations", "references")[:: 1 if theirs is None else -1]
        raise UserError(
            f"the {which} hold subwords ({mine or theirs!r:.60}), but the {other} do not: decode "
            "with --remove-bpe, or with --bpe and --tokenizer"
        )


def subword_line(lines: Sequence[str]) -> str | None:
    """Return a line that holds subwords; None where hardly any does, as in any text."""
    found = list(filter(_SUBWORD.search, lines))
    return found[0] if len(found) > _FEW * len(lines) else None
