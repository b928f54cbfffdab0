"""A checkpoint of fairseq's that no training run has written yet."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import OmegaConf
from torch import Tensor

from genft_fairseq.interchange.checkpoint_averaging import write_checkpoint


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
