"""Each remedy for fairseq on today's Python, torch and numpy, on its own."""

import importlib
import math
import sys
import types
from argparse import Namespace

import numpy as np
import pytest
import torch
from fairseq.data import (
    bucket_pad_length_dataset,
    data_utils,
    language_pair_dataset,
    token_block_dataset,
)
from fairseq.dataclass.configs import FairseqConfig
from fairseq.distributed import utils as distributed_utils
from fairseq.models import distributed_fairseq_model
from omegaconf import OmegaConf
from refusals import refuses

import genft_fairseq
from genft_fairseq.patches import compatibility
from genft_fairseq.patches.compatibility import ModuleView


def test_a_module_view_replaces_some_names():
    view = ModuleView(math, pi=3)
    assert view.pi == 3
    assert view.sqrt is math.sqrt
    assert view.__name__ == "math"
    assert isinstance(view, types.ModuleType)
    assert math.pi > 3.1  # the module itself is as it was
    view.tau = 6
    assert math.tau > 6.2
    with refuses("sine", error=AttributeError):
        view.sine  # noqa: B018


def test_a_module_view_sees_what_its_module_becomes():
    base = types.ModuleType("base")
    view = ModuleView(base, replaced=1)
    base.later = 2
    base.replaced = 3
    assert (view.later, view.replaced) == (2, 1)


@pytest.mark.parametrize("module", [token_block_dataset, language_pair_dataset])
def test_numpy_compat_is_back_in_two_modules(module):
    assert module.np.compat.long(7) == 7
    assert module.np.compat.long is np.int64
    assert module.np.array is np.array


def test_numpy_itself_is_untouched():
    assert np is sys.modules["numpy"]
    assert not isinstance(np, ModuleView)
    assert not hasattr(np, "compat")
    assert data_utils.np is np


def test_buckets_worked_by_hand():
    # Ten sizes, four buckets: percentiles 25, 50, 75, 100 of nine gaps, rounded down to an element:
    # places 2.25, 4.5, 6.75 and 9 -> the elements at 2, 4, 6 and 9.
    sizes = np.array([30, 1, 9, 2, 8, 3, 7, 4, 6, 5])  # sorted: 1 .. 9, 30
    assert data_utils.get_buckets(sizes, 4).tolist() == [3, 5, 7, 30]
    # Buckets that coincide are one.
    assert data_utils.get_buckets(np.array([4, 4, 4, 9]), 3).tolist() == [4, 9]
    assert bucket_pad_length_dataset.get_buckets is data_utils.get_buckets


SIZES = np.array([3, 5, 7, 9, 9, 9, 2, 3, 4, 5, 6])


def batches(indices, **settings):
    settings = {"max_sentences": 8, "required_batch_size_multiple": 8, **settings}
    found = data_utils.batch_by_size(indices, num_tokens_fn=lambda i: int(SIZES[i]), **settings)
    return [[int(i) for i in batch] for batch in found]


AS_GIVEN = [np.arange(11), list(range(11)), range(11)]


@pytest.mark.parametrize("indices", AS_GIVEN, ids=["array", "list", "range"])
@pytest.mark.parametrize("vector", [None, SIZES], ids=["function", "vector"])
def test_the_last_batch_is_kept(indices, vector):
    """11 sentences in batches of 8: the last 3 count too, in their order."""
    want = [[*range(8)], [8, 9, 10]]
    assert batches(indices, num_tokens_vec=vector) == want


def test_the_last_batch_of_a_generator_is_kept():
    assert batches(i for i in range(11)) == [[*range(8)], [8, 9, 10]]


def test_the_order_of_indices_is_kept():
    order = np.argsort(SIZES, kind="stable")
    found = batches(order, max_tokens=40, max_sentences=None)
    assert [i for batch in found for i in batch] == order.tolist()
    assert len(found) > 1


def test_nothing_is_kept_twice():
    assert batches(range(8)) == [[*range(8)]]
    assert batches(range(11), required_batch_size_multiple=1, max_sentences=4) == [
        *([0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10])
    ]
    # Fewer sentences than the multiple: fairseq drops them all.
    assert batches(range(3)) == [[0, 1, 2]]


@pytest.mark.parametrize("nothing", [np.array([], dtype=np.int64), [], iter(())])
def test_no_indices_give_no_batches(nothing):
    assert batches(nothing) == []


def test_fixed_shapes_are_fairseqs_own():
    """They fill shapes out of order and drop nothing."""
    shapes = [(2, 4), (4, 5), (2, 10)]
    found = batches(np.argsort(SIZES, kind="stable"), fixed_shapes=shapes)
    assert sorted(i for batch in found for i in batch) == list(range(11))
    for batch in found:
        assert any(len(batch) <= rows and max(SIZES[batch]) <= length for rows, length in shapes)


PATCHED = [
    (distributed_utils, "call_main"),
    (distributed_utils, "all_gather_list"),
    (distributed_fairseq_model, "DistributedDataParallel"),
    (data_utils, "batch_by_size"),
    (data_utils, "get_buckets"),
    (token_block_dataset, "np"),
    (sys, "excepthook"),
]


