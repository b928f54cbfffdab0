"""A GPT-2 as a checkpoint of fairseq: written as its trainer does, and read again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairseq import tasks
from torch import Tensor

from genft_fairseq.errors import UserError
from genft_fairseq.interchange.fresh_checkpoint import (
    training_configuration,
    write_fresh_checkpoint,
)
from genft_fairseq.interchange.hugging_face_gpt2 import (
    ACTIVATIONS,
    POSITION_OFFSET,
    SYMBOLS,
    Settings,
    architecture_flags,
)
from genft_fairseq.interchange.trained_checkpoint import Trained
from genft_fairseq.models.gpt2 import SIZES, require_gpt2

_BUFFERS = {"decoder.version", "decoder.output_projection.bias"}


def write_gpt2(settings: Settings, weights: Mapping[str, Tensor], folder: Path, data: Path) -> int:
    """Write ``folder/model.pt``, to fine-tune from, decode with or evaluate.

    The configuration in it is what ``fairseq-train`` makes of the architecture's flags.

    Args:
        settings: of the model.
        weights: fairseq's parameters, without buffers.
        folder: holds ``dict.txt``.
        data: what the folder will be called in the end.

    Returns:
        The number of parameters.

    Raises:
        UserError: it cannot be written.
    """
    cfg = _configuration([str(folder), *architecture_flags(settings)])
    task = tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model)
    buffers = {name: value for name, value in model.state_dict().items() if name in _BUFFERS}
    model.load_state_dict({**buffers, **weights}, strict=True)
    cfg.task.data = str(data)
    write_fresh_checkpoint(cfg, model.state_dict(), folder / "model.pt")
    return sum(parameter.numel() for parameter in model.parameters())


def _configuration(words: list[str]) -> Any:
    return training_configuration([*words, "--task", "language_modeling"])


@dataclass(frozen=True)
class Checkpoint:
    """What ``read_gpt2`` finds.

    Attributes:
        settings: of the model.
        weights: fairseq's parameters and buffers.
        data: the folder that it was trained on; None if the checkpoint does not say.
    """

    settings: Settings
    weights: dict[str, Tensor]
    data: Path | None


def read_gpt2(trained: Trained) -> Checkpoint:
    """Take a GPT-2 out of a checkpoint of ``--arch gpt2`` or another size.

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
    return Checkpoint(_settings(model, weights, path), weights, trained.data)


def _settings(model: Any, weights: Mapping[str, Tensor], path: Path) -> Settings:
    """The sizes are the parameters' own."""
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
