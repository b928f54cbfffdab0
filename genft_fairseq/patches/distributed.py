"""Changes to ``fairseq.distributed``: training in several processes on a CPU."""

import logging
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from fairseq import utils
from fairseq.distributed import utils as distributed_utils
from fairseq.models import distributed_fairseq_model
from omegaconf import open_dict

from genft_fairseq.errors import UserError, told
from genft_fairseq.patches.options import check_run
from genft_fairseq.patches.registry import extends

logger = logging.getLogger(__name__)

TORCHRUN_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK")


@extends(distributed_utils, "call_main", issue=2879)
def call_main(original: Any, cfg: Any, main: Callable[..., Any], **kwargs: Any) -> Any:
    """Settings are checked before any work begins; user errors of any process end in one line.

    ``--cpu --distributed-world-size N``, torchrun and srun start N processes over gloo.  fairseq
    counts CUDA devices to decide how many processes to start: without any it stops with an
    assertion, or starts none and returns as if it had trained.
    """
    check_run(cfg, main)
    return launch(original, cfg, partial(told, main), **kwargs)


def launch(on_gpu: Any, cfg: Any, main: Callable[..., Any], **kwargs: Any) -> Any:
    """Start the processes of a run.

    Args:
        on_gpu: fairseq's own ``call_main``, which starts a single process as well.
        cfg: the configuration, which is completed.
        main: what each process calls.
        kwargs: of ``main``.

    Raises:
        UserError: the settings cannot work on a CPU.
    """
    settings = cfg.distributed_training
    on_cpu = (cfg.common.cpu or not torch.cuda.is_available()) and not cfg.common.tpu
    by_torchrun = all(name in os.environ for name in TORCHRUN_VARIABLES)
    by_hand = settings.distributed_init_method is not None and settings.distributed_no_spawn
    by_slurm = _is_slurm_task(settings) and not by_torchrun
    several = settings.distributed_world_size > 1 or by_torchrun or by_slurm
    _require_what_can_train(cfg, on_cpu, several)
    if not on_cpu or not several:
        return on_gpu(cfg, main, **kwargs)

    with open_dict(cfg):
        settings.distributed_backend = "gloo"
        if by_torchrun and not by_hand:
            settings.distributed_init_method = "env://"
            settings.distributed_no_spawn = True
            settings.distributed_world_size = int(os.environ["WORLD_SIZE"])
            settings.distributed_rank = int(os.environ["RANK"])
        elif by_slurm:
            tasks = int(os.environ["SLURM_NTASKS"])
            settings.distributed_world_size = tasks
            distributed_utils._infer_slurm_init(settings, None)  # finds where to meet
            settings.distributed_world_size = tasks  # one task a node is read as GPUs
            settings.distributed_no_spawn = True
            settings.distributed_rank = int(os.environ["SLURM_PROCID"])
    if settings.distributed_no_spawn:
        return distributed_utils.distributed_main(0, main, cfg, kwargs)

    if settings.distributed_rank > 0:
        raise UserError(
            f"--distributed-rank is {settings.distributed_rank}: CPU processes on several "
            f"machines are started by torchrun"
        )
    with open_dict(cfg):
        if settings.distributed_init_method is None:
            settings.distributed_init_method = f"tcp://localhost:{_free_port()}"
        kwargs["start_rank"] = settings.distributed_rank
        settings.distributed_rank = None  # each process takes its own
    logger.info("training on %d CPU processes", settings.distributed_world_size)
    torch.multiprocessing.spawn(
        fn=distributed_utils.distributed_main,
        args=(main, cfg, kwargs),
        nprocs=settings.distributed_world_size,
        join=True,
    )


def _require_what_can_train(cfg: Any, on_cpu: bool, several: bool) -> None:
    if cfg.checkpoint.write_checkpoints_asynchronously:
        raise UserError(
            "--write-checkpoints-asynchronously leaves no checkpoint to resume from: leave it out"
        )
    backend = str(cfg.distributed_training.ddp_backend)
    if on_cpu and (backend == "fully_sharded" or (several and backend == "slowmo")):
        raise UserError(
            f"--ddp-backend {backend} needs fairscale and GPUs: CPU processes train with "
            "pytorch_ddp or legacy_ddp"
        )


def _is_slurm_task(settings: Any) -> bool:
    """Tell whether srun has started this process as one of several, and was told to by the flags.

    ``--distributed-port`` is how fairseq is told so on GPUs too: without it, a run inside a
    job's allocation is a run of its own.
    """
    variables = ("SLURM_NTASKS", "SLURM_PROCID", "SLURM_NNODES")
    return (
        settings.distributed_port > 0
        and settings.distributed_init_method is None
        and all(name in os.environ for name in variables)
        and int(os.environ["SLURM_NTASKS"]) > 1
    )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@extends(distributed_utils, "all_gather_list", issue=2879)
def all_gather_list(original: Any, data: Any, group: Any = None, max_size: int = 16384) -> Any:
    """fairseq allocates CUDA tensors, whatever the backend is."""
    group = distributed_utils.get_global_group() if group is None else group
    if torch.distributed.get_backend(group) != "gloo":
        return original(data, group, max_size)
    gathered: list[Any] = [None] * distributed_utils.get_world_size(group)
    torch.distributed.all_gather_object(gathered, utils.move_to_cpu(data), group=group)
    return gathered


@extends(distributed_fairseq_model, "DistributedDataParallel", issue=2879)
def ddp_on_any_device(
    original: Any,
    module: torch.nn.Module,
    device_ids: Any = None,
    output_device: Any = None,
    **rest: Any,
) -> Any:
    """``--ddp-backend pytorch_ddp`` names a device, which DDP refuses for modules on the CPU."""
    if all(parameter.device.type == "cpu" for parameter in module.parameters()):
        device_ids = output_device = None
    return original(module=module, device_ids=device_ids, output_device=output_device, **rest)
