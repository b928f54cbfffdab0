"""A checkpoint that a flag names must be there.

fairseq begins from random parameters, with exit status 0, where ``--restore-file``,
``--continue-once`` or ``--load-pretrained-encoder-from`` name a file that does not exist.
"""

import os
from functools import wraps
from typing import Any

from fairseq import models
from fairseq.file_io import PathManager
from fairseq.trainer import Trainer

from genft_fairseq.errors import UserError

_PRETRAINED = ("load_pretrained_encoder_from", "load_pretrained_decoder_from")


def apply() -> None:
    """Apply every check; a second call changes nothing."""
    if getattr(models.build_model, "genft", False):
        return
    load, build = Trainer.load_checkpoint, models.build_model

    @wraps(load)
    def load_checkpoint(self: Trainer, filename: str, *args: Any, **kwargs: Any) -> Any:
        settings = self.cfg.checkpoint
        # Its own last checkpoint is there once a run has begun, however its path is written.
        last = os.path.join(settings.save_dir, f"checkpoint_last{self.checkpoint_suffix}.pt")
        if os.path.realpath(filename) != os.path.realpath(last):
            named = settings.continue_once == filename
            require_checkpoint(
                "--continue-once" if named else "--restore-file", filename, settings.save_dir
            )
        return load(self, filename, *args, **kwargs)

    @wraps(build)
    def build_model(cfg: Any, task: Any, from_checkpoint: bool = False) -> Any:
        for name in _PRETRAINED:
            path = getattr(cfg, name, None)
            if path and not from_checkpoint:  # then its parameters come from there
                require_checkpoint(f"--{name.replace('_', '-')}", path)
        return build(cfg, task, from_checkpoint)

    build_model.genft = True  # type: ignore[attr-defined]
    Trainer.load_checkpoint, models.build_model = load_checkpoint, build_model


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
