"""What fairseq 0.12 needs on today's Python, torch and numpy.

Each remedy names what it mends and is applied once, when the plugin is imported; spawned workers
import the plugin again, so it reaches them too.  Loading and writing checkpoints is
``safe_loading.py``, and decoding ``fairseq_decoding.py``.
"""

import logging
import os
import socket
import types
from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch
from fairseq.data import (
    bucket_pad_length_dataset,
    data_utils,
    language_pair_dataset,
    token_block_dataset,
)
from fairseq.data.indexed_dataset import IndexedCachedDataset, IndexedDataset, data_file_path
from fairseq.distributed import utils as distributed_utils
from fairseq.models import distributed_fairseq_model
from fairseq.tasks.translation import TranslationTask
from fairseq.trainer import Trainer
from omegaconf import open_dict

from genft_fairseq.errors import UserError

logger = logging.getLogger(__name__)


TORCHRUN_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "RANK")


class ModuleView(types.ModuleType):
    """A module as one other module shall see it: some names replaced, the rest passed through.

    It keeps a remedy inside the fairseq module that needs it, where patching numpy or torch
    themselves would reach every library in the process.
    """

    def __init__(self, base: types.ModuleType, **replaced: Any):
        super().__init__(base.__name__)
        self.__dict__.update(replaced, _base=base)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_base"], name)


def apply() -> None:
    """Apply every remedy; a second call changes nothing."""
    if getattr(distributed_utils.call_main, "genft", False):
        return
    _restore_numpy_compat()
    data_utils.get_buckets = bucket_pad_length_dataset.get_buckets = get_buckets
    _keep_last_batch()
    _require_targets_to_train()
    _read_what_was_not_prefetched()
    _allow_ddp_on_cpu()
    _gather_objects_on_gloo()
    _drop_dummies_beside_real_batches()
    _launch_on_cpu()


def _restore_numpy_compat() -> None:
    """``np.compat.long`` left numpy in 2.0: language-model generation and bucketing use it."""
    for module in (token_block_dataset, language_pair_dataset):
        module.np = ModuleView(np, compat=types.SimpleNamespace(long=np.int64))


def get_buckets(sizes: np.ndarray, num_buckets: int) -> np.ndarray:
    """Return the bucket boundaries of ``--num-batch-buckets``.

    fairseq asks ``np.percentile`` for ``interpolation=``, which numpy renamed to ``method=``.
    """
    return np.unique(np.percentile(sizes, np.linspace(0, 100, num_buckets + 1), method="lower")[1:])


def _keep_last_batch() -> None:
    """fairseq silently drops a last batch that is no multiple of 8 sentences.

    ``--required-batch-size-multiple`` is there to feed tensor cores, but ``batch_by_size`` throws
    away what does not fit, so that validation and ``fairseq-generate`` skip up to a whole batch of
    a test set, and training never sees the same few sentences.
    """
    drop_last = data_utils.batch_by_size

    def batch_by_size(indices: Any, *args: Any, **kwargs: Any) -> list[np.ndarray]:
        if not isinstance(indices, np.ndarray):
            indices = np.fromiter(indices, dtype=np.int64, count=-1)
        if len(indices) == 0:
            return []
        batches = list(drop_last(indices, *args, **kwargs))
        # Batches are consecutive stretches of the indices (unless shapes are fixed, which drops
        # nothing), so what was dropped is the tail.
        kept = sum(map(len, batches))
        return batches if kept == len(indices) else [*batches, indices[kept:]]

    data_utils.batch_by_size = batch_by_size


def _require_targets_to_train() -> None:
    """A set whose target side is missing loads as if it had only a source side.

    That is right for decoding, but training would stop inside the model, and for a validation set
    only after its first epoch.  Commands that decode say so by passing ``task_cfg``.
    """
    load_without_check = TranslationTask.load_dataset

    def load_dataset(self: Any, split: str, *args: Any, **kwargs: Any) -> Any:
        result = load_without_check(self, split, *args, **kwargs)
        training = "task_cfg" not in kwargs
        if training and getattr(self.datasets[split], "tgt", "") is None:
            pair = f"{self.cfg.source_lang}-{self.cfg.target_lang}.{self.cfg.target_lang}"
            raise UserError(
                f"Dataset not found: {split}.{pair} (.idx and .bin) in {self.cfg.data}; training "
                f"needs the target side: is the folder fairseq-preprocess's output, and complete?"
            )
        return result

    TranslationTask.load_dataset = load_dataset


