"""One random model in every row's way of reading passages, and questions with passages.

All rows have the parameters of one plain Fusion-in-Decoder, and share them in memory where they
have the same shape: layers without cross-attention leave theirs out, and grouped heads have the
average of a group's.
"""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerConfig, TransformerModel
from fusion_tables import BASELINE, CONCATENATED, COPIED
from strategy_models import build_task, dictionary_of
from torch import Tensor, nn

from genft_fairseq.models.fid.encoder import FiDEncoder, read_rows
from genft_fairseq.models.fid.transformer import FiDTransformerModel, fid_transformer

# How much larger than fresh ones the decoder's embeddings are, and the matrices by which it reads
# the passages: else its answers would be one token again and again, the same for every question.
DECISIVE = 4.0
INTERVAL = {"cross_attention_interval": 3}
ONE_HEAD = {"decoder_kv_heads": 1}
# Flags of each row, by the names of ``fusion_tables.ROWS``.
FLAGS: dict[str, dict[str, int]] = {
    CONCATENATED: {},
    COPIED: {},
    BASELINE: {},
    "kv_heads_1": ONE_HEAD,
    "interval_3": INTERVAL,
    "interval_3_kv_heads_1": {**INTERVAL, **ONE_HEAD},
    "first_k_8": {"first_k": 8},
    "first_k_32": {"first_k": 32},
    "first_k_8_interval_3_kv_heads_1": {"first_k": 8, **INTERVAL, **ONE_HEAD},
}


@dataclass(frozen=True)
class Size:
    """How large a model is."""

    encoder_layers: int
    decoder_layers: int
    width: int
    heads: int
    vocabulary: int

    def facts(self) -> dict[str, int]:
        """Return it as the JSON holds it."""
        return asdict(self)


class CopyingEncoder(FiDEncoder):
    """Copies the encoding for each hypothesis, and at every token again, as fairseq's own does."""

    def reorder_encoder_out(
        self, encoder_out: dict[str, list[Tensor]], new_order: Tensor
    ) -> dict[str, list[Tensor]]:
        """Copy what each hypothesis reads from now on; see fairseq's own."""
        return read_rows({**encoder_out, "rows": [new_order]})


class CopyingModel(FiDTransformerModel):
    """Plain Fusion-in-Decoder as fairseq's own decoder and search go about it."""

    @classmethod
    def build_encoder(cls, args: Any, src_dict: Any, embed_tokens: nn.Embedding) -> FiDEncoder:
        """Build the encoder."""
        return CopyingEncoder(TransformerConfig.from_namespace(args), src_dict, embed_tokens)

    @classmethod
    def build_decoder(cls, args: Any, tgt_dict: Any, embed_tokens: nn.Embedding) -> nn.Module:
        """Build fairseq's own decoder."""
        return TransformerModel.build_decoder(args, tgt_dict, embed_tokens)


KINDS = {CONCATENATED: TransformerModel, COPIED: CopyingModel}


def task_of(size: Size) -> Any:
    """Build fairseq's translation task for models of a size."""
    return build_task("translation", dictionary_of(size), 1)


def build_model(name: str, size: Size, task: Any, positions: int, at_once: int = 0) -> Any:
    """Build a row's model with fresh parameters, the same each time, in training mode.

    Args:
        name: of ``FLAGS``.
        size: of the model.
        task: from ``task_of``.
        positions: the longest source.
        at_once: passages encoded at a time; 0: all.
    """
    sides = {
        f"{side}_{what}": number
        for side, layers in (("encoder", size.encoder_layers), ("decoder", size.decoder_layers))
        for what, number in {
            "layers": layers,
            "embed_dim": size.width,
            "ffn_embed_dim": 4 * size.width,
            "attention_heads": size.heads,
        }.items()
    }
    limits = {"max_source_positions": positions, "max_target_positions": positions}
    args = Namespace(**sides, **limits, **FLAGS[name], passages_at_once=at_once)
    fid_transformer(args)
    torch.manual_seed(1)
    return KINDS.get(name, FiDTransformerModel).build_model(args, task).train()


@dataclass
class Reader:
    """A row: its model, and the batch as it reads it."""

    model: Any
    sample: dict[str, Any]

    @torch.no_grad()
    def encode(self, at_once: int = 0) -> dict[str, Any]:
        """Encode as fairseq's generators do, so many passages at a time (0: all)."""
        encoder = self.model.encoder
        fusion = getattr(encoder, "fusion", None)  # fairseq's own has none
        if fusion:
            fusion.at_once = at_once
        found = encoder.forward_torchscript(self.sample["net_input"])
        if fusion:
            fusion.at_once = 0
        return found


@torch.no_grad()
def _make_decisive(decoder: Any) -> None:
    decoder.embed_tokens.weight.mul_(DECISIVE)
    for layer in decoder.layers:
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            getattr(layer.encoder_attn, projection).weight.mul_(DECISIVE)


def build_readers(
    names: Sequence[str], size: Size, task: Any, shape: tuple[int, int, int], device: str
) -> dict[str, Reader]:
    """Build models with common parameters, prepared as ``fairseq-generate`` prepares its own.

    Args:
        names: of ``FLAGS``, the baseline among them.
        size: of the models.
        task: from ``task_of``.
        shape: (B, N, L).
        device: "cpu" or "cuda".
    """
    _, N, L = shape
    plain = build_model(BASELINE, size, task, N * L).to(device)
    _make_decisive(plain.decoder)
    known = plain.state_dict()
    sample = build_sample(shape, size.vocabulary, device)
    readers = {}
    for name in names:
        model = plain if name == BASELINE else build_model(name, size, task, N * L).to(device)
        model.load_state_dict(dict(known))
        for own, parameter in model.named_parameters():
            if parameter.shape == known[own].shape:
                parameter.data = known[own]
        # What fairseq-generate does, where it is not asked for alignments.
        model.prepare_for_inference_(Namespace(generation=Namespace(beam=1)))
        readers[name] = Reader(model, as_one_source(sample) if name == CONCATENATED else sample)
    return readers


def build_sample(shape: tuple[int, int, int], vocabulary: int, device: str) -> dict[str, Any]:
    """Draw B questions with N passages of L tokens each, without padding.

    Args:
        shape: (B, N, L).
        vocabulary: symbols, fairseq's own among them.
        device: "cpu" or "cuda".
    """
    B, N, L = shape
    special = Dictionary()
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(special.nspecial, vocabulary, shape, generator=generator)
    tokens[..., -1] = special.eos()
    lengths = torch.full((B,), N * L)
    return {
        "id": torch.arange(B),
        "net_input": {"src_tokens": tokens.to(device), "src_lengths": lengths.to(device)},
    }


def as_one_source(sample: dict[str, Any]) -> dict[str, Any]:
    """Put the passages of each question in a row, as fairseq's own Transformer reads them."""
    tokens = sample["net_input"]["src_tokens"]
    return {**sample, "net_input": {**sample["net_input"], "src_tokens": tokens.flatten(1)}}
