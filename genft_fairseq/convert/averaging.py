"""Averaging the parameters of several checkpoints of one run.

The average usually translates better than any of them.  fairseq has this as a script in its
repository, which ``pip`` does not install.
"""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genft_fairseq.errors import UserError
from genft_fairseq.patches import safe_loading

# fairseq's file names: checkpoint3.pt after an epoch, checkpoint_3_1500.pt after an update.
WRITTEN_BY = {
    "epochs": re.compile(r"checkpoint(\d+)\.pt"),
    "updates": re.compile(r"checkpoint_\d+_(\d+)\.pt"),
}


def newest_checkpoints(folder: Path, last: int, by: str | None = None) -> list[Path]:
    """Return a run's last checkpoints, oldest first.

    Args:
        folder: ``--save-dir`` of the run.
        last: number of checkpoints.
        by: ``epochs`` or ``updates``; None: the folder holds only one kind.

    Raises:
        UserError: there are fewer, or the folder holds both kinds and ``by`` is None.
    """
    found = {kind: _numbered(folder, pattern) for kind, pattern in WRITTEN_BY.items()}
    kinds = [by] if by else [kind for kind, paths in found.items() if paths]
    if len(kinds) > 1:
        raise UserError(
            f"{folder} holds checkpoints by epochs and by updates: add --by epochs or --by updates"
        )
    paths = found[kinds[0]] if kinds else []
    if len(paths) < last:
        kind = f" by {kinds[0]}" if kinds else ""
        raise UserError(f"{folder} holds {len(paths)} checkpoints{kind}, fewer than --last {last}")
    return paths[-last:]


def _numbered(folder: Path, pattern: re.Pattern[str]) -> list[Path]:
    matches = [(pattern.fullmatch(path.name), path) for path in folder.iterdir()]
    return [path for _, path in sorted((int(m[1]), path) for m, path in matches if m)]


def average_checkpoints(
    paths: Sequence[Path], progress: Callable[[int], None] = lambda done: None
) -> dict[str, Any]:
    """Average the parameters of checkpoints, holding one of them at a time beside the sums.

    Floating-point tensors are summed in float64 and keep their dtype; other tensors (counters) and
    the configuration are those of the last checkpoint.  Tied parameters stay tied.  The optimizer's
    state is left out.

    Args:
        paths: checkpoints of the same model, at least one.
        progress: called with 1 after each checkpoint.

    Returns:
        a checkpoint as fairseq writes it, to translate with or to fine-tune from.

    Raises:
        UserError: a file is not a fairseq checkpoint, would run code, or holds another model.
    """
    sums: dict[str, Tensor] = {}
    shapes: dict[str, Any] = {}
    state: dict[str, Any] = {}
    for path in paths:
        state = _load(path)
        model = state["model"]
        if not shapes:
            shapes = {name: _shape(value) for name, value in model.items()}
        _require_same(paths[0], shapes, path, model)
        for name, value in model.items():
            if _is_averaged(value):
                if name in sums:
                    sums[name] += value
                else:
                    sums[name] = value.to(torch.float64, copy=True)
        progress(1)
    state["model"] = _means(state["model"], sums, len(paths))
    return state


def write_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint atomically.

    Raises:
        UserError: it cannot be written.
    """
    partial = path.with_name(path.name + ".tmp")
    try:
        torch.save(state, partial)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # RuntimeError: of torch's writer
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be written ({reason})") from error
    finally:
        partial.unlink(missing_ok=True)


def _load(path: Path) -> dict[str, Any]:
    state = safe_loading.load(str(path), map_location="cpu")
    if (
        not isinstance(state, dict)
        or not isinstance(state.get("model"), dict)
        or not state["model"]
    ):
        raise UserError(f"{path} is no fairseq checkpoint: it holds no model")
    state.pop("last_optimizer_state", None)
    for name, value in state["model"].items():
        # A stride of 0 lets a few bytes claim a terabyte.
        if _is_averaged(value) and value.nbytes > value.untyped_storage().nbytes():
            raise UserError(f"{path} does not hold as many numbers as {name} has: {_shape(value)}")
    return state


def _is_averaged(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _require_same(first: Path, shapes: dict[str, Any], path: Path, model: dict[str, Any]) -> None:
    """Refuse a model that differs, naming its first parameter that does."""
    for name in [*shapes, *model]:
        for where, names in ((first, shapes), (path, model)):
            if name not in names:
                raise UserError(f"{path} is not of the model of {first}: {where} has no {name}")
        if _shape(model[name]) != shapes[name]:
            raise UserError(
                f"{path} is not of the model of {first}: {name} is "
                f"{_shape(model[name])}, but {shapes[name]} there"
            )


def _means(model: dict[str, Any], sums: dict[str, Tensor], count: int) -> dict[str, Any]:
    means: dict[str, Any] = {}
    tied: dict[Any, Tensor] = {}
    for name, value in model.items():
        if not _is_averaged(value):
            means[name] = value
            continue
        # Tied parameters are views of one memory, which is written once.
        memory = (value.data_ptr(), value.shape, value.stride(), value.dtype)
        if memory not in tied or not value.numel():
            tied[memory] = (sums[name] / count).to(value.dtype)
        means[name] = tied[memory]
    return means
