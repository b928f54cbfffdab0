"""Decoding a split with fairseq's own search, for any encoder-decoder, and what it costs.

The cost is seconds, and the bytes that the decoder keeps between its steps.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from fairseq import utils
from fairseq.dataclass.configs import GenerationConfig
from torch import Tensor

from genft_fairseq.errors import UserError
from genft_fairseq.evaluation.loading import LoadedModel

# Parts of the cache: what a decoder keeps of its own text, of what it reads, and anything else.
PARTS = ("self_attention", "cross_attention", "other")


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


class DecodingCost:
    """Adds up what a generator costs, batch by batch.

    Seconds are of the wall clock, a GPU waited for; those of the encoder are of its one call a
    batch, all others are the decoder's: its steps, and the search between them. Reading data and
    making text of the answers do not count.

    A question's cache is what is held for it, at the beam used, when the last step of its search
    is done: the bytes held for the questions that are still open, shared evenly. Padding is part
    of it.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.questions = 0
        self.tokens = 0
        self.seconds = 0.0
        self.encoder_seconds = 0.0
        self.processor_seconds = 0.0
        self._cache = dict.fromkeys(PARTS, 0.0)
        self._state: dict[str, Any] = {}
        self._open = 0

    @contextmanager
    def watching(self, generator: Any, model: Any, questions: int) -> Iterator[None]:
        """Measure one batch of so many questions, decoded by the model alone."""
        encode, decode = generator.model.forward_encoder, model.decoder.forward
        generator.model.forward_encoder = self._timed(encode)
        model.decoder.forward = self._watched(model.decoder, decode, generator.beam_size)
        self._open = questions
        begun, processor = self._now(), time.process_time()
        try:
            yield
            self.seconds += self._now() - begun
            self.processor_seconds += time.process_time() - processor
            self._close(model.decoder, self._open, 0)
            self.questions += questions
        finally:
            # What hid the methods of the class.
            del generator.model.forward_encoder, model.decoder.forward
            self._state = {}

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _timed(self, encode: Callable[..., Any]) -> Callable[..., Any]:
        def forward_encoder(*arguments: Any, **keywords: Any) -> Any:
            begun = self._now()
            found = encode(*arguments, **keywords)
            self.encoder_seconds += self._now() - begun
            return found

        return forward_encoder

    def _watched(self, decoder: Any, decode: Callable[..., Any], beam: int) -> Callable[..., Any]:
        def forward(tokens: Tensor, *arguments: Any, **keywords: Any) -> Any:
            still_open = len(tokens) // beam
            if still_open < self._open and self._state:
                # The state is still that of the step before, less the rows of who has finished.
                self._close(decoder, self._open - still_open, still_open)
            self._open = still_open
            self._state = keywords.get("incremental_state") or {}
            found = decode(tokens, *arguments, **keywords)
            self._state = keywords.get("incremental_state") or {}
            return found

        return forward

    def _close(self, decoder: Any, finished: int, still_open: int) -> None:
        for part, held in cache_bytes(decoder, self._state).items():
            self._cache[part] += finished * held / (still_open or finished)

    def seconds_metrics(self, unit: str = "question") -> dict[str, Any]:
        """Return the mean seconds a unit, and the tokens a second.

        ``processor`` seconds are of all threads together.
        """
        number = max(self.questions, 1)
        decoder_seconds = self.seconds - self.encoder_seconds
        return {
            f"seconds_per_{unit}": self.seconds / number,
            f"encoder_seconds_per_{unit}": self.encoder_seconds / number,
            f"decoder_seconds_per_{unit}": decoder_seconds / number,
            "clock": "wall",
            f"processor_seconds_per_{unit}": self.processor_seconds / number,
            "generated_tokens": self.tokens,
            "tokens_per_second": self.tokens / self.seconds if self.seconds else None,
            "decoder_tokens_per_second": self.tokens / decoder_seconds if self.seconds else None,
            "device": self.device.type,
            "threads": torch.get_num_threads(),
        }

    def metrics(self) -> dict[str, Any]:
        """Return the means a question, of its cache as well."""
        cache = {part: held / max(self.questions, 1) for part, held in self._cache.items()}
        return {
            **self.seconds_metrics(),
            "cache_bytes_per_question": sum(cache.values()),
            **{f"cache_{part}_bytes_per_question": held for part, held in cache.items()},
        }


