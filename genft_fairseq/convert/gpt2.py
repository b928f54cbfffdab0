"""GPT-2 from transformers to fairseq and back.

Both compute the same function.  They differ in the names of parameters, in the layout of a layer's
matrix (GPT-2's are transposed: inputs by outputs), in the query, key and value being one matrix or
three, and in fairseq's four symbols and two rows for padding, which come first.

``read_settings`` and ``read_weights`` read a folder of transformers, and ``write_gpt2`` writes the
checkpoint; ``read_gpt2`` reads a checkpoint, and ``write_model`` writes the folder; ``to_fairseq``
and ``to_hugging_face`` rename the parameters.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq import tasks
from torch import Tensor

from genft_fairseq.convert.checkpoints import (
    Trained,
    training_configuration,
    write_fresh_checkpoint,
)
from genft_fairseq.convert.huggingface_folder import (
    first_line,
    load_model,
    read_config,
    require_transformers,
    save_model,
)
from genft_fairseq.errors import UserError
from genft_fairseq.models.gpt2 import POSITIONS, SIZES, require_gpt2

# fairseq's dictionary begins with <s>, <pad>, </s> and <unk>; positions count from padding on.
SYMBOLS = 4
LINE_END = 2
POSITION_OFFSET = 2

# By transformers' names; the first two are the same formula, computed by different kernels.
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
    """The settings of a GPT-2; ``activation`` is fairseq's name."""

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
        layers: their number.
        end_of_text: id of ``<|endoftext|>``.

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
        layers: their number.
        line_end_at: id of the token whose row is replaced by that of ``</s>``; None: no token's.

    Returns:
        The parameters of ``GPT2LMHeadModel``.

    Raises:
        UserError: a parameter is missing, or GPT-2 does not have it.
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


# Only these fields of a config.json are read: others fetch kernels or choose a quantiser.
_READ = (
    *("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner"),
    *("activation_function", "resid_pdrop", "attn_pdrop", "layer_norm_epsilon"),
    *("scale_attn_weights", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn"),
    *("add_cross_attention", "tie_word_embeddings"),
)

# Fixed in fairseq's decoder.
_MUST_BE = {
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "reorder_and_upcast_attn": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}

# Masks that early checkpoints hold beside the parameters.
_MASKS = ("attn.bias", "attn.masked_bias")


def read_settings(folder: Path) -> tuple[Settings, Any]:
    """Read ``config.json``, and check that the folder holds weights.

    Returns:
        the settings, and the configuration of transformers.

    Raises:
        UserError: a file is missing, or fairseq's decoder cannot compute what it describes.
    """
    content = read_config(folder)
    path = folder / "config.json"
    if content.get("model_type") != "gpt2":
        raise UserError(f"{path}: model_type must be gpt2, but is {content.get('model_type')}")
    transformers = require_transformers()
    names = {**transformers.GPT2Config.attribute_map, **{name: name for name in _READ}}
    try:
        known = {own: content[name] for name, own in names.items() if name in content}
        config = transformers.GPT2Config(**known)
    except Exception as error:  # transformers checks types with its own exceptions
        raise UserError(f"{path} is no configuration of a GPT-2 ({first_line(error)})") from error
    return _checked(config, path), config


def _checked(config: Any, path: Path) -> Settings:
    for name, value in _MUST_BE.items():
        if getattr(config, name) != value:
            raise UserError(
                f"{path}: {name} must be {value}, as in fairseq's decoder, but is "
                f"{getattr(config, name)}"
            )
    if config.activation_function not in ACTIVATIONS:
        raise UserError(
            f"{path}: activation_function must be one of {', '.join(ACTIVATIONS)}, which fairseq "
            f"has, but is {config.activation_function}"
        )
    inner = 4 * config.n_embd if config.n_inner is None else config.n_inner
    settings = Settings(
        vocabulary=config.vocab_size,
        positions=config.n_positions,
        layers=config.n_layer,
        width=config.n_embd,
        heads=config.n_head,
        inner=inner,
        activation=ACTIVATIONS[config.activation_function],
        dropout=config.resid_pdrop,
        attention_dropout=config.attn_pdrop,
    )
    for name in ("vocabulary", "positions", "layers", "width", "heads", "inner"):
        if getattr(settings, name) < 1:
            raise UserError(f"{path}: the number of {name} is {getattr(settings, name)}")
    if settings.width % settings.heads:
        raise UserError(
            f"{path}: n_embd must be a multiple of n_head, but is {settings.width}, and n_head is "
            f"{settings.heads}"
        )
    return settings


def read_weights(folder: Path, config: Any) -> dict[str, Tensor]:
    """Read the parameters of ``GPT2LMHeadModel`` in float32; see ``load_model``.

    Args:
        folder: that ``read_settings`` has read.
        config: configuration of transformers.

    Raises:
        UserError: a file is broken or holds code, or a parameter is missing, unknown or of another
            shape.
    """
    model, _ = load_model(
        require_transformers().GPT2LMHeadModel,
        folder,
        config,
        "GPT-2",
        unexpected=lambda name: name.endswith(_MASKS),
    )
    weights: dict[str, Tensor] = model.state_dict()
    if not torch.equal(weights["transformer.wte.weight"], weights["lm_head.weight"]):
        raise UserError(
            f"the weights in {folder} hold an lm_head.weight of their own: fairseq's GPT-2 reads "
            f"and predicts by one matrix"
        )
    return weights


def write_model(
    settings: Settings, weights: Mapping[str, Tensor], end_of_text: int, folder: Path
) -> None:
    """Write ``config.json`` and the weights in their dtype.

    Raises:
        UserError: the parameters are not those of the settings.
    """
    transformers = require_transformers()
    names = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    config = transformers.GPT2Config(
        vocab_size=settings.vocabulary,
        n_positions=settings.positions,
        n_embd=settings.width,
        n_layer=settings.layers,
        n_head=settings.heads,
        n_inner=None if settings.inner == 4 * settings.width else settings.inner,
        activation_function=names[settings.activation],
        resid_pdrop=settings.dropout,
        embd_pdrop=settings.dropout,
        attn_pdrop=settings.attention_dropout,
        bos_token_id=end_of_text,
        eos_token_id=end_of_text,
    )
    model = transformers.GPT2LMHeadModel(config).to(weights["transformer.wte.weight"].dtype)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"the checkpoint's parameters are not GPT-2's: {reason}") from error
    save_model(model, folder)


