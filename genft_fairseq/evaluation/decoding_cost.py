"""What decoding costs: seconds, and the bytes that the decoder keeps between its steps."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

# Parts of the cache: what a decoder keeps of its own text, of what it reads, and anything else.
PARTS = ("self_attention", "cross_attention", "other")


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

    def seconds_figures(self, unit: str = "question") -> dict[str, Any]:
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

    def figures(self) -> dict[str, Any]:
        """Return the means a question, of its cache as well."""
        cache = {part: held / max(self.questions, 1) for part, held in self._cache.items()}
        return {
            **self.seconds_figures(),
            "cache_bytes_per_question": sum(cache.values()),
            **{f"cache_{part}_bytes_per_question": held for part, held in cache.items()},
        }
