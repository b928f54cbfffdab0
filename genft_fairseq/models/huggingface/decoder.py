"""A decoder of transformers behind fairseq's incremental decoder interface.

transformers keeps keys and values in a cache object; here that is fairseq's incremental state, and
the hypotheses of a beam share the keys and values of their source.
"""

from collections.abc import Iterator
from typing import Any

import torch
from fairseq.models import FairseqIncrementalDecoder
from fairseq.models.transformer import TransformerDecoderBase
from torch import Tensor, nn

from genft_fairseq.errors import UserError
from genft_fairseq.models.fid.encoder import EncoderOut, read_rows
from genft_fairseq.models.huggingface.encoder import UNLIMITED


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
        """Yield the tensors that are held by the part of the decoder that reads them."""
        for part in ("self_attention", "cross_attention"):
            for layer in _filled(getattr(self.cache, f"{part}_cache")):
                yield part, layer.keys
                yield part, layer.values
        yield "other", self.keep


def _filled(cache: Any) -> list[Any]:
    """The layers that hold keys; one without cross-attention holds none of the source."""
    return [layer for layer in cache.layers if layer.is_initialized]


def _shared(rows: Tensor, sources: int) -> tuple[Tensor | None, int]:
    """Which sources to hold, None for all as they are, and how many hypotheses read each."""
    readers = len(rows) // max(sources, 1)
    every = torch.arange(sources, device=rows.device)
    if readers and rows.equal(every.repeat_interleave(readers)):
        return None, readers
    return rows, 1


_STATE = "beam_cache"


class HuggingFaceDecoder(FairseqIncrementalDecoder):
    """Decodes with a stack of transformers, whose cache is the incremental state.

    The output layer is one matrix and a constant for each token, so that losses can project a
    chunk of positions at a time (``--loss-chunk-size``).

    Args:
        dictionary: of the target.
        stack: the decoder of transformers without its output layer, numbered as the dictionary.
        head: between the stack and the output layer; None: nothing is.
        scale: factor of the features before the output layer.
        output_projection: (V, D), the output layer.
        start: the token that the model reads first, where fairseq has ``</s>``.
        positions: maximum number of tokens; None: no maximum.
    """

    output_layer = TransformerDecoderBase.output_layer
    adaptive_softmax = None
    # An incremental step may read several tokens.
    reads_several = True

    def __init__(
        self,
        dictionary: Any,
        stack: nn.Module,
        head: nn.Module | None,
        scale: float,
        output_projection: nn.Module,
        start: int,
        positions: int | None,
    ):
        super().__init__(dictionary)
        self.stack, self.head, self.scale = stack, head, scale
        self.output_projection = output_projection
        self.start, self.positions = start, positions

    @property
    def embed_tokens(self) -> nn.Embedding:
        """The embedding of the target."""
        found: nn.Embedding = self.stack.get_input_embeddings()
        return found

    def forward(
        self,
        prev_output_tokens: Tensor,
        encoder_out: EncoderOut | None = None,
        incremental_state: dict[str, Any] | None = None,
        features_only: bool = False,
        **_: Any,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Compute the logits after every token that is read.

        Args:
            prev_output_tokens: (B, T), with ``</s>`` first and padding behind the text.
            encoder_out: of ``HuggingFaceEncoder``.
            incremental_state: state of earlier calls; only the tokens after those are read.
            features_only: leave the output layer out.

        Returns:
            (B, T, V) logits, or (B, T, D), of the tokens that are read; and no extras.

        Raises:
            UserError: more tokens than the model has positions.
        """
        x = self.extract_features(prev_output_tokens, encoder_out, incremental_state)
        return (x if features_only else self.output_layer(x)), {"attn": [None]}

    def extract_features(
        self,
        prev_output_tokens: Tensor,
        encoder_out: EncoderOut | None,
        incremental_state: dict[str, Any] | None = None,
    ) -> Tensor:
        """Compute what the output layer reads, (B, T, D); see ``forward``."""
        assert encoder_out is not None
        if self.positions is not None and prev_output_tokens.size(1) > self.positions:
            raise UserError(
                f"a target has {prev_output_tokens.size(1)} tokens, but the imported model "
                f"{self.positions} positions: write shorter texts (--max-len-b), or train on such"
            )
        tokens = self._with_start(prev_output_tokens)
        if incremental_state is None:
            encoder_out = read_rows(encoder_out)
            x = self.stack(
                input_ids=tokens,
                encoder_hidden_states=encoder_out["encoder_out"][0].transpose(0, 1).contiguous(),
                encoder_attention_mask=~encoder_out["encoder_padding_mask"][0],
                use_cache=False,
            ).last_hidden_state
        else:
            state = self._state(incremental_state, encoder_out)
            x = self.stack(
                input_ids=tokens[:, state.length :].contiguous(),
                encoder_hidden_states=state.hidden,
                encoder_attention_mask=state.keep,
                past_key_values=state.cache,
                use_cache=True,
            ).last_hidden_state
        if self.head is not None:
            x = self.head(x)
        features: Tensor = x if self.scale == 1 else x * self.scale
        return features

    def _with_start(self, tokens: Tensor) -> Tensor:
        """Replace fairseq's first ``</s>`` by the token that the model starts with."""
        if self.start == self.dictionary.eos():
            return tokens
        first = tokens[:, :1]
        first = torch.where(first == self.dictionary.eos(), self.start, first)
        return torch.cat([first, tokens[:, 1:]], dim=1)

    def _state(self, incremental_state: dict[str, Any], encoder_out: EncoderOut) -> BeamCache:
        # transformers leaves its cache empty where activations are computed again.
        assert not (self.training and self.stack.is_gradient_checkpointing)
        held = self.get_incremental_state(incremental_state, _STATE)
        if held is None:
            held = {"cache": BeamCache(encoder_out)}
            self.set_incremental_state(incremental_state, _STATE, held)
        state: BeamCache = held["cache"]
        return state

    def reorder_incremental_state(
        self, incremental_state: dict[str, Any], new_order: Tensor
    ) -> None:
        """Keep these hypotheses, (R,), in this order."""
        held = self.get_incremental_state(incremental_state, _STATE)
        if held is not None:
            held["cache"].reorder(new_order)

    def cached_tensors(self, incremental_state: dict[str, Any]) -> list[tuple[str, Tensor]]:
        """List the tensors of the incremental state by the part of the decoder that reads them."""
        held = self.get_incremental_state(incremental_state, _STATE)
        return [] if held is None else list(held["cache"].tensors())

    def max_positions(self) -> int:
        """Return the maximum length of a target in tokens."""
        return UNLIMITED if self.positions is None else self.positions
