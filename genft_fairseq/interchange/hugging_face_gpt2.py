"""GPT-2's settings and parameters under the names of transformers and of fairseq.

Both compute the same function.  They differ in names, in how a layer's matrix is written (GPT-2's
are transposed: inputs by outputs), in the query, key and value being one matrix or three, and in
fairseq's four symbols and two rows for padding, which come first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genft_fairseq.errors import UserError
from genft_fairseq.models.gpt2 import POSITIONS, SIZES

# fairseq's dictionary begins with <s>, <pad>, </s> and <unk>; positions count from padding on.
SYMBOLS = 4
LINE_END = 2
POSITION_OFFSET = 2

# The second spelling of the first is the same formula, computed by another kernel.
ACTIVATIONS = {
    "gelu_new": "gelu_accurate",
    "gelu_pytorch_tanh": "gelu_accurate",
    "gelu": "gelu",
    "relu": "relu",
}

# fairseq's name, GPT-2's name, and whether the weight is transposed.
_PARTS = (
    ("self_attn_layer_norm", "ln_1", False),
    ("self_attn.out_proj", "attn.c_proj", True),
    ("final_layer_norm", "ln_2", False),
    ("fc1", "mlp.c_fc", True),
    ("fc2", "mlp.c_proj", True),
)
_QKV = ("q_proj", "k_proj", "v_proj")


@dataclass(frozen=True)
class Settings:
    """What a GPT-2 is built from; ``activation`` is fairseq's name."""

    vocabulary: int
    positions: int
    layers: int
    width: int
    heads: int
    inner: int
    activation: str
    dropout: float
    attention_dropout: float


def architecture_flags(settings: Settings) -> list[str]:
    """Return the flags of ``fairseq-train`` that build this model: what differs from the size's.

    ``--tokens-per-sample`` is among them where the model has fewer positions than fairseq's blocks.
    """
    size = (settings.layers, settings.width, settings.heads)
    arch = next((name for name, known in SIZES.items() if known == size), "gpt2")
    names = ("--decoder-layers", "--decoder-embed-dim", "--decoder-attention-heads")
    values: dict[str, tuple[Any, Any]] = {
        name: (own, default) for name, own, default in zip(names, size, SIZES[arch], strict=True)
    }
    values |= {
        "--decoder-ffn-embed-dim": (settings.inner, 4 * settings.width),
        "--max-target-positions": (settings.positions, POSITIONS),
        "--tokens-per-sample": (settings.positions, POSITIONS),
        "--activation-fn": (settings.activation, "gelu_accurate"),
        "--dropout": (settings.dropout, 0.1),
        "--attention-dropout": (settings.attention_dropout, 0.1),
    }
    flags = ["--arch", arch]
    for name, (own, default) in values.items():
        if own != default:
            flags += [name, str(own)]
    return flags


def to_fairseq(weights: Mapping[str, Tensor], layers: int, end_of_text: int) -> dict[str, Tensor]:
    """Rename transformers' parameters to fairseq's; no matrix but the embeddings is copied.

    ``<s>`` and ``</s>`` take the row of ``<|endoftext|>``, which is what GPT-2 reads in front of a
    text; ``<pad>`` and ``<unk>``, which no text holds, take zeros.

    Args:
        weights: of ``GPT2LMHeadModel``.
        layers: how many it has.
        end_of_text: the number of ``<|endoftext|>``.

    Returns:
        The parameters of ``models.gpt2``, without its buffers.
    """
    tokens = weights["transformer.wte.weight"]  # (V, D)
    positions = weights["transformer.wpe.weight"]  # (T, D)
    ends, zeros = tokens[end_of_text, None], torch.zeros_like(tokens[:1])
    embedding = torch.cat([ends, zeros, ends, zeros, tokens])  # (4 + V, D)
    renamed = {
        "decoder.embed_tokens.weight": embedding,
        "decoder.output_projection.weight": embedding,
        "decoder.embed_positions.weight": torch.cat([zeros, zeros, positions]),
    }
    for kind in ("weight", "bias"):
        renamed[f"decoder.layer_norm.{kind}"] = weights[f"transformer.ln_f.{kind}"]
        for i in range(layers):
            ours, theirs = f"decoder.layers.{i}", f"transformer.h.{i}"
            for part, name, transposed in _PARTS:
                value = weights[f"{theirs}.{name}.{kind}"]
                renamed[f"{ours}.{part}.{kind}"] = value.t() if transposed else value
            # (D, 3D) or (3D,) -> three of (D, D) or (D,)
            whole = weights[f"{theirs}.attn.c_attn.{kind}"].t()
            for part, value in zip(_QKV, whole.chunk(3), strict=True):
                renamed[f"{ours}.self_attn.{part}.{kind}"] = value
    return renamed


def to_hugging_face(
    weights: Mapping[str, Tensor], layers: int, line_end_at: int | None = None
) -> dict[str, Tensor]:
    """Rename fairseq's parameters to transformers': the inverse of ``to_fairseq``.

    Args:
        weights: of ``models.gpt2``.
        layers: how many it has.
        line_end_at: the number of a token that takes the row of ``</s>`` in place of its own.

    Returns:
        The parameters of ``GPT2LMHeadModel``.

    Raises:
        UserError: a parameter is missing, or one is there that GPT-2 does not have.
    """
    left = dict(weights)
    try:
        line_end = left["decoder.embed_tokens.weight"][LINE_END]
        renamed = _renamed(left, layers)
    except KeyError as error:
        raise UserError(f"the checkpoint lacks {error.args[0]}, which a GPT-2 has") from error
    for name in ("output_projection.weight", "output_projection.bias", "version"):
        left.pop(f"decoder.{name}", None)
    if left:
        raise UserError(f"the checkpoint holds {next(iter(left))}, which GPT-2 does not have")
    if line_end_at is not None:
        tokens = renamed["transformer.wte.weight"].clone()
        tokens[line_end_at] = line_end
        renamed["transformer.wte.weight"] = renamed["lm_head.weight"] = tokens
    return renamed


def _renamed(left: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    tokens = left.pop("decoder.embed_tokens.weight")[SYMBOLS:]
    renamed = {
        "transformer.wte.weight": tokens,
        "lm_head.weight": tokens,
        "transformer.wpe.weight": left.pop("decoder.embed_positions.weight")[POSITION_OFFSET:],
    }
    for kind in ("weight", "bias"):
        renamed[f"transformer.ln_f.{kind}"] = left.pop(f"decoder.layer_norm.{kind}")
        for i in range(layers):
            ours, theirs = f"decoder.layers.{i}", f"transformer.h.{i}"
            for part, name, transposed in _PARTS:
                value = left.pop(f"{ours}.{part}.{kind}")
                renamed[f"{theirs}.{name}.{kind}"] = value.t() if transposed else value
            whole = torch.cat([left.pop(f"{ours}.self_attn.{part}.{kind}") for part in _QKV])
            renamed[f"{theirs}.attn.c_attn.{kind}"] = whole.t()
    return renamed
