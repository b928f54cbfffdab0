"""Changes to ``fairseq.checkpoint_utils``: what is saved, read, and required of a checkpoint.

What the pickle inside one may hold is in ``safe_loading.py``.
"""

import contextlib
import os
import shutil
import sys
import traceback
from typing import Any

import torch
from fairseq import checkpoint_utils, models
from fairseq.distributed import utils as distributed_utils
from fairseq.file_io import PathManager
from fairseq.optim.lr_scheduler.reduce_lr_on_plateau import ReduceLROnPlateauLRSchedule
from fairseq_cli import train as training

from genft_fairseq.errors import UserError, require_regular
from genft_fairseq.patches.registry import ModuleView, extends, replaces
from genft_fairseq.patches.safe_loading import load, save

EARLY_STOPPING = "early_stopping"  # in a checkpoint's extra_state: what --patience has counted


replaces(
    (checkpoint_utils, distributed_utils),
    "torch",
    why="A checkpoint is a pickle, and unpickling can call anything: only what fairseq needs is "
    "loaded.  Where writing has failed, it starts again at the beginning of the file.",
)(ModuleView(torch, load=load, save=save))


@extends(checkpoint_utils, "load_checkpoint_to_cpu")
def load_checkpoint_to_cpu(original: Any, path: str, *args: Any, **kwargs: Any) -> Any:
    """A file that is not a checkpoint is refused in one line.

    What fairseq raises depends on which part is missing.
    """
    require_regular(path)
    try:
        state = original(path, *args, **kwargs)
        if not isinstance(state.get("model"), dict):
            raise TypeError("it holds no model")
        return state
    except (UserError, OSError):
        raise
    except Exception as error:
        raise UserError(f"{path} is not a checkpoint of fairseq-train ({error!r:.200})") from error


@extends(checkpoint_utils, "torch_persistent_save")
def torch_persistent_save(original: Any, state: Any, path: str, *args: Any, **kwargs: Any) -> Any:
    """On a full disk fairseq leaves half a checkpoint behind."""
    try:
        return original(state, path, *args, **kwargs)
    except (OSError, RuntimeError) as error:  # torch's own writer raises the latter
        _remove(f"{path}.tmp")
        raise UserError(
            f"{path} cannot be written ({_reason(error)}); the checkpoints before it are whole"
        ) from error


replaces(
    checkpoint_utils,
    "traceback",
    why="A checkpoint that cannot be written is logged in one line instead of tracebacks.",
)(ModuleView(traceback, format_exc=lambda *_: f"a checkpoint was not written: {sys.exc_info()[1]}"))


def _reason(error: BaseException) -> str:
    """The operating system's reason, where torch's writer has hidden it behind one of its own."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError):
            return found.strerror or str(found)
        found = found.__cause__ or found.__context__
    return str(error).partition("\n")[0]


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.remove(path)


@extends(PathManager, "copy")
def copy(original: Any, src_path: str, dst_path: str, overwrite: bool = False) -> Any:
    """A kill during the copy to ``checkpoint_last.pt`` leaves the old file or the new one."""
    if not PathManager.supports_rename(dst_path):
        return original(src_path, dst_path, overwrite=overwrite)
    partial = f"{dst_path}.tmp"
    try:
        shutil.copyfile(src_path, partial)
        os.replace(partial, dst_path)
    except OSError:
        _remove(partial)
        raise
    return dst_path


@extends(checkpoint_utils, "load_checkpoint")
def load_checkpoint(original: Any, cfg: Any, trainer: Any, **kwargs: Any) -> Any:
    """A resumed run goes on counting for ``--patience``.

    Where the run stopped after an epoch, the learning-rate schedule sees its validation loss.
    """
    # Of an earlier run in this process.
    vars(training.should_stop_early).clear()
    vars(checkpoint_utils.save_checkpoint).pop("best", None)
    extra_state, epoch_itr = original(cfg, trainer, **kwargs)
    if extra_state is None or trainer.get_num_updates() == 0:  # nothing, or a baseline
        return extra_state, epoch_itr
    if not cfg.reset_meters:
        vars(training.should_stop_early).update(extra_state.get(EARLY_STOPPING, {}))
    place = extra_state["train_iterator"]
    at_end = place["iterations_in_epoch"] == 0 and place["epoch"] > 1
    if at_end and not cfg.reset_lr_scheduler and not cfg.reset_dataloader:
        # What fairseq does at the end of an epoch after it has saved its checkpoint.
        trainer.lr_step(place["epoch"] - 1, extra_state["val_loss"])
    return extra_state, epoch_itr


_PLATEAU = ("num_bad_epochs", "cooldown_counter")


@extends(ReduceLROnPlateauLRSchedule, "state_dict", issue=4071)
def plateau_state_dict(original: Any, self: Any) -> dict[str, Any]:
    """``reduce_lr_on_plateau`` does not save for how long nothing has improved."""
    return {**original(self), **{name: getattr(self.lr_scheduler, name) for name in _PLATEAU}}


@extends(ReduceLROnPlateauLRSchedule, "load_state_dict", issue=4071)
def load_plateau_state_dict(original: Any, self: Any, state: dict[str, Any]) -> None:
    """``reduce_lr_on_plateau`` does not load for how long nothing has improved."""
    original(self, state)
    for name in _PLATEAU:
        if name in state:
            setattr(self.lr_scheduler, name, state[name])


@extends(models, "build_model")
def build_model(original: Any, cfg: Any, task: Any, from_checkpoint: bool = False) -> Any:
    """A ``--load-pretrained-encoder-from`` or ``-decoder-from`` that does not exist is refused.

    fairseq begins from random parameters instead.
    """
    for name in ("load_pretrained_encoder_from", "load_pretrained_decoder_from"):
        path = getattr(cfg, name, None)
        if path and not from_checkpoint:  # then its parameters come from there
            require_checkpoint(f"--{name.replace('_', '-')}", path)
    return original(cfg, task, from_checkpoint)


def require_checkpoint(flag: str, path: str, save_dir: str | None = None) -> None:
    """Refuse a name that is no file.

    Args:
        flag: that names it.
        path: relative to the current folder.
        save_dir: where the user may have meant.

    Raises:
        UserError: the message names the flag and the path.
    """
    if PathManager.isfile(path):
        return
    meant = os.path.join(save_dir, path) if save_dir else path
    found = f": {meant} does (give its whole path)" if PathManager.isfile(meant) else ""
    wrong = "is a folder" if os.path.isdir(path) else "does not exist"
    raise UserError(f"{flag} {path} {wrong}{found}")
