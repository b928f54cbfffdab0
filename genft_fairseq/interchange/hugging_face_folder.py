"""A GPT-2 as a folder of transformers': read without its code or the network, and written.

``transformers`` is imported where it is needed, because only these commands need it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genft_fairseq.errors import UserError
from genft_fairseq.interchange.hugging_face_files import (
    first_line,
    load_model,
    read_config,
    require_transformers,
    save_model,
)
from genft_fairseq.interchange.hugging_face_gpt2 import ACTIVATIONS, Settings

# Nothing else of a config.json is read: some of its settings fetch kernels or choose a quantiser.
_READ = (
    *("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner"),
    *("activation_function", "resid_pdrop", "attn_pdrop", "layer_norm_epsilon"),
    *("scale_attn_weights", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn"),
    *("add_cross_attention", "tie_word_embeddings"),
)
# What fairseq's decoder does, and no flag changes.
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
    """Read ``config.json``, and see that there are weights.

    Returns:
        The settings, and transformers' own configuration of them.

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
    except Exception as error:  # transformers checks the types, by exceptions of its own
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
    """Read the parameters of ``GPT2LMHeadModel``, in float32, whatever files they are in.

    Pickled weights are read as tensors alone, so that none of their code runs.

    Args:
        folder: which ``read_settings`` has read.
        config: transformers' configuration.

    Raises:
        UserError: a file is broken or holds code, a parameter is missing or of another shape, or
            one is there that GPT-2 does not have.
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
    """Write ``config.json`` and the weights, in the dtype that they have.

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
