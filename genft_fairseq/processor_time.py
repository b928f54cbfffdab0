"""How much processor time updates take, beside fairseq's ``train_wall``.

On a machine that others use as well, the wall clock counts their turns too; two runs can only be
compared by what the processor worked for each.  The sum is a meter that fairseq neither shows nor
forgets: it goes into the checkpoints with the others.
"""

import time
from functools import wraps
from typing import Any

from fairseq.logging import metrics
from fairseq.trainer import Trainer

METER = "_train_processor"  # a name that begins so is not shown


def apply() -> None:
    """Count from now on; a second call changes nothing."""
    if getattr(Trainer.train_step, "genft", False):
        return
    train_step = Trainer.train_step

    @wraps(train_step)
    def counted(self: Trainer, *args: Any, **kwargs: Any) -> Any:
        begun = time.process_time()  # of all threads, but not of the processes that load the data
        try:
            return train_step(self, *args, **kwargs)
        finally:
            metrics.log_scalar_sum(METER, time.process_time() - begun)

    counted.genft = True  # type: ignore[attr-defined]
    Trainer.train_step = counted