def test_applying_and_importing_again_changes_nothing():
    """What ``--user-dir`` does in every worker; a remedy on top of itself would pile up."""
    before = [getattr(module, name) for module, name in PATCHED]
    compatibility.apply()
    assert importlib.import_module("genft_fairseq") is genft_fairseq
    importlib.reload(genft_fairseq)
    after = [getattr(module, name) for module, name in PATCHED]
    assert all(one is other for one, other in zip(before, after, strict=True))
    assert genft_fairseq.fairseq_error is None


def test_user_dir_imports_the_package_again():
    """By its path, as the commands do; registering a criterion twice would be an error."""
    from fairseq.utils import import_user_module

    path = genft_fairseq.__path__[0]
    before = distributed_utils.call_main
    import_user_module(Namespace(user_dir=path))
    import_user_module(Namespace(user_dir=path))
    assert distributed_utils.call_main is before
    assert sys.modules["genft_fairseq"] is genft_fairseq


def test_ddp_names_no_device_on_the_cpu(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        distributed_fairseq_model, "DistributedDataParallel", lambda **given: seen.update(given)
    )
    compatibility._allow_ddp_on_cpu()
    module = torch.nn.Linear(1, 1)
    distributed_fairseq_model.DistributedDataParallel(
        module=module, device_ids=[0], output_device=0, broadcast_buffers=False
    )
    assert seen == {
        **{"module": module, "device_ids": None, "output_device": None},
        "broadcast_buffers": False,
    }
    module.to("meta")  # stands for any device that is not the CPU
    distributed_fairseq_model.DistributedDataParallel(module, device_ids=[0], output_device=0)
    assert (seen["device_ids"], seen["output_device"]) == ([0], 0)


class Launches:
    """Records how ``call_main`` starts a run, in place of starting one."""

    def __init__(self, monkeypatch):
        self.calls = []
        for name in (*compatibility.TORCHRUN_VARIABLES, *SLURM):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        record = self.recorder
        monkeypatch.setattr(distributed_utils, "call_main", record("original"))
        monkeypatch.setattr(distributed_utils, "distributed_main", record("distributed_main"))
        monkeypatch.setattr(torch.multiprocessing, "spawn", record("spawn"))
        compatibility._launch_on_cpu()  # around the recorder; undone with it

    def recorder(self, name):
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))

    def start(self, *, cpu=True, tpu=False, **settings):
        """Call ``call_main``; return the configuration and the only call it made."""
        cfg = OmegaConf.structured(FairseqConfig)
        cfg.common.cpu, cfg.common.tpu = cpu, tpu
        for name, value in {"distributed_world_size": 1, **settings}.items():
            cfg.distributed_training[name] = value
        distributed_utils.call_main(cfg, main, extra=5)
        (call,) = self.calls
        return cfg, *call


def main(cfg):
    """What the processes would run."""


@pytest.fixture
def launches(monkeypatch):
    return Launches(monkeypatch)


def test_one_cpu_process_is_fairseqs_own_business(launches):
    cfg, how, args, kwargs = launches.start()
    assert how == "original"
    assert args == (cfg, main)
    assert kwargs == {"extra": 5}


def test_two_cpu_processes_are_spawned(launches):
    cfg, how, args, kwargs = launches.start(distributed_world_size=2)
    assert how == "spawn"
    assert args == ()
    assert kwargs["fn"] is distributed_utils.distributed_main
    assert (kwargs["nprocs"], kwargs["join"]) == (2, True)
    assert kwargs["args"] == (main, cfg, {"extra": 5, "start_rank": 0})
    settings = cfg.distributed_training
    assert settings.distributed_backend == "gloo"
    assert settings.distributed_rank is None  # start_rank + its number, in each process
    host, port = settings.distributed_init_method.rsplit(":", 1)
    assert host == "tcp://localhost"
    assert 1024 <= int(port) < 65536


def test_a_given_meeting_point_is_kept(launches):
    cfg, how, _, kwargs = launches.start(
        distributed_world_size=3, distributed_init_method="tcp://localhost:4321"
    )
    assert how == "spawn"
    assert kwargs["nprocs"] == 3
    assert cfg.distributed_training.distributed_init_method == "tcp://localhost:4321"


def test_two_processes_without_a_gpu_need_no_cpu_flag(launches):
    _, how, _, _ = launches.start(cpu=False, distributed_world_size=2)
    assert how == "spawn"


def as_torchrun(monkeypatch, rank, world):
    variables = {"MASTER_ADDR": "localhost", "MASTER_PORT": 29400}
    for name, value in {**variables, "WORLD_SIZE": world, "RANK": rank}.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize("world", [1, 3])
def test_torchrun_starts_no_further_process(world, launches, monkeypatch):
    as_torchrun(monkeypatch, rank=world - 1, world=world)
    cfg, how, args, kwargs = launches.start()
    assert (how, kwargs) == ("distributed_main", {})
    assert args == (0, main, cfg, {"extra": 5})
    settings = cfg.distributed_training
    assert settings.distributed_init_method == "env://"
    assert settings.distributed_no_spawn
    assert settings.distributed_backend == "gloo"
    assert (settings.distributed_rank, settings.distributed_world_size) == (world - 1, world)


