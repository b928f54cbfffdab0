"""What a run of training ran with, in its log: nobody remembers it later."""

import importlib.metadata
import logging
import platform
from functools import wraps
from typing import Any

from fairseq.distributed import utils as distributed
from fairseq.trainer import Trainer

_PACKAGES = ("torch", "fairseq-fixed")
_logger = logging.getLogger("genft_fairseq")


def apply(version: str) -> None:
    """Log it whenever a trainer is made; a second call changes nothing.

    Args:
        version: of this package.
    """
    if getattr(Trainer.__init__, "genft_record", False):
        return
    make = Trainer.__init__

    @wraps(make)
    def recorded(self: Trainer, cfg: Any, *args: Any, **kwargs: Any) -> None:
        make(self, cfg, *args, **kwargs)
        if distributed.is_master(cfg.distributed_training):
            _logger.info("versions: %s", versions(version))

    recorded.genft_record = True  # type: ignore[attr-defined]
    Trainer.__init__ = recorded


def versions(version: str) -> str:
    """Return the versions of Python, this package, and what it stands on, in one line."""
    found = {"python": platform.python_version(), "genft_fairseq": version}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # fairseq installed under its own name
            continue
    return ", ".join(f"{name} {version}" for name, version in found.items())
