"""Checkpoints of fairseq: written without training, and read to be converted.

A checkpoint of fairseq's that no training run has written yet.

A checkpoint that ``fairseq-train`` has written, read to be exported.
"""

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
    """Return what ``fairseq-train`` makes of these words of a command line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hydra's, about how fairseq calls it
        args = options.parse_args_and_arch(options.get_training_parser(), words)
        return convert_namespace_to_omegaconf(args)


def write_fresh_checkpoint(cfg: Any, parameters: Mapping[str, Tensor], path: Path) -> None:
    """Write a model as a trainer does, to fine-tune from, decode with or evaluate.

    Args:
        cfg: of a training run.
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
        # fairseq looks up the last of these in whatever it loads.
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
    """What a checkpoint says of its model.

    Attributes:
        path: of the file.
        arch: the name of the model's architecture.
        settings: of the model, as attributes.
        weights: fairseq's parameters and buffers.
        data: the folder that it was trained on, the first of several; None if it does not say.
    """

    path: Path
    arch: str
    settings: Any
    weights: dict[str, Tensor]
    data: Path | None


def read_trained(path: Path) -> Trained:
    """Read a checkpoint without running its code.

    Raises:
        UserError: no such file, or no checkpoint.
    """
    if not path.is_file():
        raise UserError(f"{path} is no file" if path.exists() else f"{path} does not exist")
    try:
        state = checkpoint_utils.load_checkpoint_to_cpu(str(path))
        settings, weights = state["cfg"].model, state["model"]
        assert isinstance(weights, dict), "its model is no dictionary"
        # fairseq's older kind of settings has the name as the flag that gave it.
        arch = str(getattr(settings, "_name", None) or settings.arch)
        first = str(state["cfg"].task.data or "").split(":")[0]
    except (UserError, OSError):
        raise
    # What fairseq raises depends on which part of a checkpoint is not there.
    except Exception as error:
        raise UserError(f"{path} is no checkpoint of fairseq-train ({error!r})") from error
    return Trained(path, arch, settings, weights, Path(first) if first else None)
