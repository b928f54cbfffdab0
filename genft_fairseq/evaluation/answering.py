"""The answers that a model writes to the questions of a split, and what they cost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fairseq import utils
from fairseq.dataclass.configs import GenerationConfig
from sacremoses import MosesDetokenizer

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.answer_files import Prediction, parse_prediction
from genft_fairseq.evaluation.decoding_cost import DecodingCost
from genft_fairseq.evaluation.pieces import Pieces
from genft_fairseq.evaluation.reading_model import Reader

# Called with the number of questions that have just been answered.
Progress = Callable[[int], None]

TOKENIZERS = ("auto", "none", "moses")


@dataclass(frozen=True)
class Decoding:
    """How answers are searched for.

    Attributes:
        beam: hypotheses; 1 is greedy.
        max_len_b: the most tokens of an answer, without the end.
        lenpen: above 1 favours long answers, below 1 short ones.
        no_repeat_ngram_size: never repeat an n-gram of this length; 0: no such rule.
        batch_size: questions at a time.
    """

    beam: int = 1
    max_len_b: int = 50
    lenpen: float = 1.0
    no_repeat_ngram_size: int = 0
    batch_size: int = 8


def answer_text(
    folders: Sequence[Path], bpe: str, tokenizer: str, language: str
) -> Callable[[Sequence[str]], str]:
    """Return what makes text of the symbols of a hypothesis.

    Args:
        folders: where ``bpe.codes`` or GPT-2's files may be, which tell ``auto`` what to do.
        bpe: how pieces make up words; see ``Pieces``.
        tokenizer: *moses* undoes what Moses' tokeniser did to text in the language; *auto* does so
            where pieces are subword-nmt's, unless the manifest says that nobody did it.
        language: of ``LANGUAGES``.
    """
    pieces = Pieces(None, bpe, folders)
    if tokenizer == "auto":
        tokenised = pieces.kind == "subword_nmt" and not any(map(_left_as_it_is, folders))
        tokenizer = "moses" if tokenised else "none"
    if tokenizer == "none":
        return lambda symbols: pieces.join(symbols).strip()
    detokenizer = MosesDetokenizer(lang=language)
    return lambda symbols: str(detokenizer.detokenize(pieces.join(symbols).split()))


def _left_as_it_is(folder: Path) -> bool:
    """Tell whether the folder was prepared without splitting text into words."""
    manifest = folder / "MANIFEST.json"
    return manifest.is_file() and "--tokenise none" in manifest.read_text(encoding="utf-8")


def answer(
    reader: Reader,
    dataset: Any,
    number: int,
    decoding: Decoding,
    text: Callable[[Sequence[str]], str],
    progress: Progress,
) -> tuple[list[Prediction], DecodingCost]:
    """Answer the first questions of a split.

    Args:
        reader: the model.
        dataset: from ``open_split``.
        number: of questions.
        decoding: how.
        text: from ``answer_text``.
        progress: told how many questions have been answered.

    Returns:
        the answers in the order of the split, and what decoding them cost. The first batch is
        decoded once before the clock starts.

    Raises:
        UserError: questions too long for the model; more hypotheses than there are symbols.
    """
    generator = _build_generator(reader, decoding)
    # Of a length together; fairseq's own order is another one each time, but for the test split.
    indices = sorted(range(number), key=lambda index: (dataset.num_tokens(index), index))
    _require_positions(reader, dataset, indices)
    cost = DecodingCost(reader.device)
    found: dict[int, Prediction] = {}
    for begin in range(0, number, decoding.batch_size):
        batch = indices[begin : begin + decoding.batch_size]
        sample = dataset.collater([dataset[index] for index in batch])
        sample = utils.move_to_cuda(sample) if reader.device.type == "cuda" else sample
        if not begin:
            reader.task.inference_step(generator, [reader.model], sample)
        with cost.watching(generator, reader.model, len(batch)):
            hypotheses = reader.task.inference_step(generator, [reader.model], sample)
        for index, best in zip(sample["id"].tolist(), hypotheses, strict=True):
            cost.tokens += len(best[0]["tokens"])
            found[index] = _prediction(best[0]["tokens"].tolist(), generator, text)
        progress(len(batch))
    return [found[index] for index in range(number)], cost


def targets(
    reader: Reader, dataset: Any, number: int, text: Callable[[Sequence[str]], str]
) -> list[Prediction]:
    """Return the targets of the first questions of a split, as if a model had written them."""
    generator = _build_generator(reader, Decoding())
    return [
        _prediction(dataset[index]["target"].tolist(), generator, text) for index in range(number)
    ]


def _build_generator(reader: Reader, decoding: Decoding) -> Any:
    choices = len(reader.task.target_dictionary) - 1
    if decoding.beam > choices:
        raise UserError(
            f"--beam {decoding.beam} keeps more hypotheses than there are tokens to choose from, "
            f"{choices}"
        )
    config = GenerationConfig(
        beam=decoding.beam,
        max_len_b=decoding.max_len_b,
        lenpen=decoding.lenpen,
        no_repeat_ngram_size=decoding.no_repeat_ngram_size,
    )
    return reader.task.build_generator([reader.model], config)


def _require_positions(reader: Reader, dataset: Any, indices: Sequence[int]) -> None:
    """fairseq would name one example, and a flag that is not ours."""
    positions = utils.resolve_max_positions(
        reader.task.max_positions(), reader.model.max_positions()
    )
    if not isinstance(positions, tuple) or len(positions) != 2:
        return
    # How long the gold answer is, is of no matter.
    sizes = (positions[0], np.iinfo(np.int64).max)
    _, long = dataset.filter_indices_by_size(np.array(sorted(indices)), sizes)
    if len(long):
        raise UserError(
            f"{len(long)} of {len(indices)} questions are longer with what is read with them than "
            f"the {positions[0]} positions of the model, the first of them number {long[0]}: "
            "prepare the data with shorter passages"
        )


def _prediction(
    ids: Sequence[int], generator: Any, text: Callable[[Sequence[str]], str]
) -> Prediction:
    dictionary = generator.tgt_dict
    dropped = {dictionary.pad(), *generator.symbols_to_strip_from_output}
    symbols = [dictionary[token] for token in ids if token not in dropped]
    pointer = parse_prediction(" ".join(symbols[:1])).pointer
    return Prediction(text(symbols if pointer is None else symbols[1:]), pointer)
