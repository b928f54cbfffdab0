"""What a run of fairseq-train leaves in its folder: ``command``, ``train.log`` and ``seconds``."""

import re
from pathlib import Path
from typing import Any

from genft_fairseq.errors import UserError, require_regular

# A figure as Python prints it.
NUMBER = r"(-?\d+(?:\.\d*)?(?:e[+-]?\d+)?|-?inf|nan)"
_PIPED = re.compile(rf"(?<=\| )(\w+) {NUMBER}(?= \||$)")


def command_of(run: Path, root: Path | None = None) -> str:
    """Return the command that trained a run; paths below ``root`` are kept relative to it."""
    command = (run / "command").read_text(encoding="utf-8").strip()
    return command if root is None else command.replace(f"{root}/", "")


def train_seconds(run: Path) -> int:
    """Return how long a run took, in seconds, over all the times that it was started.

    Raises:
        UserError: the file holds something else.
    """
    path = run / "seconds"
    require_regular(path)
    try:
        return int(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} must hold a number of seconds ({error})") from error


def piped_figures(line: str) -> dict[str, float]:
    """Return the figures of a line such as ``| valid | epoch 002 | loss 3 | ppl 10.2``."""
    return {name: float(value) for name, value in _PIPED.findall(line)}


def last_validation(run: Path) -> dict[str, float]:
    """Return the last figures on the validation set by the names that fairseq logs them under.

    ``nll_loss`` (bits per token) and ``ppl`` are of the plain likelihood, whatever was trained;
    ``num_updates`` says when it was.

    Raises:
        UserError: the run has not come to its first validation.
    """
    log = run / "train.log"
    require_regular(log)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [line for line in lines if " valid | " in line]
    if not found:
        raise UserError(f"{log} has no figures on the validation set")
    return piped_figures(found[-1])


def training_figures(run: Path) -> dict[str, Any]:
    """Return the updates of a run, the seconds they took, and how large its model is.

    Returns:
        ``updates``; ``parameters``, each counted once; ``train_seconds`` of the updates alone, over
        all the times that the run was started, by ``train_clock``: *wall* where there is a GPU,
        else *processor*; ``valid_ppl`` and, where it is logged, ``valid_accuracy`` of the last
        validation.

    Raises:
        UserError: the run has not come to its first validation, or its last checkpoint or its log
            are not of a run with the plugin.
    """
    # Not needed to read a log, and slow to import.
    import torch

    from genft_fairseq import safe_loading
    from genft_fairseq.training_time import KEY

    logged = last_validation(run)
    state = safe_loading.load(run / "checkpoint_last.pt", map_location="cpu")
    clock = "wall" if torch.cuda.is_available() else "processor"
    accuracy = {"valid_accuracy": logged["accuracy"]} if "accuracy" in logged else {}
    try:
        distinct = {tensor.data_ptr(): tensor.numel() for tensor in state["model"].values()}
        return {
            "updates": int(logged["num_updates"]),
            "parameters": sum(distinct.values()),
            "train_seconds": state["extra_state"][KEY][clock],
            "train_clock": clock,
            "valid_ppl": logged["ppl"],
            **accuracy,
        }
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise UserError(f"{run} is no run of fairseq-train with the plugin ({error!r})") from error
