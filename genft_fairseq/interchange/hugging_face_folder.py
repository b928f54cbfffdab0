"""A GPT-2 as a folder of transformers': read without its code or the network, and written.

``transformers`` is imported where it is needed, because only these commands need it.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genft_fairseq.errors import UserError
from genft_fairseq.interchange.gpt2_tokeniser import read_json
from genft_fairseq.interchange.hugging_face_gpt2 import ACTIVATIONS, Settings

WEIGHTS = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
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


def require_transformers() -> Any:
    """Import transformers.

    Raises:
        UserError: it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            f"transformers cannot be imported ({error}): pip install 'genft_fairseq[hf]'"
        ) from error
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def read_settings(folder: Path) -> tuple[Settings, Any]:
    """Read ``config.json``, and see that there are weights.

    Returns:
        The settings, and transformers' own configuration of them.

    Raises:
        UserError: a file is missing, or fairseq's decoder cannot compute what it describes.
    """
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}: name one that holds the model, for nothing is fetched")
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder} has no config.json: is it a folder of transformers'?")
    content = read_json(path)
    if content.get("model_type") != "gpt2":
        raise UserError(f"{path}: model_type must be gpt2, but is {content.get('model_type')}")
    if content.get("quantization_config"):
        raise UserError(f"{path}: the weights are quantised; save the model without quantisation")
    if (folder / "adapter_config.json").is_file():
        raise UserError(f"{folder} holds an adapter (adapter_config.json): merge it into its model")
    if not any((folder / name).is_file() for name in WEIGHTS):
        raise UserError(f"{folder} holds no weights: none of {', '.join(WEIGHTS)}")
    transformers = require_transformers()
    names = {**transformers.GPT2Config.attribute_map, **{name: name for name in _READ}}
    try:
        known = {own: content[name] for name, own in names.items() if name in content}
        config = transformers.GPT2Config(**known)
    except Exception as error:  # transformers checks the types, by exceptions of its own
        raise UserError(f"{path} is no configuration of a GPT-2 ({_first_line(error)})") from error
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
    transformers = require_transformers()
    try:
        model, found = transformers.GPT2LMHeadModel.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            weights_only=True,
            ignore_mismatched_sizes=True,  # to be told of them, below
            output_loading_info=True,
        )
    except pickle.UnpicklingError as error:
        # torch's own message advises to load it all the same.
        raise UserError(
            f"the weights in {folder} carry something besides tensors, and loading it could run "
            f"code: have them saved as safetensors"
        ) from error
    except Exception as error:  # what a broken file raises depends on where it is broken
        raise UserError(f"the weights in {folder} cannot be read ({_first_line(error)})") from error
    for name, saved, wanted in sorted(found["mismatched_keys"]):
        raise UserError(
            f"the weights in {folder} hold {name} of shape {tuple(saved)}, but config.json says "
            f"{tuple(wanted)}"
        )
    unexpected = [name for name in found["unexpected_keys"] if not name.endswith(_MASKS)]
    if found["missing_keys"]:
        raise UserError(f"the weights in {folder} lack {min(found['missing_keys'])}")
    if unexpected:
        raise UserError(f"the weights in {folder} hold {min(unexpected)}, unknown in GPT-2")
    weights: dict[str, Tensor] = model.state_dict()
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise UserError(
                f"the weights in {folder} hold {name}, some of which is no finite number"
            )
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
    try:
        model.save_pretrained(folder)
    except Exception as error:  # a full disk is an error of safetensors' own kind
        raise UserError(f"{folder} cannot be written ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
