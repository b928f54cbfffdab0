"""Rewards of candidates: sentence-level scores, higher is better."""

from collections.abc import Callable, Sequence

import sacrebleu
import torch
from fairseq.data import Dictionary
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer
from torch import Tensor

from genft_fairseq.functional.ngrams import ngram_repetition
from genft_fairseq.metrics.unknown_words import UNKNOWN

REWARDS = ("bleu", "chrf", "rouge_l", "repetition")


class _Words(Tokenizer):
    """rouge-score's own tokeniser drops every letter that is not English."""

    def tokenize(self, text: str) -> list[str]:
        return text.split()


def rewards(
    name: str,
    candidates: Tensor,
    references: Tensor,
    owners: Tensor,
    dictionary: Dictionary,
    remove_bpe: str | None,
) -> Tensor:
    """Score candidates against the reference of the source they belong to.

    BLEU and chrF are sacreBLEU's sentence scores over 100 (BLEU with its effective order); ROUGE-L
    is rouge-score's F-measure. All see the text as it was binarized, words between spaces; a word
    that the dictionary does not know matches nothing.

    Args:
        name: one of ``REWARDS``; *repetition* is minus (1 - diversity), with diversity the product
            over n = 2, 3, 4 of (1 - rep-n) over tokens.
        candidates: (N, T), token ids, padded on the right.
        references: (B, T'), padded on the right.
        owners: (N,), the row of each candidate's reference.
        dictionary: of the target language.
        remove_bpe: which subword marks to undo, as ``fairseq-generate --remove-bpe`` takes it.

    Returns:
        (N,), float64, at most 1, on the candidates' device.
    """
    if name == "repetition":
        diversity = torch.ones(len(candidates), dtype=torch.float64, device=candidates.device)
        for n in (2, 3, 4):
            diversity = diversity * (1 - ngram_repetition(candidates, n, dictionary.pad()))
        return diversity - 1
    written = texts("candidate", candidates, dictionary, remove_bpe)
    gold = texts("reference", references, dictionary, remove_bpe)
    score = _scorer(name)
    scores = [score(text, gold[row]) for text, row in zip(written, owners.tolist(), strict=True)]
    return torch.tensor(scores, dtype=torch.float64, device=candidates.device)


def texts(side: str, rows: Tensor, dictionary: Dictionary, remove_bpe: str | None) -> Sequence[str]:
    """Write rows of token ids as text, without padding and the end-of-sentence symbol."""
    ignored = {dictionary.pad()}
    return [
        dictionary.string(
            row, remove_bpe, unk_string=UNKNOWN[side], extra_symbols_to_ignore=ignored
        )
        for row in rows.cpu()
    ]


def _scorer(name: str) -> Callable[[str, str], float]:
    if name == "bleu":
        bleu = sacrebleu.BLEU(effective_order=True, tokenize="none")
        return lambda text, gold: bleu.sentence_score(text, [gold]).score / 100
    if name == "chrf":
        chrf = sacrebleu.CHRF()
        return lambda text, gold: chrf.sentence_score(text, [gold]).score / 100
    rouge = RougeScorer(["rougeL"], tokenizer=_Words())
    return lambda text, gold: rouge.score(gold, text)["rougeL"].fmeasure