def _read_what_was_not_prefetched() -> None:
    """``--dataset-impl cached`` stopped in training, where the first batch is read by itself.

    And ``lazy`` reads one open file in every worker, each of which moves the place of the others.
    """
    cached = IndexedCachedDataset.__getitem__

    def read(self: Any, i: int) -> torch.Tensor:
        self.check_index(i)
        shape = self.sizes[self.dim_offsets[i] : self.dim_offsets[i + 1]]
        begin = int(self.data_offsets[i]) * self.element_size
        path, count = data_file_path(self.path), int(np.prod(shape))
        item = np.fromfile(path, dtype=self.dtype, count=count, offset=begin).reshape(shape)
        return torch.from_numpy(item).long() - int(self.fix_lua_indexing)

    def read_or_cached(self: Any, i: int) -> torch.Tensor:
        return cached(self, i) if i in self.cache_index else read(self, i)

    IndexedDataset.__getitem__ = read
    IndexedCachedDataset.__getitem__ = read_or_cached


def _allow_ddp_on_cpu() -> None:
    """``--ddp-backend pytorch_ddp`` names a device id, which DDP refuses for modules on the CPU."""
    ddp = distributed_fairseq_model.DistributedDataParallel

    def on_any_device(
        module: torch.nn.Module, device_ids: Any = None, output_device: Any = None, **rest: Any
    ) -> torch.nn.Module:
        if all(parameter.device.type == "cpu" for parameter in module.parameters()):
            device_ids = output_device = None
        return ddp(module=module, device_ids=device_ids, output_device=output_device, **rest)

    distributed_fairseq_model.DistributedDataParallel = on_any_device


def _gather_objects_on_gloo() -> None:
    """``all_gather_list`` allocates CUDA tensors, whatever the backend."""
    gather_on_cuda = distributed_utils.all_gather_list

    def all_gather_list(data: Any, group: Any = None, max_size: int = 16384) -> list[Any]:
        from fairseq import utils

        group = distributed_utils.get_global_group() if group is None else group
        if torch.distributed.get_backend(group) != "gloo":
            return gather_on_cuda(data, group, max_size)
        gathered: list[Any] = [None] * distributed_utils.get_world_size(group)
        torch.distributed.all_gather_object(gathered, utils.move_to_cpu(data), group=group)
        return gathered

    distributed_utils.all_gather_list = all_gather_list


def _drop_dummies_beside_real_batches() -> None:
    """With ``--update-freq`` a process may have a batch left, and a dummy in place of the next.

    fairseq then counts none of its sentences, while their gradient stays.
    """
    step = Trainer.train_step

    @wraps(step)
    def train_step(self: Any, samples: list[Any], *args: Any, **kwargs: Any) -> Any:
        real = [sample for sample in samples if sample]
        return step(self, real or samples[-1:], *args, **kwargs)

    Trainer.train_step = train_step


def _launch_on_cpu() -> None:
    """``--cpu --distributed-world-size N``, torchrun and srun start N processes over gloo.

    fairseq counts CUDA devices to decide how many processes to start: without any it stops with an
    assertion, or starts none and returns as if it had trained.
    """
    launch_on_gpu = distributed_utils.call_main

    def call_main(cfg: Any, main: Callable[..., Any], **kwargs: Any) -> None:
        settings = cfg.distributed_training
        on_cpu = (cfg.common.cpu or not torch.cuda.is_available()) and not cfg.common.tpu
        by_torchrun = all(name in os.environ for name in TORCHRUN_VARIABLES)
        by_hand = settings.distributed_init_method is not None and settings.distributed_no_spawn
        by_slurm = _is_slurm_task(settings) and not by_torchrun
        several = settings.distributed_world_size > 1 or by_torchrun or by_slurm
        _require_what_can_train(cfg, on_cpu, several)
        if not on_cpu or not several:
            return launch_on_gpu(cfg, main, **kwargs)

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

    call_main.genft = True  # type: ignore[attr-defined]
    distributed_utils.call_main = call_main


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
