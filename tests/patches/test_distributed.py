"""Several processes on a CPU: how they are started, and what they cannot do."""

import pytest
import torch
from fairseq.dataclass.configs import FairseqConfig
from fairseq.distributed import utils as distributed_utils
from omegaconf import OmegaConf
from refusals import refuses

from genft_fairseq.patches import distributed


def test_ddp_names_no_device_on_the_cpu():
    seen = {}
    module = torch.nn.Linear(1, 1)
    distributed.ddp_on_any_device(
        lambda **given: seen.update(given),
        module=module,
        device_ids=[0],
        output_device=0,
        broadcast_buffers=False,
    )
    assert seen == {
        **{"module": module, "device_ids": None, "output_device": None},
        "broadcast_buffers": False,
    }
    module.to("meta")  # stands for any device that is not the CPU
    distributed.ddp_on_any_device(
        lambda **given: seen.update(given), module, device_ids=[0], output_device=0
    )
    assert (seen["device_ids"], seen["output_device"]) == ([0], 0)


class Launches:
    """Records how a run is started, in place of starting it."""

    def __init__(self, monkeypatch):
        self.calls = []
        for name in (*distributed.TORCHRUN_VARIABLES, *SLURM):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        record = self.recorder
        monkeypatch.setattr(distributed_utils, "distributed_main", record("distributed_main"))
        monkeypatch.setattr(torch.multiprocessing, "spawn", record("spawn"))

    def launch(self, cfg):
        distributed.launch(self.recorder("original"), cfg, main, extra=5)

    def recorder(self, name):
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))

    def start(self, *, cpu=True, tpu=False, **settings):
        """Launch a run; return the configuration and the only call it made."""
        cfg = OmegaConf.structured(FairseqConfig)
        cfg.common.cpu, cfg.common.tpu = cpu, tpu
        for name, value in {"distributed_world_size": 1, **settings}.items():
            cfg.distributed_training[name] = value
        self.launch(cfg)
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
    for name in distributed.TORCHRUN_VARIABLES:
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
        launches.launch(cfg)


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
