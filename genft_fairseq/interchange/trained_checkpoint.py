"""A checkpoint that ``fairseq-train`` has written, read to be exported."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairseq import checkpoint_utils
from torch import Tensor

from genft_fairseq.errors import UserError


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
