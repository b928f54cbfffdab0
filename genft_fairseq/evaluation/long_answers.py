"""BLEU and ROUGE of answers of a sentence and more."""

from collections.abc import Sequence
from typing import Any

import sacrebleu
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import DefaultTokenizer, Tokenizer

from genft_fairseq.evaluation.question_answering import BY_CHARACTER, composed
from genft_fairseq.evaluation.word_spans import CHARACTER, WORD
from genft_fairseq.generation.unknown_words import MARK, marked

ROUGE = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l"}


class UnicodeTokenizer(Tokenizer):
    """Words of letters, marks and digits of any script, or these one by one, in lower case.

    rouge-score's own tokeniser drops every letter that is not one of English's 26.
    """

    def __init__(self, by_character: bool):
        self.by_character = by_character

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        pattern = CHARACTER if self.by_character else WORD
        return pattern.findall(composed(text, self.by_character).lower())


class _KeepsUnknown(Tokenizer):
    """Makes a token of each mark of an unknown word, which the tokeniser itself would drop."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        tokens: list[str] = []
        for part in MARK.split(text):
            tokens += [part] if MARK.fullmatch(part) else self.tokenizer.tokenize(part)
        return tokens


def rouge_tokenizer(language: str, stemming: bool) -> tuple[Tokenizer, str]:
    """Return what splits text for ROUGE, and its name; a mark of an unknown word is a token.

    Args:
        language: ``en`` has rouge-score's own, the others of ``LANGUAGES`` ``UnicodeTokenizer``.
        stemming: of English alone.
    """
    if language == "en":
        how = "with" if stemming else "without"
        own = DefaultTokenizer(use_stemmer=stemming)
        return _KeepsUnknown(own), f"rouge-score's, {how} stemming"
    by_character = language in BY_CHARACTER
    name = f"Unicode {'characters' if by_character else 'words'}"
    return _KeepsUnknown(UnicodeTokenizer(by_character)), name


def long_answer_figures(
    predictions: Sequence[str], answers: Sequence[Sequence[str]], language: str = "en"
) -> dict[str, Any]:
    """Compute corpus BLEU, and ROUGE-1, ROUGE-2 and ROUGE-L.

    BLEU is sacreBLEU's against all right answers; its tokeniser is ``13a``, ``zh`` in Chinese and
    ``char`` in the other languages that are compared by characters. ROUGE (C.-Y. Lin, 2004) is
    rouge-score's F-measure, of the right answer where it is largest, averaged over the questions;
    in English by rouge-score's own tokeniser without stemming, which keeps a-z and 0-9 alone, as
    published figures are; elsewhere by ``UnicodeTokenizer``. An unknown word (``<unk>``) matches
    nothing.

    Args:
        predictions: an answer a question.
        answers: the right ones of each question, at least one each.
        language: one of ``question_answering.LANGUAGES``.

    Returns:
        ``bleu`` in [0, 100], ``bleu_signature``, ``rouge_1``, ``rouge_2`` and ``rouge_l`` in
        [0, 1], ``rouge_tokeniser``.
    """
    by_character = language in BY_CHARACTER
    bleu = sacrebleu.BLEU(tokenize="zh" if language == "zh" else "char" if by_character else "13a")
    predictions = marked(predictions, "candidate")
    answers = [marked(right, "reference") for right in answers]
    most = max(map(len, answers))
    # sacreBLEU wants the first answers of all, the second ones, ...: None where there is none.
    streams = [[right[i] if i < len(right) else None for right in answers] for i in range(most)]
    found = bleu.corpus_score(predictions, streams)  # type: ignore[arg-type]
    tokenizer, name = rouge_tokenizer(language, stemming=False)
    scorer = RougeScorer(list(ROUGE), tokenizer=tokenizer)
    scores = [
        scorer.score_multi(right, prediction)
        for right, prediction in zip(answers, predictions, strict=True)
    ]
    return {
        "bleu": found.score,
        "bleu_signature": str(bleu.get_signature()),
        **{
            name: sum(score[key].fmeasure for score in scores) / len(scores)
            for key, name in ROUGE.items()
        },
        "rouge_tokeniser": name,
    }
