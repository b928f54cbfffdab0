"""Fusion-in-Decoder's decoder, with sparse cross-attention and grouped key and value heads.

FiDO (de Jong et al., 2022, arXiv:2212.08153) makes reading many passages cheaper: cross-attention
in every n-th layer only, and shared key and value heads (multi-query attention; in groups: Ainslie
et al., 2023, arXiv:2305.13245).  The decoder's depth and width are fairseq's own flags.
"""

import logging
from typing import Any

import torch
from fairseq.distributed import fsdp_wrap
from fairseq.models.transformer import TransformerDecoderBase
from fairseq.modules.checkpoint_activations import checkpoint_wrapper
from fairseq.modules.transformer_layer import TransformerDecoderLayerBase
from torch import Tensor, nn

from genft_fairseq.errors import UserError
from genft_fairseq.models.fid.attention import GroupedQueryAttention
from genft_fairseq.models.fid.encoder import read_rows

logger = logging.getLogger(__name__)


class FiDDecoderLayer(TransformerDecoderLayerBase):
    """fairseq's decoder layer with ``cfg.decoder_kv_heads`` key and value heads."""

    def build_self_attention(
        self, embed_dim: int, cfg: Any, add_bias_kv: bool = False, add_zero_attn: bool = False
    ) -> GroupedQueryAttention:
        """Build the attention to the text so far."""
        return self._attention(
            cfg,
            add_bias_kv=add_bias_kv,
            add_zero_attn=add_zero_attn,
            self_attention=not cfg.cross_self_attention,
            xformers_att_config=cfg.decoder.xformers_att_config,
        )

    def build_encoder_attention(self, embed_dim: int, cfg: Any) -> GroupedQueryAttention:
        """Build the attention to the passages."""
        return self._attention(
            cfg,
            kdim=cfg.encoder.embed_dim,
            vdim=cfg.encoder.embed_dim,
            encoder_decoder_attention=True,
            xformers_att_config=cfg.encoder.xformers_att_config,
        )

    def _attention(self, cfg: Any, **keywords: Any) -> GroupedQueryAttention:
        heads = cfg.decoder.attention_heads
        return GroupedQueryAttention(
            self.embed_dim,
            heads,
            cfg.decoder_kv_heads or heads,
            dropout=cfg.attention_dropout,
            q_noise=self.quant_noise,
            qn_block_size=self.quant_noise_block_size,
            **keywords,
        )


class FiDDecoder(TransformerDecoderBase):
    """fairseq's Transformer decoder with sparse cross-attention and grouped heads.

    Layers are counted from 1; those whose number is a multiple of ``cfg.cross_attention_interval``
    read the passages.  A checkpoint of a model with more cross-attention or more heads fits: what
    has no place is left out, and key and value projections are averaged within their group.
    """

    def __init__(self, cfg: Any, *given: Any, **keywords: Any):
        super().__init__(cfg, *given, **keywords)
        for number, layer in enumerate(self._every_layer(), start=1):
            if number % cfg.cross_attention_interval:
                layer.encoder_attn = layer.encoder_attn_layer_norm = None
        if all(layer.encoder_attn is None for layer in self._every_layer()):
            raise UserError(
                f"--cross-attention-interval {cfg.cross_attention_interval} leaves none of "
                f"{self.num_layers} decoder layers to read the passages"
            )

    def _every_layer(self) -> list[Any]:
        """The layers; iterating over ``layers`` leaves some out where LayerDrop is on."""
        return [self.layers[number] for number in range(len(self.layers))]

    def build_decoder_layer(self, cfg: Any, no_encoder_attn: bool = False) -> nn.Module:
        """Build a layer; wrapped as fairseq wraps its own."""
        layer: nn.Module = FiDDecoderLayer(cfg, no_encoder_attn)
        if cfg.checkpoint_activations:
            layer = checkpoint_wrapper(layer, offload_to_cpu=cfg.offload_activations)
        smallest = 0 if cfg.checkpoint_activations else cfg.min_params_to_wrap
        return fsdp_wrap(layer, min_num_params=smallest)

    def extract_features(
        self,
        prev_output_tokens: Tensor,
        encoder_out: dict[str, list[Tensor]] | None,
        incremental_state: dict[str, Any] | None = None,
        full_context_alignment: bool = False,
        alignment_layer: int | None = None,
        alignment_heads: int | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Read what was written so far and the passages; see fairseq's own.

        Attention weights over several passages are computed where ``alignment_layer`` asks for
        them: for thousands of positions they cost more than they tell.
        """
        if encoder_out is not None and "rows" in encoder_out:
            if alignment_layer is None:
                alignment_layer = -1
            if incremental_state is None or not self._passages_cached(incremental_state):
                shared = incremental_state is not None and _consecutive(encoder_out)
                encoder_out = encoder_out if shared else read_rows(encoder_out)
        return super().extract_features(
            *(prev_output_tokens, encoder_out, incremental_state, full_context_alignment),
            *(alignment_layer, alignment_heads),
        )

    def _passages_cached(self, incremental_state: dict[str, Any]) -> bool:
        return any(
            "prev_key" in layer.encoder_attn._get_input_buffer(incremental_state)
            for layer in self._every_layer()
            if layer.encoder_attn is not None
        )

    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> dict:
        """Leave out of a checkpoint the cross-attention of layers that have none here.

        Args:
            state_dict: of the whole model; changed in place.
            name: of this module in it.
        """
        left_out = []
        for number, layer in enumerate(self._every_layer()):
            prefix = f"{name}.layers.{number}."
            held = [key for key in state_dict if key.startswith(f"{prefix}encoder_attn")]
            if layer.encoder_attn is None:
                left_out += held
            elif not held and f"{prefix}fc1.weight" in state_dict:
                raise UserError(
                    f"the checkpoint has no cross-attention in decoder layer {number + 1}, which "
                    "this --cross-attention-interval needs: give the interval it was trained with"
                )
        for key in left_out:
            del state_dict[key]
        if left_out:
            logger.info(
                "cross-attention of layers that have none here: %d tensors left out", len(left_out)
            )
        return super().upgrade_state_dict_named(state_dict, name)


def _consecutive(encoder_out: dict[str, list[Tensor]]) -> bool:
    """Tell whether the same number of consecutive hypotheses reads each encoding, in its order."""
    if not encoder_out["rows"]:
        return True
    rows, B = encoder_out["rows"][0], encoder_out["encoder_out"][0].size(1)
    if B == 0 or len(rows) % B:
        return False
    each = torch.arange(B, device=rows.device).repeat_interleave(len(rows) // B)
    return rows.equal(each)
