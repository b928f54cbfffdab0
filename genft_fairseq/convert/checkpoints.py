"""Checkpoints of fairseq that are written without training, or read to be exported."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairseq import checkpoint_utils, options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf
from torch import Tensor

from genft_fairseq.convert.averaging import write_checkpoint
from genft_fairseq.errors import UserError


def training_configuration(words: list[str]) -> Any:
    """Return the configuration that ``fairseq-train`` makes of these command-line words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hydra's, about how fairseq calls it
        args = options.parse_args_and_arch(options.get_training_parser(), words)
        return convert_namespace_to_omegaconf(args)


def write_fresh_checkpoint(cfg: Any, parameters: Mapping[str, Tensor], path: Path) -> None:
    """Write a model as fairseq's trainer does, to fine-tune from, decode with or evaluate.

    Args:
        cfg: configuration of a training run.
        parameters: of the model, with buffers.
        path: of the file.

    Raises:
        UserError: it cannot be written.
    """
    state = {
        "args": None,
        "cfg": OmegaConf.to_container(cfg, resolve=True, enum_to_str=True),
        "model": parameters,
        "criterion": None,
        # fairseq reads the last of these in every checkpoint that it loads.
        "optimizer_history": [
            {
                "criterion_name": "CrossEntropyCriterion",
                "optimizer_name": "FairseqAdam",
                "lr_scheduler_state": {},
                "num_updates": 0,
            }
        ],
        "task_state": {},
        "extra_state": {"previous_training_time": 0},
    }
    write_checkpoint(state, path)


@dataclass(frozen=True)
class Trained:
    """The model in a checkpoint of ``fairseq-train``.

    Attributes:
        path: of the file.
        arch: name of the model's architecture.
        settings: of the model, as attributes.
        weights: parameters and buffers, under fairseq's names.
        data: folder that it was trained on, the first of several; None: unknown.
    """

    path: Path
    arch: str
    settings: Any
    weights: dict[str, Tensor]
    data: Path | None


def read_trained(path: Path) -> Trained:
    """Read a checkpoint without running its code.

    Raises:
        UserError: the file is missing, or not a checkpoint.
    """
    if not path.is_file():
        raise UserError(f"{path} is no file" if path.exists() else f"{path} does not exist")
    try:
        state = checkpoint_utils.load_checkpoint_to_cpu(str(path))
        settings, weights = state["cfg"].model, state["model"]
        assert isinstance(weights, dict), "its model is no dictionary"
        # Older settings of fairseq have the name under the flag, --arch.
        arch = str(getattr(settings, "_name", None) or settings.arch)
        first = str(state["cfg"].task.data or "").split(":")[0]
    except (UserError, OSError):
        raise
    # fairseq has no common error for a part of a checkpoint that is missing.
    except Exception as error:
        raise UserError(f"{path} is no checkpoint of fairseq-train ({error!r})") from error
    return Trained(path, arch, settings, weights, Path(first) if first else None)
