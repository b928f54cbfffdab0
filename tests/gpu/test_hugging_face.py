"""Imported encoder-decoders on a GPU compute what they compute on the CPU, in every precision."""

import copy
from pathlib import Path

import pytest
import torch
from fairseq.sequence_generator import SequenceGenerator
from models.imported import PAD, Imported, imported
from models.tiny_hugging_face import KINDS
from torch import Tensor

from genft_fairseq.models.huggingface import attention
from genft_fairseq.models.huggingface.model import HuggingFaceModel


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Imported:
    torch.manual_seed(0)
    folder: Path = tmp_path_factory.mktemp(request.param)
    return imported(folder, request.param)


def computed(model: HuggingFaceModel, pair: Imported, device: str) -> tuple[Tensor, Tensor]:
    """The log-probabilities and the gradient of some of them, back on the CPU."""
    model = copy.deepcopy(model).to(device)
    batch = pair.batch()
    logits = model(batch.source.to(device), None, batch.target.to(device))[0]
    assert logits.device.type == device
    lprobs = logits.float().log_softmax(-1)[..., pair.known.to(device)]
    lprobs[..., :5].sum().backward()
    gradients = [p.grad.double().cpu().flatten() for p in model.parameters() if p.grad is not None]
    return lprobs.detach().double().cpu(), torch.cat(gradients)


def test_float32_is_that_of_the_cpu(pair: Imported, device: str) -> None:
    got, want = computed(pair.ours, pair, device), computed(pair.ours, pair, "cpu")
    torch.testing.assert_close(got[0], want[0], rtol=1e-3, atol=1e-3)
    assert float((got[1] - want[1]).norm() / want[1].norm()) < 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_half_precision_is_near_float32(pair: Imported, dtype: torch.dtype, device: str) -> None:
    model = copy.deepcopy(pair.ours).to(dtype)
    got = computed(model, pair, device)[0]
    want = computed(copy.deepcopy(model).float(), pair, "cpu")[0]
    assert got.isfinite().all()
    assert float((got - want).norm() / want.norm()) <= 64 * torch.finfo(dtype).eps


@torch.no_grad()
def test_a_beam_finds_the_same(pair: Imported, device: str) -> None:
    def found(device: str) -> list[list[int]]:
        model = copy.deepcopy(pair.ours).to(device)
        batch = pair.batch()
        source = batch.source.to(device)
        sample = {
            "net_input": {
                "src_tokens": source,
                "src_lengths": source.ne(PAD).sum(1),
                "prev_output_tokens": batch.target.to(device),
            }
        }
        dictionary = model.decoder.dictionary
        generator = SequenceGenerator([model], dictionary, beam_size=3, max_len_b=9).to(device)
        beams = generator.generate([model], sample)
        return [beam[0]["tokens"].tolist() for beam in beams]

    assert found(device) == found("cpu")


@pytest.mark.parametrize("dropout", [0.0, 0.3], ids=["plain", "dropout"])
def test_attention_in_parts_has_its_gradient(
    dropout: float, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linear in the values: their gradient is the weights that the forward pass drew."""
    monkeypatch.setattr(attention, "SCORES_AT_ONCE", 1)
    generator = torch.Generator().manual_seed(1)
    query, key, value = (
        torch.randn(2, 2, 6, 4, generator=generator).to(device).requires_grad_() for _ in range(3)
    )
    values = torch.randn(2, 11, generator=generator).to(device).requires_grad_()
    bias = attention.RelativeBias(values, 6)
    given = {"keep": None, "bias": bias, "causal": True, "dropout": dropout, "scale": 1.0}
    found = attention.attention(query, key, value, **given)
    (gradient,) = torch.autograd.grad(found.sum(), value)
    torch.testing.assert_close((gradient * value).sum(), found.sum(), rtol=1e-4, atol=1e-4)
