"""Half precision: what its flags lack on a CPU, and which of them exclude each other.

On a CPU fairseq asks for CUDA under ``--fp16`` and wherever a loss scale overflows, and switches
``--amp`` off without a word.  That is mended by where the parameters are, so that training on a GPU
is fairseq's own; but there too it takes ``--bf16`` to mean ``--tpu``, ignores hydra's
``memory_efficient_*`` alone, and divides the gradients of ``--amp`` by the loss scale twice.
"""

import sys
import warnings
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import torch
from fairseq import options, trainer, utils
from fairseq.dataclass import initialize
from fairseq.optim.amp_optimizer import AMPOptimizer
from fairseq.optim.fp16_optimizer import _FP16OptimizerMixin
from fairseq.tasks import FairseqTask
from torch import Tensor, nn

from genft_fairseq.errors import UserError
from genft_fairseq.patches.compatibility import ModuleView

FLAGS = {
    "memory_efficient_fp16": "--memory-efficient-fp16",
    "fp16": "--fp16",
    "memory_efficient_bf16": "--memory-efficient-bf16",
    "bf16": "--bf16",
    "amp": "--amp",
}


def apply() -> None:
    """Apply every remedy; a second call changes nothing."""
    if getattr(options.parse_args_and_arch, "genft", False):
        return
    _check_command_line()
    _check_hydra()
    _flatten_on_cpu()
    _autocast_on_cpu()
    _unscale_once()
    _survive_overflow_without_gpu()
    _explain_least_loss_scale()


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


def _check_command_line() -> None:
    """``--bf16`` implies ``--tpu`` in fairseq: without a TPU it ends in a traceback."""
    parse = options.parse_args_and_arch

    @wraps(parse)
    def parse_args_and_arch(parser: Any, input_args: Any = None, *rest: Any, **kwargs: Any) -> Any:
        try:
            result = parse(parser, input_args, *rest, **kwargs)
        except ValueError:  # about --fp16 together with the --tpu that --bf16 implies
            check_precision(parser.parse_known_args(input_args)[0])
            raise
        args = result[0] if isinstance(result, tuple) else result
        if hasattr(args, "max_update"):  # decoding knows --fp16 alone, and ignores the others
            check_precision(args)
        if getattr(args, "tpu", False) and utils.xm is None:
            if parser.parse_known_args(input_args)[0].tpu:
                raise UserError("--tpu needs torch_xla, which is not installed")
            args.tpu = False
        return result

    parse_args_and_arch.genft = True  # type: ignore[attr-defined]
    options.parse_args_and_arch = parse_args_and_arch


def _check_hydra() -> None:
    """Hydra's configuration passes here first: ``main`` completes it before it writes anything."""
    checked = _checked(initialize.add_defaults)
    initialize.add_defaults = checked
    train: Any = sys.modules.get("fairseq_cli.train")
    if train is not None:  # it has the name of its own already
        train.add_defaults = checked


def _checked(add_defaults: Callable[[Any], None]) -> Callable[[Any], None]:
    @wraps(add_defaults)
    def add_defaults_and_check(cfg: Any) -> None:
        add_defaults(cfg)
        common = cfg.common
        if common.tpu:
            return
        check_precision(common)
        # What the command line implies; alone, they would train in float32.
        common.fp16 = common.fp16 or common.memory_efficient_fp16
        common.bf16 = common.bf16 or common.memory_efficient_bf16

    return add_defaults_and_check


def _on_cpu(params: Iterable[Tensor]) -> bool:
    return all(parameter.device.type == "cpu" for parameter in params)


def _flatten_on_cpu() -> None:
    """``--fp16`` keeps its float32 parameters in one tensor, filed under the current GPU."""
    build_on_gpu = _FP16OptimizerMixin.build_fp32_params.__func__

    def build_fp32_params(cls: Any, args: Any, params: list[Tensor], flatten: bool = True) -> Any:
        if not flatten or not _on_cpu(params):
            return build_on_gpu(cls, args, params, flatten=flatten)
        flat = nn.Parameter(torch.cat([parameter.data.float().view(-1) for parameter in params]))
        flat.grad = torch.zeros_like(flat)
        return {None: flat}  # the index of the CPU, by which the gradients are sought

    _FP16OptimizerMixin.build_fp32_params = classmethod(build_fp32_params)


def _autocast_on_cpu() -> None:
    """``--amp`` is float16 and a gradient scaler, of which torch has one for the CPU, too."""
    init, train_step = AMPOptimizer.__init__, FairseqTask.train_step

    @wraps(init)
    def init_with_scaler(self: Any, cfg: Any, params: Any, *args: Any, **kwargs: Any) -> None:
        if _on_cpu(params):
            warnings.filterwarnings("ignore", ".*CUDA is not available.*Disabling")
        init(self, cfg, params, *args, **kwargs)
        if _on_cpu(params):
            self._grad_scaler = torch.amp.GradScaler("cpu", init_scale=cfg.common.fp16_init_scale)

    @wraps(train_step)
    def train_step_with_autocast(
        self: Any,
        sample: Any,
        model: Any,
        criterion: Any,
        optimizer: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        def autocast(*inputs: Any) -> Any:
            with torch.autocast("cpu", dtype=torch.float16):
                return criterion(*inputs)

        casts = isinstance(optimizer, AMPOptimizer) and _on_cpu(optimizer.params)
        chosen: Callable[..., Any] = autocast if casts else criterion
        return train_step(self, sample, model, chosen, optimizer, *args, **kwargs)

    AMPOptimizer.__init__ = init_with_scaler
    FairseqTask.train_step = train_step_with_autocast


def _unscale_once() -> None:
    """fairseq unscales one optimizer and steps with its wrapper, which unscales once more.

    On a GPU as well: updates are the smaller for it, or with Adam, in the end, nothing.
    """

    def step(self: Any) -> None:
        self.scaler.step(self.optimizer)
        self.scaler.update()

    AMPOptimizer.step = step


class _StaysOnCpu(Tensor):
    def cuda(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.as_subclass(Tensor)


def _survive_overflow_without_gpu() -> None:
    """After an overflow the trainer moves a zero, its gradient norm, to the GPU."""

    def tensor(*args: Any, **kwargs: Any) -> Tensor:
        made = torch.tensor(*args, **kwargs)
        return made if torch.cuda.is_available() else made.as_subclass(_StaysOnCpu)

    trainer.torch = ModuleView(torch, tensor=tensor)


def _explain_least_loss_scale() -> None:
    train_step = trainer.Trainer.train_step

    @wraps(train_step)
    def train_step_with_reason(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return train_step(self, *args, **kwargs)
        except Exception as error:
            # The trainer looks for the cause before it passes the error on; where an encoder
            # returns lists, that search itself ends in a StopIteration.
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, FloatingPointError):
                cause = cause.__context__
            if "inimum loss scale" not in str(cause):
                raise
            raise UserError(
                f"--min-loss-scale {self.cfg.common.min_loss_scale} is reached: the gradients "
                f"overflow at every loss scale above it; lower --lr, set --clip-norm, or train in "
                f"--bf16 or float32"
            ) from error

    trainer.Trainer.train_step = train_step_with_reason
