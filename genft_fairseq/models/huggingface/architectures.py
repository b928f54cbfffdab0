"""The architectures of transformers that can be imported, and their modules.

The models of transformers' that are known here, and how they are built.

T5 (v1.0 and v1.1), BART, and ``EncoderDecoderModel`` of BERT or RoBERTa with one of them or GPT-2;
BERT and RoBERTa alone, for ``--arch bi_encoder``.
``transformers`` is imported where it is needed, because only models that are imported need it.

transformers' encoder-decoders, taken apart into what fairseq's interfaces need.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from genft_fairseq.errors import UserError
from genft_fairseq.models.huggingface import attention as linear_memory_attention
from genft_fairseq.models.huggingface.attention import relative_bias
from genft_fairseq.models.huggingface.description import Description


@dataclass(frozen=True)
class Kind:
    """A model of transformers'.

    Attributes:
        config: the class of its configuration.
        model: the class of an encoder-decoder; empty: a half of one.
        dropout: the fields that hold the dropout of hidden states.
        attention_dropout: the fields of that of attention weights; empty: the same.
        positions: the field of the most tokens; empty: any number.
        must_be: fields that have one possible value here.
    """

    config: str
    model: str
    dropout: tuple[str, ...]
    attention_dropout: tuple[str, ...]
    positions: str
    must_be: dict[str, Any]


KINDS = {
    "t5": Kind("T5Config", "T5ForConditionalGeneration", ("dropout_rate",), (), "", {}),
    "bart": Kind(
        "BartConfig",
        "BartForConditionalGeneration",
        ("dropout",),
        ("attention_dropout",),
        "max_position_embeddings",
        {"scale_embedding": False},
    ),
    "bert": Kind(
        "BertConfig",
        "",
        ("hidden_dropout_prob",),
        ("attention_probs_dropout_prob",),
        "max_position_embeddings",
        {"position_embedding_type": "absolute"},
    ),
    "roberta": Kind(
        "RobertaConfig",
        "",
        ("hidden_dropout_prob",),
        ("attention_probs_dropout_prob",),
        "max_position_embeddings",
        {"position_embedding_type": "absolute", "pad_token_id": 1},
    ),
    "gpt2": Kind(
        "GPT2Config",
        "",
        ("resid_pdrop", "embd_pdrop"),
        ("attn_pdrop",),
        "n_positions",
        {"reorder_and_upcast_attn": False},
    ),
}

PAIR = "encoder-decoder"

WHOLE = tuple(name for name, kind in KINDS.items() if kind.model)

# The class of an encoder alone.
ENCODERS = {"bert": "BertModel", "roberta": "RobertaModel"}

DECODERS = ("bert", "roberta", "gpt2")

# Numbers of transformers', which mean nothing in fairseq's dictionary.
IDS = ("bos_token_id", "pad_token_id", "eos_token_id", "decoder_start_token_id")

# What a configuration says besides the fields of its own class, and has a meaning here.
SHARED_FIELDS = (
    *("tie_word_embeddings", "cross_attention_hidden_size", "scale_decoder_outputs"),
    *IDS,
)


def fields(model_type: str) -> set[str]:
    """Return the fields of a configuration that are read: those that its class itself has."""
    import transformers

    own = getattr(transformers, KINDS[model_type].config)
    return {*own.__annotations__, *own.attribute_map, *SHARED_FIELDS} - {"model_type"}


def configuration(description: Description, numbered_as: str = "fairseq") -> Any:
    """Make transformers' configuration of a model.

    Args:
        description: of the model.
        numbered_as: *fairseq* or *transformers*: which vocabulary the model shall have.

    Raises:
        UserError: transformers does not take it.
    """
    import transformers

    try:
        if description.model_type != PAIR:
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

    if model_type not in KINDS:
        raise UserError(f"model_type must be one of {', '.join((*KINDS, PAIR))}, not {model_type}")
    known = {name: value for name, value in content.items() if name in fields(model_type)}
    if ours:
        # </s> of fairseq's is 2, and its padding 1: what is never learned is in that row.
        known |= {**dict.fromkeys(IDS), "pad_token_id": 1, "eos_token_id": 2}
    known |= {"vocab_size": size, **more}
    return getattr(transformers, KINDS[model_type].config)(**known)


def build(
    description: Description,
    dropout: float | None = None,
    attention_dropout: float | None = None,
    numbered_as: str = "fairseq",
) -> Any:
    """Build a model with random parameters.

    Args:
        description: of the model.
        dropout: in place of the configuration's.
        attention_dropout: in place of the configuration's.
        numbered_as: *fairseq* or *transformers*: which vocabulary it shall have.

    Raises:
        UserError: transformers does not take the configuration, or has no such dropout.
    """
    import transformers

    alone = description.texts is not None
    allowed = tuple(ENCODERS) if alone else (*WHOLE, PAIR)
    if description.model_type not in allowed:
        what = f"{description.model_type}, an encoder" if alone else description.model_type
        raise UserError(f"model_type must be one of {', '.join(allowed)}, not {what}")
    config = configuration(description, numbered_as)
    for part in (config.encoder, config.decoder) if description.model_type == PAIR else (config,):
        kind = KINDS[part.model_type]
        if attention_dropout is not None and not kind.attention_dropout:
            raise UserError(
                f"--attention-dropout {attention_dropout}: a model of type {part.model_type} has "
                "one dropout for all, --dropout"
            )
        for names, value in (
            (kind.dropout, dropout),
            (kind.attention_dropout, attention_dropout),
        ):
            for name in names if value is not None else ():
                setattr(part, name, value)
    attention = linear_memory_attention.register()
    whole: Any = transformers.EncoderDecoderModel
    more: dict[str, Any] = {}
    if alone:
        whole = getattr(transformers, ENCODERS[description.model_type])
        more = {"add_pooling_layer": False}
    elif description.model_type != PAIR:
        whole = getattr(transformers, KINDS[description.model_type].model)
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
    """Give the output layer a matrix of its own."""
    output = model.get_output_embeddings()
    output.weight = nn.Parameter(output.weight.detach().clone())


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
