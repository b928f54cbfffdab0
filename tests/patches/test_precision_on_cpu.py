"""Half precision on a CPU: optimizers, autocast, overflow; training on a GPU is not reached."""

import pytest
import torch
from fairseq import trainer
from fairseq.dataclass.configs import FairseqConfig
from fairseq.optim import AMPOptimizer, FP16Optimizer, MemoryEfficientFP16Optimizer
from fairseq.tasks import FairseqTask
from omegaconf import OmegaConf
from refusals import refuses

from genft_fairseq.patches import precision

# Not the CPU, and there without a GPU; it stands for one.
OTHER = torch.device("meta")


@pytest.fixture(autouse=True)
def one_machine(monkeypatch):
    """A machine without a GPU, wherever the tests run."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def config(optimizer="sgd", **common):
    cfg = OmegaConf.structured(FairseqConfig)
    OmegaConf.set_struct(cfg, False)
    cfg.common.update(common)
    own = {"momentum": 0.0, "weight_decay": 0.0} if optimizer == "sgd" else {}
    cfg.optimizer = {"_name": optimizer, "lr": [1.0], **own}
    return cfg


def stepped(optimizer, parameter, gradient=1.0, clip=0.0):
    """One update of a loss whose gradient is the given one, as the trainer makes it."""
    optimizer.set_lr(1.0)
    optimizer.zero_grad()
    optimizer.backward((parameter * gradient).sum().float())
    optimizer.multiply_grads(1.0)
    norm = float(optimizer.clip_grad_norm(clip))
    optimizer.step()
    return norm


BUILDERS = {
    "flat": (FP16Optimizer, torch.float16, {"fp16": True}),
    "not flat": (FP16Optimizer, torch.float16, {"fp16": True, "fp16_no_flatten_grads": True}),
    "bf16": (FP16Optimizer, torch.bfloat16, {"bf16": True}),
    "amp": (AMPOptimizer, torch.float32, {"amp": True}),
}


@pytest.mark.parametrize(("kind", "dtype", "common"), BUILDERS.values(), ids=BUILDERS)
def test_an_update_is_that_of_float32(kind, dtype, common):
    """Plain SGD, lr 1: the parameters move by the gradient, whatever the loss is scaled by."""
    parameters = [torch.nn.Parameter(torch.zeros(size, dtype=dtype)) for size in ((2, 3), (4,))]
    optimizer = kind.build_optimizer(config(**common), parameters)
    optimizer.set_lr(1.0)
    optimizer.zero_grad()
    optimizer.backward((2 * parameters[0]).sum().float() - parameters[1].sum().float())
    optimizer.multiply_grads(0.5)
    norm = optimizer.clip_grad_norm(0.0)
    # Ten numbers: six gradients of 2 and four of -1, halved.
    assert float(norm) == pytest.approx((6 + 4 / 4) ** 0.5, rel=2**-10)
    optimizer.step()
    assert torch.equal(parameters[0], torch.full((2, 3), -1.0, dtype=dtype))
    assert torch.equal(parameters[1], torch.full((4,), 0.5, dtype=dtype))


def test_the_flat_parameters_are_float32():
    parameters = [torch.nn.Parameter(torch.tensor(v, dtype=torch.float16)) for v in ([1.0, 2], [3])]
    built = FP16Optimizer.build_fp32_params(None, parameters)
    (flat,) = built.values()
    assert flat.dtype == flat.grad.dtype == torch.float32
    assert flat.tolist() == [1, 2, 3] and flat.grad.tolist() == [0, 0, 0]
    assert built.keys() == {parameters[0].device.index}


@pytest.mark.parametrize("kind", [FP16Optimizer, MemoryEfficientFP16Optimizer])
def test_a_loss_scale_that_overflows_is_halved(kind):
    """fairseq's own scaler, which on a CPU is reached at last; 2**15 * 4 is not in float16."""
    parameter = torch.nn.Parameter(torch.zeros(2, dtype=torch.float16))
    cfg = config("adam", fp16=True, fp16_init_scale=2**15)
    optimizer = kind.build_optimizer(cfg, [parameter])
    with refuses("16384", error=OverflowError):
        stepped(optimizer, parameter, gradient=4.0)
    assert not parameter.any()
    stepped(optimizer, parameter, gradient=2.0)
    assert parameter.isfinite().all() and parameter.all()


def test_amp_leaves_out_an_update_that_overflows():
    """In float32 the scaled loss may overflow."""
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = AMPOptimizer.build_optimizer(config(amp=True, fp16_init_scale=2**20), [parameter])
    assert stepped(optimizer, parameter, gradient=2.0**110) == float("inf")
    assert not parameter.any()
    assert optimizer.scaler.get_scale() == 2**19
    stepped(optimizer, parameter, gradient=0.5)
    assert parameter.tolist() == [-0.5, -0.5]


def test_amp_computes_in_float16(monkeypatch):
    """``FairseqTask.train_step``: the criterion alone, and not the backward pass."""
    seen = []

    def criterion(model, sample):
        seen.append(model(sample).dtype)
        assert torch.is_autocast_enabled("cpu")
        return model(sample).float().sum(), 1, {}

    model = torch.nn.Linear(2, 2)
    model.set_num_updates = lambda number: None
    sample = torch.ones(1, 2)
    parameters = list(model.parameters())
    scaled = AMPOptimizer.build_optimizer(config(amp=True), parameters)
    backward = scaled.backward
    scaled.backward = lambda loss: (seen.append(torch.is_autocast_enabled("cpu")), backward(loss))
    task = FairseqTask(None)
    loss, size, _ = task.train_step(sample, model, criterion, scaled, update_num=0)
    assert seen == [torch.float16, False]
    assert (loss.dtype, size) == (torch.float32, 1)
    assert parameters[1].grad.tolist() == [128, 128]

    def plain(model, sample):
        assert not torch.is_autocast_enabled("cpu")
        return model(sample).sum(), 1, {}

    float32 = trainer.optim.build_optimizer(config().optimizer, parameters)
    task.train_step(sample, model, plain, float32, update_num=0)


def test_the_trainers_zero_stays_where_it_can(monkeypatch):
    """What follows an overflow: ``torch.tensor(0.0).cuda()``."""
    zero = trainer.torch.tensor(0.0).cuda()
    assert type(zero) is torch.Tensor and zero.device.type == "cpu" and zero == 0
    assert trainer.torch.float16 is torch.float16
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert type(trainer.torch.tensor(0.0)) is torch.Tensor


def test_parameters_elsewhere_are_fairseqs_own_business(monkeypatch):
    calls = []

    def original(*args, **kwargs):
        calls.append((args, kwargs))

    parameter = torch.nn.Parameter(torch.zeros(2, device=OTHER))
    precision.build_fp32_params(original, FP16Optimizer, "args", [parameter])
    optimizer = AMPOptimizer.__new__(AMPOptimizer)
    precision.init_with_scaler(original, optimizer, "cfg", [parameter], "fp32_optimizer")
    assert not hasattr(optimizer, "_grad_scaler")
    monkeypatch.setattr(AMPOptimizer, "params", [parameter])
    precision.train_step_with_autocast(
        original, "task", "sample", "model", len, optimizer, update_num=1
    )
    assert calls == [
        ((FP16Optimizer, "args", [parameter]), {"flatten": True}),
        ((optimizer, "cfg", [parameter], "fp32_optimizer"), {}),
        (("task", "sample", "model", len, optimizer), {"update_num": 1}),
    ]
