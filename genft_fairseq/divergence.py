"""A run whose gradients are no numbers ends with the name of the layer where they began.

fairseq runs the update again under a detector, which logs the first layers whose output or gradient
is NaN or infinite.  On today's torch its hooks on the gradient end in a StopIteration wherever a
module returns no tensor, as every encoder does, so that the layer is never named.
"""

from functools import wraps
from typing import Any

from fairseq.nan_detector import NanDetector
from fairseq.trainer import Trainer

from genft_fairseq.errors import UserError


def apply() -> None:
    """Mend the detector, and say what it finds; a second call changes nothing."""
    if getattr(NanDetector.add_hooks, "genft", False):
        return
    detect, train_step = NanDetector._detect, Trainer.train_step
    found: list[str] = []

    def add_hooks(self: Any, module: Any) -> None:
        if self.forward:
            self.fhooks.append(module.register_forward_hook(self.fhook_fn))
        # torch follows the gradient of what a module returns; layers return tensors.
        if self.backward and next(module.children(), None) is None:
            self.bhooks.append(module.register_backward_hook(self.bhook_fn))

    def detect_and_keep(self: Any, tensor: Any, name: str, backward: bool) -> str | None:
        line: str | None = detect(self, tensor, name, backward)
        if line is not None:
            kind = line.partition(" ")[0]
            found.append(f"{kind} in the {'gradient' if backward else 'output'} of {name}")
        return line

    @wraps(train_step)
    def train_step_with_layer(self: Any, *args: Any, **kwargs: Any) -> Any:
        found.clear()
        try:
            return train_step(self, *args, **kwargs)
        except FloatingPointError as error:
            # Processes that disagree, and a loss scale at its end, are others' to tell.
            if "loss scale" in str(error) or not (found or "Nan/Inf" in str(error)):
                raise
            first = found[0] if found else "NaN or infinity in the loss"
            rates = ",".join(map(str, self.cfg.optimization.lr))
            raise UserError(
                f"the gradients of update {self.get_num_updates() + 1} are not finite ({first}): "
                f"lower --lr {rates}, set --clip-norm or --warmup-updates, or look for an example "
                "that is empty or very long"
            ) from error

    add_hooks.genft = True  # type: ignore[attr-defined]
    NanDetector.add_hooks, NanDetector._detect = add_hooks, detect_and_keep
    Trainer.train_step = train_step_with_layer
