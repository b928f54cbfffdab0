"""transformers' encoder-decoders, taken apart into what fairseq's interfaces need."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from genft_fairseq.models.hugging_face_description import Description
from genft_fairseq.models.linear_memory_attention import relative_bias


@dataclass(frozen=True)
class Parts:
    """The parts of an encoder-decoder.

    Attributes:
        encoder: (B, L) tokens to (B, L, D) vectors.
        project: vectors of the encoder's width to the decoder's; None: they are the same.
        decoder: tokens and these vectors to features.
        head: what comes between the decoder and the output layer; None: nothing.
        scale: what features are multiplied by.
        output: the output layer, (V, D).
        bias: (V,), a constant that is added to the logits; None: none.
        unused: what the model has and encoder-decoders do not use; None: nothing.
    """

    encoder: Any
    project: nn.Module | None
    decoder: Any
    head: nn.Module | None
    scale: float
    output: nn.Linear
    bias: Tensor | None
    unused: nn.Module | None


class Transform(nn.Module):
    """The layer that BERT and RoBERTa have before their output layer."""

    def __init__(self, dense: nn.Linear, activation: Any, norm: nn.LayerNorm):
        super().__init__()
        self.dense, self.activation, self.norm = dense, activation, norm

    def forward(self, features: Tensor) -> Tensor:
        """Transform (B, T, D) features."""
        found: Tensor = self.norm(self.activation(self.dense(features)))
        return found


def parts(model: Any) -> Parts:
    """Take a model of one of the ``KINDS`` apart; its parameters are shared."""
    kind = model.config.model_type
    if kind == "t5":
        for stack in (model.encoder, model.decoder):
            own = stack.block[0].layer[0].SelfAttention
            own.compute_bias = MethodType(relative_bias, own)
        for block in model.decoder.block:
            reading = block.layer[1].EncDecAttention
            reading.without_position_bias = True  # only its own text has relative positions
            reading.register_forward_pre_hook(_without_zeros, with_kwargs=True)
        scale = model.model_dim**-0.5 if model.config.scale_decoder_outputs else 1.0
        return Parts(*(model.encoder, None, model.decoder, None, scale), model.lm_head, None, None)
    if kind == "bart":
        whole, bias = model.model, model.final_logits_bias[0]
        return Parts(whole.encoder, None, whole.decoder, None, 1.0, model.lm_head, bias, None)
    encoder, decoder = model.encoder, model.decoder
    unused, encoder.pooler = encoder.pooler, None
    if unused is not None:
        unused.requires_grad_(False)
    project = getattr(model, "enc_to_dec_proj", None)
    head: Transform | None = None
    if decoder.config.model_type == "bert":
        last = decoder.cls.predictions
        change = last.transform
        head = Transform(change.dense, change.transform_act_fn, change.LayerNorm)
        stack, output = decoder.bert, last.decoder
    elif decoder.config.model_type == "roberta":
        last = decoder.lm_head
        head = Transform(last.dense, nn.functional.gelu, last.layer_norm)
        stack, output = decoder.roberta, last.decoder
    else:
        stack, output = decoder.transformer, decoder.lm_head
    return Parts(encoder, project, stack, head, 1.0, output, None, unused)


def _without_zeros(module: nn.Module, args: tuple, keywords: dict[str, Any]) -> Any:
    """Spare T5 a position bias of zeros, as large as all scores of a head."""
    return args, {**keywords, "position_bias": torch.empty(0)}


def vocabulary_parameters(model: Any) -> Iterator[tuple[str, str]]:
    """Yield the names of what has a row for each token, and the side whose tokens they are."""
    output = model.get_output_embeddings()
    if output is None:  # an encoder
        of_source, of_target = {id(model.get_input_embeddings().weight)}, set()
    else:
        of_source = {id(model.get_encoder().get_input_embeddings().weight)}
        of_target = {id(model.get_decoder().get_input_embeddings().weight), id(output.weight)}
        of_target |= set() if output.bias is None else {id(output.bias)}
    for name, value in model.state_dict(keep_vars=True).items():
        if id(value) in of_target or name == "final_logits_bias":
            yield name, "target"
        elif id(value) in of_source:
            yield name, "source"


@torch.no_grad()
def renumber(given: Any, wanted: Any, description: Description, to: str) -> None:
    """Copy the parameters of a model to one of the other vocabulary.

    Args:
        given: numbered in one way.
        wanted: the same model, numbered in the other; changed in place.
        description: of the model.
        to: *fairseq* or *transformers*: how ``wanted`` is numbered.
    """
    sides = dict(vocabulary_parameters(given))
    target = wanted.state_dict()
    for name, value in given.state_dict().items():
        if name not in sides:
            target[name].copy_(value)
            continue
        rows = torch.tensor(getattr(description, sides[name]).rows)
        ours, theirs = (rows >= 0).nonzero()[:, 0], rows[rows >= 0]
        # BART keeps its constants as one row.
        one_row = name == "final_logits_bias"
        into, source = (target[name][0], value[0]) if one_row else (target[name], value)
        if to == "fairseq":
            into.zero_()
            into[ours] = source[theirs].to(into)
        else:
            into[theirs] = source[ours].to(into)
