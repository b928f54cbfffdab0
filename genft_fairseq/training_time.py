"""How long the updates of a run took, in its checkpoints.

fairseq's own ``train_wall`` starts anew where a run is resumed at the beginning of an epoch, and
stands still where it is resumed within one.  And on a machine that others use as well the wall
clock counts their turns too: two runs on the CPU can only be compared by what the processor worked
for each.  So both clocks are read around every update, and their sums kept beside fairseq's
``previous_training_time``.
"""

import time
from functools import wraps
from typing import Any

from fairseq.trainer import Trainer

KEY = "train_seconds"  # in a checkpoint's extra_state: {"wall": ..., "processor": ...}


def apply() -> None:
    """Count from now on; a second call changes nothing."""
    if getattr(Trainer.train_step, "genft", False):
        return
    train_step, state_dict, load = Trainer.train_step, Trainer.state_dict, Trainer.load_checkpoint

    @wraps(train_step)
    def counted(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        if self.__dict__.get("_genft_counting"):  # --amp tries again from within
            return train_step(self, *args, **kwargs)
        self.__dict__["_genft_counting"] = True
        # The processor's are of all threads, but not of the processes that load the data.
        begun = time.perf_counter(), time.process_time()
        try:
            return train_step(self, *args, **kwargs)
        finally:
            self.__dict__["_genft_counting"] = False
            seconds = _seconds(self)
            seconds["wall"] += time.perf_counter() - begun[0]
            seconds["processor"] += time.process_time() - begun[1]

    @wraps(state_dict)
    def with_seconds(self: Trainer) -> Any:
        state = state_dict(self)
        state["extra_state"][KEY] = dict(_seconds(self))
        return state

    @wraps(load)
    def load_seconds(
        self: Trainer,
        filename: str,
        reset_optimizer: bool = False,
        reset_lr_scheduler: bool = False,
        optimizer_overrides: Any = None,
        reset_meters: bool = False,
    ) -> Any:
        state = load(
            *(self, filename, reset_optimizer, reset_lr_scheduler),
            *(optimizer_overrides, reset_meters),
        )
        if state is not None and not reset_meters:  # of a baseline they are not this run's
            _seconds(self).update(state.get(KEY, {}))
        return state

    counted.genft = True  # type: ignore[attr-defined]
    Trainer.train_step, Trainer.state_dict = counted, with_seconds
    Trainer.load_checkpoint = load_seconds


def _seconds(trainer: Trainer) -> dict[str, float]:
    seconds: dict[str, float] = trainer.__dict__.setdefault(
        "_genft_seconds", {"wall": 0.0, "processor": 0.0}
    )
    return seconds
