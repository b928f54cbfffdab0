"""No criterion makes the processor wait for the device more often than fairseq's own does."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from criterions.tiny_fairseq import KINDS, tiny_criterion, tiny_model, tiny_sample, tiny_task
from fairseq.logging import metrics
from pretended_gpu import CPU, GPU, PretendedGpu
from torch import Tensor

FAIRSEQ = "label_smoothed_cross_entropy"
# Updates that read gold: the others generate, which waits for every token's end at least.
TEACHER_FORCED: dict[str, dict[str, Any]] = {
    "scalegrad": {},
    "unlikelihood": {},
    "first_token_auxiliary": {},
    "generative_rollout": {"rollout_rate": 0.0},
    "sequence_unlikelihood": {"sequence_rate": 0.0, "sequence_prefix_length": 2},
    "minimum_risk": {"risk_weight": 0.0},
}
CASES = [
    (kind, name)
    for kind in KINDS
    for name in TEACHER_FORCED
    if (kind, name) != ("language", "minimum_risk")  # which needs a source
]


def waits(kind: str, name: str, **flags: Any) -> dict[str, Counter[str]]:
    """What waits in each part of an update that reads gold."""
    task = tiny_task(kind)
    criterion = tiny_criterion(name, task, label_smoothing=0.1, **flags)
    gpu = PretendedGpu()
    model, sample = gpu.put(tiny_model(task, torch.float32)), gpu.put(tiny_sample(task))
    found = {}

    def part(of: str) -> None:
        found[of] = gpu.waits.copy()
        gpu.waits.clear()

    with gpu:
        loss, _, logging_output = criterion(model, sample)
        part("forward")
        loss.backward()
        part("backward")
        with metrics.aggregate(new_root=True) as figures:
            criterion.reduce_metrics([logging_output])
            part("reduce_metrics")
            figures.get_smoothed_values()  # as the trainer does in every update
            part("smoothed values")
    assert all(gpu.holds(parameter.grad) for parameter in model.parameters())
    assert gpu.holds(loss)
    return found


@pytest.mark.parametrize("accuracy", [False, True], ids=["", "report-accuracy"])
@pytest.mark.parametrize("chunk", [0, 3], ids=["", "in-chunks"])
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_no_update_waits_more_often_than_fairseqs(
    kind: str, name: str, chunk: int, accuracy: bool
) -> None:
    want = waits(kind, FAIRSEQ, report_accuracy=accuracy)
    flags = {"report_accuracy": accuracy, "loss_chunk_size": chunk}
    got = waits(kind, name, **flags, **TEACHER_FORCED[name])
    for part in ("forward", "backward"):
        assert got[part] <= want[part], part
    parts = ("forward", "backward", "reduce_metrics")
    assert sum(got[part].total() for part in parts) <= sum(want[part].total() for part in parts)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_the_trainer_reads_no_figure_of_ours(kind: str, name: str) -> None:
    """It asks for every figure that is logged without an underscore, in every update."""
    want, got = waits(kind, FAIRSEQ), waits(kind, name, **TEACHER_FORCED[name])
    assert got["smoothed values"] <= want["smoothed values"]


@pytest.mark.parametrize("kind", KINDS)
def test_fairseqs_waits_are_the_models(kind: str) -> None:
    """So that there is something to compare: the model looks for padding, the criterion waits for
    nothing but for the accuracy."""
    found = waits(kind, FAIRSEQ)
    assert found["forward"] and not found["backward"] and not found["reduce_metrics"]
    assert not any("label_smoothed_cross_entropy" in place for place in found["forward"])
    accuracy = waits(kind, FAIRSEQ, report_accuracy=True)["forward"] - found["forward"]
    assert accuracy.total() == 4


def _backward(x: Tensor, gradient: Callable[[Tensor], Tensor]) -> None:
    """Go through a function's own gradient, which must be that of ones."""

    class Same(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return gradient(grad)

    x = x.double().requires_grad_()
    Same.apply(x).sum().backward()
    assert x.grad is not None and x.grad.is_cuda and (x.grad - 1).sum().shape == ()


@pytest.mark.parametrize(
    ("wait", "waiting"),
    [
        (lambda x: x.sum().item(), True),
        (lambda x: bool(x.any()), True),
        (lambda x: int(x.max()), True),
        (lambda x: x.tolist(), True),
        (lambda x: x.cpu(), True),
        (lambda x: x.to("cpu"), True),
        (lambda x: x.to(device=CPU, dtype=torch.int32), True),
        (lambda x: x.nonzero(), True),
        (lambda x: x[x > 1], True),
        (lambda x: torch.equal(x, x), True),
        (lambda x: x.unique(), True),
        (lambda x: x.masked_select(x > 1), True),
        (lambda x: torch.arange(3, device=x.device).sum().item(), True),
        (lambda x: torch.zeros_like(x).sum().item(), True),
        (lambda x: torch.tensor([1, 2]).to(x.device).sum().item(), True),
        (lambda x: torch.tensor([1, 2]).to(x).sum().item(), True),
        (lambda x: x.masked_fill(x > 1, 0)[torch.tensor([0, 1])], False),
        (lambda x: x.new_zeros(3).add_(1).to(torch.float64).to(x.device), False),
        (lambda x: torch.tensor([1, 2]).sum().item(), False),
        (lambda x: torch.ones(2, device="cpu").tolist(), False),
        (lambda x: x.shape[0] + len(x), False),
        (lambda x: _backward(x, lambda gradient: gradient), False),
        (lambda x: _backward(x, lambda gradient: gradient * int(gradient.device == GPU)), False),
        (lambda x: _backward(x, lambda gradient: gradient * gradient[0].item()), True),
        (lambda x: _backward(x, lambda gradient: torch.ones(2, device=gradient.device)), False),
    ],
)
def test_what_waits_is_noticed(wait: Any, waiting: bool) -> None:
    gpu = PretendedGpu()
    x = gpu.put(torch.tensor([1, 2]))
    with gpu:
        assert (x.device, torch.zeros(1).device) == (GPU, CPU)
        assert x.is_cuda and not x.is_cpu and (x + 1).is_cuda
        wait(x)
    assert gpu.waits.total() == int(waiting)
    assert x.device == CPU
