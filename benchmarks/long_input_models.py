"""Random encoder-decoders of one size, and one pass of each: a step of training, or of decoding."""

from argparse import Namespace
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerModel, base_architecture
from long_input_tables import FAIRSEQ
from loss_measurement import Inputs, Shape
from torch import Tensor
from transformers import PreTrainedModel

from genft_fairseq.generation.rollout import continue_prefixes
from genft_fairseq.models.huggingface import architectures
from genft_fairseq.models.huggingface.description import Description, Side
from genft_fairseq.models.huggingface.model import HuggingFaceModel

PASSES = ("training", "decoding")
WRITTEN = 8  # tokens, where decoding is measured
HEAD = 64
EOS, PAD = 2, 1


def build(row: str, layers: int, width: int, vocabulary: int, positions: int) -> Any:
    """Build the model of a row of ``long_input_tables.ROWS``; dropout is what it has by default."""
    dictionary = Dictionary()
    for number in range(vocabulary - len(dictionary)):
        dictionary.add_symbol(str(number))
    torch.manual_seed(1)
    if row == FAIRSEQ:
        return _fairseq(dictionary, layers, width, positions)
    kind, attention = row.rsplit("_", 1)
    described = _describe(kind, layers, width, vocabulary, positions)
    whole = architectures.build(described)
    if attention == "linear":
        return HuggingFaceModel.of(whole, described, dictionary, dictionary)
    for part in whole.modules():  # T5's halves have configurations of their own
        if isinstance(part, PreTrainedModel):
            part.config._attn_implementation = attention
    return whole


def _fairseq(dictionary: Dictionary, layers: int, width: int, positions: int) -> Any:
    args = Namespace(
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_embed_dim=width,
        encoder_ffn_embed_dim=4 * width,
        encoder_attention_heads=width // HEAD,
        share_all_embeddings=True,
        max_source_positions=positions,
        max_target_positions=positions,
    )
    base_architecture(args)
    task: Any = Namespace(source_dictionary=dictionary, target_dictionary=dictionary)
    return TransformerModel.build_model(args, task)


def _describe(kind: str, layers: int, width: int, vocabulary: int, positions: int) -> Description:
    heads = width // HEAD
    if kind == "t5":
        config: dict[str, Any] = {
            **{"d_model": width, "d_kv": HEAD, "d_ff": 4 * width, "num_heads": heads},
            **{"num_layers": layers, "num_decoder_layers": layers},
        }
    elif kind == "bart":
        sizes = {"layers": layers, "attention_heads": heads, "ffn_dim": 4 * width}
        config = {f"{side}_{n}": v for side in ("encoder", "decoder") for n, v in sizes.items()}
        config |= {"d_model": width, "max_position_embeddings": positions}
    else:
        half = {
            **{"model_type": "bert", "hidden_size": width, "num_hidden_layers": layers},
            **{"num_attention_heads": heads, "intermediate_size": 4 * width},
            "max_position_embeddings": positions,
        }
        config = {"encoder": half, "decoder": half}
    side = Side(vocabulary, bos=0, pad=PAD, eos=EOS, unk=3)
    model_type = "encoder-decoder" if kind == "bert2bert" else kind
    return Description(
        *(model_type, config, True, side, side, "<s>"),
        source_positions=None if kind == "t5" else positions,
        target_positions=None if kind == "t5" else positions,
        generation={},
    )


def build_pass(
    layers: int, width: int, vocabulary: int, length: int, positions: int, device: str, name: str
) -> Callable[[Tensor], None]:
    """Build what is measured of a row, such as ``t5_linear training``."""
    row, which = name.split()
    model = build(row, layers, width, vocabulary, positions).to(device)
    model.train(which == "training")
    return partial(train_step if which == "training" else decode, model, length)


def train_step(model: Any, length: int, source: Tensor) -> None:
    """Forward and backward, on targets of so many tokens."""
    B = len(source)
    target = source[:, :1].expand(B, length).contiguous()
    read = torch.cat([torch.full_like(target[:, :1], EOS), target[:, 1:]], dim=1)
    if isinstance(model, PreTrainedModel):
        keep = source.ne(PAD)
        logits = model(input_ids=source, attention_mask=keep, decoder_input_ids=read).logits
    else:
        logits = model(source, source.ne(PAD).sum(dim=1), read)[0]
    F.cross_entropy(logits.flatten(0, 1), target.flatten()).backward()


@torch.no_grad()
def decode(model: Any, length: int, source: Tensor) -> None:
    """Encode, and write some tokens greedily."""
    if isinstance(model, PreTrainedModel):
        number = {"max_new_tokens": min(length, WRITTEN), "min_new_tokens": min(length, WRITTEN)}
        ids = {"decoder_start_token_id": EOS, "pad_token_id": PAD, "eos_token_id": EOS}
        keep = source.ne(PAD)
        model.generate(source, attention_mask=keep, num_beams=1, do_sample=False, **number, **ids)
        return
    encoder_out = model.encoder(source, src_lengths=source.ne(PAD).sum(dim=1))
    prefix = torch.full_like(source[:, :1], EOS)
    continue_prefixes(model, prefix, min(length, WRITTEN), PAD, encoder_out=encoder_out)


def make_tokens(shape: Shape, dtype: torch.dtype, device: str) -> Inputs:
    """Draw tokens (B, S) of a vocabulary of V, where the shape is (B, S, V); one is shorter."""
    B, S, V = shape
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(4, V, (B, S), generator=generator)
    tokens[:, -1] = EOS
    tokens[-1, : S // 8] = PAD  # as batches have it
    return (tokens.to(device),)


def run_pass(run: Callable[[Tensor], None], inputs: Inputs) -> None:
    """Run it."""
    run(*inputs)
