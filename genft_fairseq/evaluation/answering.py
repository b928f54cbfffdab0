"""The answers that a model writes to the questions of a split, and what they cost."""

from collections.abc import Sequence
from typing import Any

from genft_fairseq.evaluation.answer_files import Prediction, parse_prediction
from genft_fairseq.evaluation.decoding import Decoding, Progress, decode, target_symbols
from genft_fairseq.evaluation.decoding_cost import DecodingCost
from genft_fairseq.evaluation.pieces import Text
from genft_fairseq.evaluation.reading_model import Reader
from genft_fairseq.evaluation.wording import ANSWERS


def answer(
    reader: Reader, dataset: Any, number: int, decoding: Decoding, text: Text, progress: Progress
) -> tuple[list[Prediction], DecodingCost]:
    """Answer the first questions of a split; see ``decode``.

    Args:
        reader: the model.
        dataset: from ``open_split``.
        number: of questions.
        decoding: how.
        text: from ``TextForm``.
        progress: told how many questions have been answered.

    Raises:
        UserError: questions too long for the model; more hypotheses than there are symbols.
    """
    found, cost = decode(reader, dataset, number, decoding, progress, ANSWERS)
    return [_prediction(symbols, text) for symbols in found], cost


def targets(reader: Reader, dataset: Any, number: int, text: Text) -> list[Prediction]:
    """Return the targets of the first questions of a split, as if a model had written them."""
    return [_prediction(symbols, text) for symbols in target_symbols(reader, dataset, number)]


def _prediction(symbols: Sequence[str], text: Text) -> Prediction:
    pointer = parse_prediction(" ".join(symbols[:1])).pointer
    return Prediction(text(symbols if pointer is None else symbols[1:]), pointer)
