"""Changes to half precision: ``--fp16`` and ``--amp`` on a CPU, and flags that exclude each other.

On a CPU fairseq asks for CUDA under ``--fp16`` and wherever a loss scale overflows, and switches
``--amp`` off without a word.  That is changed by where the parameters are, so that training on a
GPU is fairseq's own.
"""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from fairseq import trainer
from fairseq.optim.amp_optimizer import AMPOptimizer
from fairseq.optim.fp16_optimizer import _FP16OptimizerMixin
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from genft_fairseq.errors import UserError
from genft_fairseq.patches.registry import ModuleView, extends, replaces

FLAGS = {
    "memory_efficient_fp16": "--memory-efficient-fp16",
    "fp16": "--fp16",
    "memory_efficient_bf16": "--memory-efficient-bf16",
    "bf16": "--bf16",
    "amp": "--amp",
}


def check_precision(common: Any) -> None:
    """Refuse two precisions at once.

    Args:
        common: fairseq's common flags, from the command line or hydra.

    Raises:
        UserError: more than one is given.
    """
    given = [name for name in FLAGS if getattr(common, name, False)]
    # The memory-efficient flags imply the plain ones.
    given = [name for name in given if f"memory_efficient_{name}" not in given]
    if len(given) > 1:
        raise UserError(
            f"{' and '.join(FLAGS[name] for name in given)} exclude each other: "
            f"give one of --fp16, --bf16 and --amp"
        )


def _on_cpu(params: Iterable[Tensor]) -> bool:
    return all(parameter.device.type == "cpu" for parameter in params)


@extends(_FP16OptimizerMixin, "build_fp32_params")
def build_fp32_params(
    original: Any, cls: Any, args: Any, params: list[Tensor], flatten: bool = True
) -> Any:
    """``--fp16`` keeps its float32 parameters in one tensor, filed under the current GPU."""
    if not flatten or not _on_cpu(params):
        return original(cls, args, params, flatten=flatten)
    flat = nn.Parameter(torch.cat([parameter.data.float().view(-1) for parameter in params]))
    flat.grad = torch.zeros_like(flat)
    return {None: flat}  # the index of the CPU, by which the gradients are sought


@extends(AMPOptimizer, "__init__")
def init_with_scaler(
    original: Any, self: Any, cfg: Any, params: Any, *args: Any, **kwargs: Any
) -> None:
    """On a CPU fairseq switches the gradient scaler of ``--amp`` off; torch has one for the CPU."""
    if _on_cpu(params):
        warnings.filterwarnings("ignore", ".*CUDA is not available.*Disabling")
    original(self, cfg, params, *args, **kwargs)
    if _on_cpu(params):
        self._grad_scaler = torch.amp.GradScaler("cpu", init_scale=cfg.common.fp16_init_scale)


@extends(FairseqTask, "train_step")
def train_step_with_autocast(
    original: Any,
    self: Any,
    sample: Any,
    model: Any,
    criterion: Any,
    optimizer: Any,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """On a CPU, ``--amp`` did not cast to float16."""

    def autocast(*inputs: Any) -> Any:
        with torch.autocast("cpu", dtype=torch.float16):
            return criterion(*inputs)

    casts = isinstance(optimizer, AMPOptimizer) and _on_cpu(optimizer.params)
    chosen: Callable[..., Any] = autocast if casts else criterion
    return original(self, sample, model, chosen, optimizer, *args, **kwargs)


@replaces(AMPOptimizer, "step")
def step(self: Any) -> None:
    """fairseq unscales one optimizer and steps with its wrapper, which unscales again.

    On a GPU as well: updates become too small, and with Adam vanish in the end.
    """
    self.scaler.step(self.optimizer)
    self.scaler.update()


class _StaysOnCpu(Tensor):
    def cuda(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.as_subclass(Tensor)


def _tensor(*args: Any, **kwargs: Any) -> Tensor:
    made = torch.tensor(*args, **kwargs)
    return made if torch.cuda.is_available() else made.as_subclass(_StaysOnCpu)


replaces(
    trainer,
    "torch",
    why="After an overflow the trainer moves a zero, its gradient norm, to the GPU.",
)(ModuleView(torch, tensor=_tensor))
