"""What a save folder holds: the checkpoint to use, and whether its training is finished."""

from collections.abc import Sequence
from pathlib import Path

from genft_fairseq.errors import UserError
from genft_fairseq.study.baselines import holds_checkpoints
from genft_fairseq.study.data_folders import flag_values, has_flag
from genft_fairseq.study.training_log import LAST, read_checkpoint

# With these fairseq-train does not go on from the updates that checkpoint_last.pt counts.
_ANOTHER_START = ("--reset-optimizer", "--restore-file", "--checkpoint-suffix")


def default_folder(strategy: str, baseline: Path | None = None) -> Path:
    """Return where a strategy is trained unless a user says it: never where its baseline lies.

    Args:
        strategy: its name.
        baseline: the checkpoint that fine-tuning starts from; None: training from the beginning.
    """
    folder = Path("checkpoints", strategy)
    if baseline is not None and baseline.resolve().parent == folder.resolve():
        return _finetuned(folder)
    return folder


def _finetuned(folder: Path) -> Path:
    """Where a strategy is fine-tuned from a baseline of its own name."""
    return folder.with_name(f"{folder.name}-finetuned")


def trained_folder(strategy: str) -> Path:
    """Return where a strategy was trained, by default.

    Raises:
        UserError: it was trained and fine-tuned as well, and either may be meant.
    """
    folder = default_folder(strategy)
    finetuned = _finetuned(folder)
    if holds_checkpoints(folder) and holds_checkpoints(finetuned):
        raise UserError(
            f"--strategy {strategy}: {folder} and {finetuned} both hold checkpoints: name one with "
            "--save-dir"
        )
    return finetuned if holds_checkpoints(finetuned) else folder


def best_checkpoint(save_dir: Path) -> str:
    """Return the best checkpoint of a folder, or its last.

    Raises:
        UserError: it holds neither.
    """
    for name in ("checkpoint_best.pt", LAST):
        if (save_dir / name).is_file():
            return str(save_dir / name)
    raise UserError(
        f"{save_dir} holds neither checkpoint_best.pt nor checkpoint_last.pt: "
        f"train there, or give --path CKPT or another --save-dir"
    )


def finished_updates(save_dir: Path, flags: Sequence[str]) -> int | None:
    """Return the updates of a folder that is trained as far as the flags say; None where it is not.

    fairseq-train looks at ``--max-update`` after an update, and so would make one more.
    """
    limit, last = max_update(flags), save_dir / LAST
    if not limit or not last.is_file() or has_flag(flags, *_ANOTHER_START):
        return None
    try:
        updates = read_checkpoint(last).updates
    except UserError:  # fairseq-train says what is wrong with it
        return None
    return updates if updates >= limit else None


def max_update(flags: Sequence[str]) -> int | None:
    """Return what the last ``--max-update`` says; None where there is none, or no number."""
    found = flag_values(flags, "--max-update")
    return int(found[-1]) if found and found[-1].isdecimal() else None
