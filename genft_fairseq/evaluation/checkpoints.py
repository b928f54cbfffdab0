"""A checkpoint that is loaded to be evaluated, with the data folder that it is evaluated on."""

import os
from typing import Any

import torch
from fairseq import checkpoint_utils

from genft_fairseq.errors import UserError


def read_checkpoint(path: str, overrides: dict[str, Any]) -> dict[str, Any]:
    """Read a checkpoint's parameters and configuration, some of whose values are replaced.

    Raises:
        UserError: there is no such file.
    """
    if not os.path.isfile(path):
        what = "is no file" if os.path.exists(path) else "does not exist"
        raise UserError(f"--path names {path}, which {what}")
    state: dict[str, Any] = checkpoint_utils.load_checkpoint_to_cpu(path, overrides)
    return state


def build_models(
    path: str, state: dict[str, Any], overrides: dict[str, Any]
) -> tuple[list[Any], Any, Any]:
    """Build what a checkpoint holds; return the models, their configuration, and their task.

    Args:
        path: of the checkpoint.
        state: from ``read_checkpoint``.
        overrides: the same; ``data`` is the binarized folder.

    Raises:
        UserError: the data's dictionary is not of the size that the model was trained with, or the
            checkpoint does not describe a model.
    """
    try:
        models, configuration, task = checkpoint_utils.load_model_ensemble_and_task(
            [path], arg_overrides=overrides, state=state
        )
    except (UserError, OSError):
        raise
    # A configuration that was not written by fairseq can be wrong in any way.
    except Exception as error:
        lines = str(error).strip().splitlines()
        reason = lines[-1].strip() if lines else type(error).__name__
        if isinstance(error, RuntimeError) and "size mismatch" in str(error):
            data = overrides["data"]
            raise UserError(f"{path} does not fit the dictionary of {data}: {reason}") from error
        what = f"{type(error).__name__}: {reason}"
        raise UserError(f"{path} describes no model that can be built ({what})") from error
    return models, configuration, task


def require_finite(model: Any, path: str) -> None:
    """Refuse a model that training has broken.

    Raises:
        UserError: a parameter is not a finite number; the message names it.
    """
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise UserError(f"{path} holds {name}, some of which is no finite number")


def chosen_device(cpu: bool) -> torch.device:
    """Return the GPU where there is one, and the processor was not asked for."""
    return torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")
