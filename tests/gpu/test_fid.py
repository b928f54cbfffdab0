"""Fusion-in-Decoder on a GPU computes what it computes on the CPU, with every economy."""

import copy
from typing import Any

import pytest
import torch
from criterions.tiny_fairseq import gradients
from fairseq.sequence_generator import SequenceGenerator
from gpu.test_cuda import moved
from models.tiny_fid import OPTIONS, tiny_model, tiny_sample, tiny_task
from torch import Tensor

with_every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def computed(model: Any, device: str) -> tuple[Tensor, Tensor]:
    """The log-probabilities of gold and the gradient of their sum, back on the CPU."""
    model, sample = copy.deepcopy(model).to(device), moved(tiny_sample(), device)
    logits = model(**sample["net_input"])[0]
    assert logits.device.type == device
    lprobs = logits.float().log_softmax(-1).gather(2, sample["target"][..., None])
    found = gradients(lprobs.sum(), model).values()
    return lprobs.detach().double().cpu(), torch.cat([g.double().cpu().flatten() for g in found])


@with_every_option
def test_float32_is_that_of_the_cpu(options: dict[str, Any], device: str) -> None:
    model = tiny_model(**options).float()
    got, want = computed(model, device), computed(model, "cpu")
    torch.testing.assert_close(got[0], want[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got[1], want[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
@with_every_option
def test_half_precision_is_near_float64(
    options: dict[str, Any], dtype: torch.dtype, device: str
) -> None:
    """As near as plain Fusion-in-Decoder, whose attention is fairseq's own, within a factor."""

    def lost(**flags: Any) -> float:
        model = tiny_model(**flags).to(dtype)
        got, want = computed(model, device)[0], computed(copy.deepcopy(model).double(), "cpu")[0]
        return float((got - want).norm() / want.norm())

    assert lost(**options) <= max(4 * lost(), 16 * torch.finfo(dtype).eps)


@torch.no_grad()
@with_every_option
def test_a_beam_finds_the_same(options: dict[str, Any], device: str) -> None:
    model, sample = tiny_model(**options).float().eval(), tiny_sample()

    def found(model: Any, sample: dict[str, Any]) -> list[list[int]]:
        generator = SequenceGenerator(
            [model], tiny_task().target_dictionary, beam_size=3, max_len_b=9
        )
        beams = generator.generate([model], sample)
        return [hypothesis["tokens"].tolist() for beam in beams for hypothesis in beam[:1]]

    want = found(model, sample)
    assert found(model.to(device), moved(sample, device)) == want
