"""What a model writes for the examples of a split, by fairseq's own search, and what it costs.

For any encoder-decoder: an answer to a question, a summary of a source.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from fairseq import utils
from fairseq.dataclass.configs import GenerationConfig

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.decoding_cost import DecodingCost
from genft_fairseq.evaluation.reading_model import Reader
from genft_fairseq.evaluation.wording import Wording

# Called with the number of examples that have just been done.
Progress = Callable[[int], None]
# Called with what begins now and its number of examples; returns what to tell of the progress.
Begin = Callable[[str, int], Progress]


@dataclass(frozen=True)
class Decoding:
    """How texts are searched for.

    Attributes:
        beam: hypotheses; 1 is greedy.
        max_len_b: the most tokens of a text, without the end.
        lenpen: above 1 favours long texts, below 1 short ones.
        no_repeat_ngram_size: never repeat an n-gram of this length; 0: no such rule.
        batch_size: examples at a time.
    """

    beam: int = 1
    max_len_b: int = 50
    lenpen: float = 1.0
    no_repeat_ngram_size: int = 0
    batch_size: int = 8


def decode(
    reader: Reader,
    dataset: Any,
    number: int,
    decoding: Decoding,
    progress: Progress,
    wording: Wording,
) -> tuple[list[list[str]], DecodingCost]:
    """Search for what the model writes for the first examples of a split.

    Args:
        reader: the model.
        dataset: from ``open_split``.
        number: of examples.
        decoding: how.
        progress: told how many examples have been done.
        wording: of messages.

    Returns:
        the symbols of the best hypotheses in the order of the split, without the end, and what
        decoding them cost. The first batch is decoded once before the clock starts.

    Raises:
        UserError: examples too long for the model; more hypotheses than there are symbols; the
            shortest text allowed is longer than the longest.
    """
    generator = build_generator(reader, decoding)
    # Of a length together; fairseq's own order is another one each time, but for the test split.
    indices = sorted(range(number), key=lambda index: (dataset.num_tokens(index), index))
    _require_positions(reader, dataset, indices, wording)
    _require_lengths(generator, min(dataset.src_sizes[:number]))
    cost = DecodingCost(reader.device)
    found: dict[int, list[str]] = {}
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
            found[index] = _symbols(best[0]["tokens"].tolist(), generator)
        progress(len(batch))
    return [found[index] for index in range(number)], cost


def target_symbols(reader: Reader, dataset: Any, number: int) -> list[list[str]]:
    """Return the targets of the first examples of a split, as if a model had written them."""
    generator = build_generator(reader, Decoding())
    return [_symbols(dataset[index]["target"].tolist(), generator) for index in range(number)]


def build_generator(reader: Reader, decoding: Decoding) -> Any:
    """Return fairseq's generator, which searches as asked.

    Raises:
        UserError: more hypotheses than there are symbols.
    """
    choices = len(reader.task.target_dictionary) - 1
    if decoding.beam > choices:
        raise UserError(
            f"--beam {decoding.beam} keeps more hypotheses than there are tokens to choose from, "
            f"{choices}"
        )
    asked = {name: value for name, value in asdict(decoding).items() if name != "batch_size"}
    return reader.task.build_generator([reader.model], GenerationConfig(**asked))


def _require_positions(
    reader: Reader, dataset: Any, indices: Sequence[int], wording: Wording
) -> None:
    """fairseq would name one example, and a flag that is not ours."""
    positions = utils.resolve_max_positions(
        reader.task.max_positions(), reader.model.max_positions()
    )
    if not isinstance(positions, tuple) or len(positions) != 2:
        return
    # How long the gold text is, is of no matter.
    sizes = (positions[0], np.iinfo(np.int64).max)
    _, long = dataset.filter_indices_by_size(np.array(sorted(indices)), sizes)
    if len(long):
        raise UserError(
            f"{len(long)} of {len(indices)} {wording.read}s are {wording.too_long} than "
            f"the {positions[0]} positions of the model, the first of them number {long[0]}: "
            f"{wording.advice}"
        )


def _require_lengths(generator: Any, shortest: int) -> None:
    """The most tokens go by the length of what is read, and have the last word in the search."""
    most = min(int(generator.max_len_a * shortest + generator.max_len_b), generator.max_len - 1)
    if generator.min_len > most:
        raise UserError(
            f"--min-len {generator.min_len} is more than the {most} tokens that --max-len-a, "
            "--max-len-b and the model's positions allow"
        )


def _symbols(ids: Sequence[int], generator: Any) -> list[str]:
    dictionary = generator.tgt_dict
    dropped = {dictionary.pad(), *generator.symbols_to_strip_from_output}
    return [dictionary[token] for token in ids if token not in dropped]