SLURM = {
    "SLURM_JOB_NODELIST": "node[1-2]",
    "SLURM_NNODES": 2,
    "SLURM_NTASKS": 6,
    "SLURM_NTASKS_PER_NODE": 3,
    "SLURM_PROCID": 4,
    "SLURM_LOCALID": 1,
    "SLURM_NODEID": 1,
}


def as_srun(monkeypatch, folder, **variables):
    """What srun leaves in the environment, and the one command of Slurm that fairseq asks."""
    scontrol = folder / "scontrol"
    scontrol.write_text(
        '#!/bin/sh\n[ "$*" = "show hostnames node[1-2]" ] && printf "node1\\nnode2\\n"\n'
    )
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    for name, value in {**SLURM, **variables}.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize("per_node", [3, 1])
def test_srun_starts_no_further_process(per_node, launches, monkeypatch, tmp_path):
    """Each of its tasks is one process, and they meet on the first node."""
    one_each = {"SLURM_NTASKS": 2, "SLURM_NTASKS_PER_NODE": 1, "SLURM_PROCID": 1}
    as_srun(monkeypatch, tmp_path, **(one_each if per_node == 1 else {}))
    cfg, how, _, kwargs = launches.start(distributed_port=29500)
    assert (how, kwargs) == ("distributed_main", {})
    settings = cfg.distributed_training
    assert settings.distributed_init_method == "tcp://node1:29500"
    assert settings.distributed_no_spawn
    assert settings.distributed_backend == "gloo"
    found = (settings.distributed_rank, settings.distributed_world_size)
    assert found == ((4, 6) if per_node == 3 else (1, 2))


def test_a_run_inside_a_job_of_slurm_is_its_own(launches, monkeypatch, tmp_path):
    """Without ``--distributed-port`` nobody asked for the other tasks."""
    as_srun(monkeypatch, tmp_path)
    _, how, _, _ = launches.start()
    assert how == "original"


def test_srun_on_gpus_as_the_readme_says(monkeypatch, tmp_path):
    """fairseq's own reading of the same variables, one task for each of three GPUs of a node."""
    as_srun(monkeypatch, tmp_path)
    for name in compatibility.TORCHRUN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    settings = OmegaConf.structured(FairseqConfig).distributed_training
    settings.distributed_world_size, settings.distributed_port = 6, 29500
    distributed_utils.infer_init_method(settings)
    assert settings.distributed_init_method == "tcp://node1:29500"
    assert (settings.distributed_rank, settings.device_id) == (4, 1)
    assert settings.distributed_no_spawn


@pytest.mark.parametrize(
    ("backend", "processes", "refused"),
    [("fully_sharded", 1, True), ("slowmo", 2, True), ("slowmo", 1, False), ("no_c10d", 2, False)],
)
def test_backends_that_need_a_gpu(backend, processes, refused, launches):
    given = {"ddp_backend": backend, "distributed_world_size": processes}
    if not refused:
        launches.start(**given)
        return
    with refuses("--ddp-backend", backend):
        launches.start(**given)


def test_checkpoints_that_nothing_could_resume_from(launches):
    cfg = OmegaConf.structured(FairseqConfig)
    cfg.checkpoint.write_checkpoints_asynchronously = True
    with refuses("--write-checkpoints-asynchronously"):
        distributed_utils.call_main(cfg, main)


def test_a_launch_by_hand_keeps_its_rank(launches, monkeypatch):
    """``--distributed-no-spawn`` with an address: the flags win over torchrun's variables."""
    as_torchrun(monkeypatch, rank=0, world=8)
    cfg, how, _, _ = launches.start(
        distributed_world_size=2,
        distributed_rank=1,
        distributed_no_spawn=True,
        distributed_init_method="tcp://localhost:4321",
    )
    settings = cfg.distributed_training
    assert how == "distributed_main"
    assert (settings.distributed_rank, settings.distributed_world_size) == (1, 2)
    assert settings.distributed_init_method == "tcp://localhost:4321"


@pytest.mark.parametrize("torchrun", [False, True])
def test_gpus_are_fairseqs_own_business(torchrun, launches, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    if torchrun:
        as_torchrun(monkeypatch, rank=1, world=2)
    cfg, how, args, kwargs = launches.start(cpu=False, distributed_world_size=2)
    assert how == "original"
    assert (args, kwargs) == ((cfg, main), {"extra": 5})
    assert cfg.distributed_training.distributed_backend == "nccl"
    assert cfg.distributed_training.distributed_init_method is None


def test_cpu_processes_beside_a_gpu(launches, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    _, how, _, kwargs = launches.start(cpu=True, distributed_world_size=2)
    assert (how, kwargs["nprocs"]) == ("spawn", 2)


def test_tpus_are_fairseqs_own_business(launches):
    _, how, _, _ = launches.start(cpu=False, tpu=True, distributed_world_size=8)
    assert how == "original"
