"""The architectures of transformers that can be imported: how they are built and taken apart.

T5 (v1.0 and v1.1), BART, and ``EncoderDecoderModel`` of a BERT or RoBERTa with a BERT, RoBERTa or
GPT-2; and BERT or RoBERTa alone, for ``--arch bi_encoder``.  ``build`` makes a model of its
description, ``parts`` names what fairseq's interfaces need of it, and ``renumber`` copies
parameters between the vocabularies of fairseq and of transformers.

``transformers`` is imported inside functions, because only imported models need it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from genft_fairseq.errors import UserError
from genft_fairseq.models.huggingface.attention import register, relative_bias
from genft_fairseq.models.huggingface.description import Description


@dataclass(frozen=True)
class Architecture:
    """An architecture of transformers.

    Attributes:
        config: name of its configuration class.
        model: name of its model class; empty: it is only one half of an encoder-decoder.
        dropout: fields of the dropout of hidden states.
        attention_dropout: fields of the dropout of attention weights; empty: ``dropout`` is both.
        positions: field of the maximum number of tokens; empty: there is no maximum.
        must_be: fields of which only this value is supported.
    """

    config: str
    model: str
    dropout: tuple[str, ...]
    attention_dropout: tuple[str, ...]
    positions: str
    must_be: dict[str, Any]


ARCHITECTURES = {
    "t5": Architecture("T5Config", "T5ForConditionalGeneration", ("dropout_rate",), (), "", {}),
    "bart": Architecture(
        "BartConfig",
        "BartForConditionalGeneration",
        ("dropout",),
        ("attention_dropout",),
        "max_position_embeddings",
        {"scale_embedding": False},
    ),
    "bert": Architecture(
        "BertConfig",
        "",
        ("hidden_dropout_prob",),
        ("attention_probs_dropout_prob",),
        "max_position_embeddings",
        {"position_embedding_type": "absolute"},
    ),
    "roberta": Architecture(
        "RobertaConfig",
        "",
        ("hidden_dropout_prob",),
        ("attention_probs_dropout_prob",),
        "max_position_embeddings",
        {"position_embedding_type": "absolute", "pad_token_id": 1},
    ),
    "gpt2": Architecture(
        "GPT2Config",
        "",
        ("resid_pdrop", "embd_pdrop"),
        ("attn_pdrop",),
        "n_positions",
        {"reorder_and_upcast_attn": False},
    ),
}

# model_type of ``EncoderDecoderModel``, which is composed of two models.
COMPOSED = "encoder-decoder"
ENCODER_DECODERS = tuple(name for name, known in ARCHITECTURES.items() if known.model)
# The halves of a composed model; encoders with the class of one that stands alone.
ENCODERS = {"bert": "BertModel", "roberta": "RobertaModel"}

DECODERS = ("bert", "roberta", "gpt2")

# Ids in transformers' vocabulary, which mean nothing in fairseq's dictionary.
IDS = ("bos_token_id", "pad_token_id", "eos_token_id", "decoder_start_token_id")

# Fields of the base class of all configurations that are read, too.
SHARED_FIELDS = (
    *("tie_word_embeddings", "cross_attention_hidden_size", "scale_decoder_outputs"),
    *IDS,
)


def fields(model_type: str) -> set[str]:
    """Return the fields of a configuration that are read: those of its own class."""
    import transformers

    own = getattr(transformers, ARCHITECTURES[model_type].config)
    return {*own.__annotations__, *own.attribute_map, *SHARED_FIELDS} - {"model_type"}


def configuration(description: Description, numbered_as: str = "fairseq") -> Any:
    """Make the configuration of transformers for a model.

    Args:
        description: of the model.
        numbered_as: *fairseq* or *transformers*: whose vocabulary the model has.

    Raises:
        UserError: transformers rejects it.
    """
    import transformers

    try:
        if description.model_type != COMPOSED:
            ours = numbered_as == "fairseq"
            size = len(description.target) if ours else description.target.size
            config = _single(description.model_type, description.config, size, ours)
        else:
            halves = {
                half: _single(
                    description.config[half]["model_type"],
                    description.config[half],
                    len(side) if numbered_as == "fairseq" else side.size,
                    numbered_as == "fairseq",
                    **(
                        {"is_decoder": True, "add_cross_attention": True}
                        if half == "decoder"
                        else {"is_decoder": False, "add_cross_attention": False}
                    ),
                )
                for half, side in (("encoder", description.source), ("decoder", description.target))
            }
            config = transformers.EncoderDecoderConfig(
                **{half: single.to_dict() for half, single in halves.items()},
                **({} if numbered_as == "fairseq" else description.config.get("ids", {})),
            )
    except UserError:
        raise
    except Exception as error:  # transformers checks the types, by exceptions of its own
        raise UserError(
            f"the description of the model is no configuration of {description.model_type} "
            f"({str(error).strip().splitlines()[0] if str(error).strip() else error!r})"
        ) from error
    return config


def _single(model_type: str, content: dict[str, Any], size: int, ours: bool, **more: Any) -> Any:
    import transformers

    if model_type not in ARCHITECTURES:
        allowed = ", ".join((*ARCHITECTURES, COMPOSED))
        raise UserError(f"model_type must be one of {allowed}, not {model_type}")
    known = {name: value for name, value in content.items() if name in fields(model_type)}
    if ours:
        # fairseq's </s> is 2 and its padding 1, the row that is never trained.
        known |= {**dict.fromkeys(IDS), "pad_token_id": 1, "eos_token_id": 2}
    known |= {"vocab_size": size, **more}
    return getattr(transformers, ARCHITECTURES[model_type].config)(**known)


def build(
    description: Description,
    dropout: float | None = None,
    attention_dropout: float | None = None,
    numbered_as: str = "fairseq",
) -> Any:
    """Build a model with random parameters.

    Args:
        description: of the model.
        dropout: replaces the configuration's; None: keep it.
        attention_dropout: replaces the configuration's; None: keep it.
        numbered_as: *fairseq* or *transformers*: whose vocabulary the model has.

    Raises:
        UserError: transformers rejects the configuration, or the model has no such dropout.
    """
    import transformers

    alone = description.texts is not None
    allowed = tuple(ENCODERS) if alone else (*ENCODER_DECODERS, COMPOSED)
    if description.model_type not in allowed:
        what = f"{description.model_type}, an encoder" if alone else description.model_type
        raise UserError(f"model_type must be one of {', '.join(allowed)}, not {what}")
    config = configuration(description, numbered_as)
    composed = description.model_type == COMPOSED
    for part in (config.encoder, config.decoder) if composed else (config,):
        known = ARCHITECTURES[part.model_type]
        if attention_dropout is not None and not known.attention_dropout:
            raise UserError(
                f"--attention-dropout {attention_dropout}: a model of type {part.model_type} has "
                "one dropout for all, --dropout"
            )
        for names, value in (
            (known.dropout, dropout),
            (known.attention_dropout, attention_dropout),
        ):
            for name in names if value is not None else ():
                setattr(part, name, value)
    attention = register()
    whole: Any = transformers.EncoderDecoderModel
    more: dict[str, Any] = {}
    if alone:
        whole = getattr(transformers, ENCODERS[description.model_type])
        more = {"add_pooling_layer": False}
    elif not composed:
        whole = getattr(transformers, ARCHITECTURES[description.model_type].model)
    try:
        model = whole._from_config(config, attn_implementation=attention, **more)
    except Exception as error:  # each of transformers' modules checks sizes in its own way
        raise UserError(
            f"the description of the model makes no {description.model_type} ({error})"
        ) from error
    if not description.tied:
        untie(model)
    return model


def untie(model: Any) -> None:
    """Give the output layer its own copy of the embedding matrix."""
    output = model.get_output_embeddings()
    output.weight = nn.Parameter(output.weight.detach().clone())


@dataclass(frozen=True)
class Parts:
    """The parts of an encoder-decoder.

    Attributes:
        encoder: (B, L) tokens to (B, L, D) vectors.
        project: from the encoder's width to the decoder's; None: the widths are equal.
        decoder: tokens and these vectors to features.
        head: between the decoder and the output layer; None: nothing is.
        scale: factor of the features before the output layer.
        output: the output layer, (V, D).
        bias: (V,), constants added to the logits; None: none.
        unused: module that an encoder-decoder does not use, kept for export; None: there is none.
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
    """Return the parts of an encoder-decoder, which share its parameters."""
    kind = model.config.model_type
    if kind == "t5":
        for stack in (model.encoder, model.decoder):
            own = stack.block[0].layer[0].SelfAttention
            own.compute_bias = MethodType(relative_bias, own)
        for block in model.decoder.block:
            reading = block.layer[1].EncDecAttention
            reading.without_position_bias = True  # cross-attention has no relative positions
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
    """Keep T5 from allocating a position bias of zeros, as large as all scores of a head."""
    return args, {**keywords, "position_bias": torch.empty(0)}


def vocabulary_parameters(model: Any) -> Iterator[tuple[str, str]]:
    """Yield the parameters with one row for each token, and which side's tokens these are."""
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
    """Copy the parameters of a model to the same model with the other vocabulary.

    Args:
        given: the model to copy from.
        wanted: the model to copy to; changed in place.
        description: of the model.
        to: *fairseq* or *transformers*: the vocabulary of ``wanted``.
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
