"""What a decoder of transformers' keeps between its steps, as fairseq's incremental state."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genft_fairseq.models.fused_encoding import EncoderOut


class BeamCache:
    """The keys and values of a decoder's text, and of the sources that its hypotheses read.

    Consecutive hypotheses of one source share its keys and values, which are never copied for them.

    Args:
        encoder_out: of ``HuggingFaceEncoder``, of B sources or reordered for R hypotheses.

    Attributes:
        cache: transformers' own.
        hidden: (B, S, D), what the encoder returned; read in the first step alone.
        keep: (B, S), bool, False at padding.
        readers: how many consecutive hypotheses read a row.
    """

    def __init__(self, encoder_out: EncoderOut):
        from transformers import DynamicCache, EncoderDecoderCache

        self.cache: Any = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self.hidden = encoder_out["encoder_out"][0].transpose(0, 1).contiguous()
        self.keep = ~encoder_out["encoder_padding_mask"][0]
        self.readers = 1
        if encoder_out["rows"]:
            kept, self.readers = _shared(encoder_out["rows"][0], len(self.hidden))
            if kept is not None:
                self.hidden, self.keep = self.hidden[kept], self.keep[kept]

    @property
    def length(self) -> int:
        """How many tokens have been read."""
        return int(self.cache.get_seq_length())

    def reorder(self, new_order: Tensor) -> None:
        """Keep these hypotheses, (R,), in this order."""
        for layer in _filled(self.cache.self_attention_cache):
            layer.keys = layer.keys.index_select(0, new_order)
            layer.values = layer.values.index_select(0, new_order)
        owners = torch.div(new_order, self.readers, rounding_mode="floor")
        shared = self.readers
        if len(owners) % shared or not owners.equal(owners[::shared].repeat_interleave(shared)):
            shared = 1
        kept, self.readers = owners[::shared], shared
        if kept.equal(torch.arange(len(self.keep), device=kept.device)):
            return
        self.keep = self.keep.index_select(0, kept)
        for layer in _filled(self.cache.cross_attention_cache):
            layer.keys = layer.keys.index_select(0, kept)
            layer.values = layer.values.index_select(0, kept)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every tensor that is held, by the part of the decoder that reads it."""
        for part in ("self_attention", "cross_attention"):
            for layer in _filled(getattr(self.cache, f"{part}_cache")):
                yield part, layer.keys
                yield part, layer.values
        yield "other", self.keep


def _filled(cache: Any) -> list[Any]:
    """The layers that hold something; those that read no source hold none of it."""
    return [layer for layer in cache.layers if layer.is_initialized]


def _shared(rows: Tensor, sources: int) -> tuple[Tensor | None, int]:
    """Which sources to hold, None for all as they are, and how many hypotheses read each."""
    readers = len(rows) // max(sources, 1)
    every = torch.arange(sources, device=rows.device)
    if readers and rows.equal(every.repeat_interleave(readers)):
        return None, readers
    return rows, 1