def decode(
    loaded: LoadedModel,
    dataset: Any,
    number: int,
    decoding: Decoding,
    progress: Callable[[int], None],
) -> tuple[list[list[str]], DecodingCost]:
    """Search for what the model writes for the first examples of a split.

    Args:
        loaded: the model.
        dataset: from ``open_split``.
        number: of examples.
        decoding: how.
        progress: told how many examples have just been done.

    Returns:
        the symbols of the best hypotheses in the order of the split, without the end, and what
        decoding them cost. The first batch is decoded once before the clock starts.

    Raises:
        UserError: examples too long for the model; more hypotheses than there are symbols; the
            shortest text allowed is longer than the longest.
    """
    generator = build_generator(loaded, decoding)
    # Of a length together; fairseq's own order is another one each time, but for the test split.
    indices = sorted(range(number), key=lambda index: (dataset.num_tokens(index), index))
    _require_positions(loaded, dataset, indices)
    _require_lengths(generator, min(dataset.src_sizes[:number]))
    cost = DecodingCost(loaded.device)
    found: dict[int, list[str]] = {}
    for begin in range(0, number, decoding.batch_size):
        batch = indices[begin : begin + decoding.batch_size]
        sample = dataset.collater([dataset[index] for index in batch])
        sample = utils.move_to_cuda(sample) if loaded.device.type == "cuda" else sample
        if not begin:
            loaded.task.inference_step(generator, [loaded.model], sample)
        with cost.watching(generator, loaded.model, len(batch)):
            hypotheses = loaded.task.inference_step(generator, [loaded.model], sample)
        for index, best in zip(sample["id"].tolist(), hypotheses, strict=True):
            cost.tokens += len(best[0]["tokens"])
            found[index] = _symbols(best[0]["tokens"].tolist(), generator)
        progress(len(batch))
    return [found[index] for index in range(number)], cost


def target_symbols(loaded: LoadedModel, dataset: Any, number: int) -> list[list[str]]:
    """Return the targets of the first examples of a split, as if a model had written them."""
    generator = build_generator(loaded, Decoding())
    return [_symbols(dataset[index]["target"].tolist(), generator) for index in range(number)]


def build_generator(loaded: LoadedModel, decoding: Decoding) -> Any:
    """Return fairseq's generator, which searches as asked.

    Raises:
        UserError: more hypotheses than there are symbols.
    """
    choices = len(loaded.task.target_dictionary) - 1
    if decoding.beam > choices:
        raise UserError(
            f"--beam {decoding.beam} keeps more hypotheses than there are tokens to choose from, "
            f"{choices}"
        )
    asked = {name: value for name, value in asdict(decoding).items() if name != "batch_size"}
    return loaded.task.build_generator([loaded.model], GenerationConfig(**asked))


def cache_bytes(decoder: Any, incremental_state: dict[str, Any]) -> dict[str, int]:
    """Return the bytes that fairseq's incremental state holds, by part.

    The memory behind each tensor is counted once: a view of another tensor costs nothing, and a
    slice keeps the whole alive.

    Args:
        decoder: whose ``layers[i].encoder_attn`` and ``layers[i].self_attn`` tell the parts apart,
            or which lists what it holds by part (``cached_tensors``).
        incremental_state: as the decoder has left it.
    """
    counted: set[tuple[str, int]] = set()
    held = dict.fromkeys(PARTS, 0)

    def count(part: str, value: Any) -> None:
        if isinstance(value, dict):
            value = value.values()
        elif isinstance(value, Tensor):
            storage = value.untyped_storage()
            memory = (str(value.device), storage.data_ptr())
            if memory not in counted:
                counted.add(memory)
                held[part] += storage.nbytes()
            return
        elif not isinstance(value, list | tuple):
            return
        for item in value:
            count(part, item)

    if hasattr(decoder, "cached_tensors"):
        for part, tensor in decoder.cached_tensors(incremental_state):
            count(part, tensor)
    for layer in getattr(decoder, "layers", ()):
        for part, name in (("cross_attention", "encoder_attn"), ("self_attention", "self_attn")):
            attention: Any = getattr(layer, name, None)
            if hasattr(attention, "_get_input_buffer"):
                count(part, attention._get_input_buffer(incremental_state))
    count("other", incremental_state)
    return held


def _require_positions(loaded: LoadedModel, dataset: Any, indices: Sequence[int]) -> None:
    """fairseq would name one example, and a flag that is not ours."""
    positions = utils.resolve_max_positions(
        loaded.task.max_positions(), loaded.model.max_positions()
    )
    if not isinstance(positions, tuple) or len(positions) != 2:
        return
    # How long the gold text is, is of no matter.
    sizes = (positions[0], np.iinfo(np.int64).max)
    _, long = dataset.filter_indices_by_size(np.array(sorted(indices)), sizes)
    if len(long):
        raise UserError(
            f"{len(long)} of {len(indices)} examples are longer than the {positions[0]} positions "
            f"of the model, the first of them number {long[0]}: prepare the data with shorter texts"
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