_BUFFERS = {"decoder.version", "decoder.output_projection.bias"}


def write_gpt2(settings: Settings, weights: Mapping[str, Tensor], folder: Path, data: Path) -> int:
    """Write ``folder/model.pt``, to fine-tune from, decode with or evaluate.

    Its configuration is the one that ``fairseq-train`` makes of the architecture's flags.

    Args:
        settings: of the model.
        weights: parameters under fairseq's names, without buffers.
        folder: to write to; holds ``dict.txt``.
        data: final path of the folder.

    Returns:
        the number of parameters.

    Raises:
        UserError: it cannot be written.
    """
    flags = ["--task", "language_modeling", *architecture_flags(settings)]
    cfg = training_configuration([str(folder), *flags])
    task = tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model)
    buffers = {name: value for name, value in model.state_dict().items() if name in _BUFFERS}
    model.load_state_dict({**buffers, **weights}, strict=True)
    cfg.task.data = str(data)
    write_fresh_checkpoint(cfg, model.state_dict(), folder / "model.pt")
    return sum(parameter.numel() for parameter in model.parameters())


def read_gpt2(trained: Trained) -> Settings:
    """Return the settings of a GPT-2 in a checkpoint of ``--arch gpt2`` or another size.

    Raises:
        UserError: another architecture, or settings that GPT-2 cannot express.
    """
    path, model, weights = trained.path, trained.settings, trained.weights
    if trained.arch not in SIZES:
        raise UserError(
            f"{path} holds a model of --arch {trained.arch}, but must of {', '.join(SIZES)}"
        )
    require_gpt2(model)
    if model.activation_fn not in ACTIVATIONS.values():
        raise UserError(
            f"{path}: --activation-fn {model.activation_fn} is none of transformers' GPT-2, which "
            f"has {', '.join(dict.fromkeys(ACTIVATIONS.values()))}"
        )
    return _settings(model, weights, path)


def _settings(model: Any, weights: Mapping[str, Tensor], path: Path) -> Settings:
    """Read the sizes off the parameters."""
    try:
        tokens, width = weights["decoder.embed_tokens.weight"].shape
        positions = len(weights["decoder.embed_positions.weight"])
        inner = len(weights["decoder.layers.0.fc1.weight"])
    except (KeyError, ValueError) as error:
        raise UserError(f"{path} lacks parameters of a GPT-2: {error}") from error
    return Settings(
        vocabulary=tokens - SYMBOLS,
        positions=positions - POSITION_OFFSET,
        layers=len({name.split(".")[2] for name in weights if name.startswith("decoder.layers.")}),
        width=width,
        heads=model.decoder_attention_heads,
        inner=inner,
        activation=str(model.activation_fn),
        dropout=model.dropout,
        attention_dropout=model.attention_dropout,
    )
