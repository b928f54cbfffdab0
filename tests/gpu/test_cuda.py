"""A GPU computes what the CPU computes: losses, gradients, rollouts; and waits no more often."""

import copy
import warnings
from typing import Any

import pytest
import torch
from criterions.test_synchronisation import CASES as TEACHER_FORCED_CASES
from criterions.test_synchronisation import FAIRSEQ, TEACHER_FORCED
from criterions.tiny_fairseq import (
    EOS,
    KINDS,
    PAD,
    gradients,
    tiny_criterion,
    tiny_model,
    tiny_sample,
    tiny_task,
)
from torch import Tensor

from genft_fairseq.generation.candidates import beam_candidates, sample_candidates
from genft_fairseq.generation.rollout import continue_prefixes
from genft_fairseq.generation.sampling import Search

TOKEN_LOSSES: dict[str, dict[str, Any]] = {
    "scalegrad": {"label_smoothing": 0.1},
    "unlikelihood": {"label_smoothing": 0.1},
    "first_token_auxiliary": {"gamma": 0.3, "unlikelihood_alpha": 0.7},
}
CRITERIONS: dict[str, dict[str, Any]] = {
    **TOKEN_LOSSES,
    "generative_rollout": {"rollout_rate": 1.0, "rollout_search": "sampling"},
    "sequence_unlikelihood": {
        **{"sequence_rate": 1.0, "sequence_ngram": 1, "sequence_max_len_b": 6},
        **{"sequence_prefix_length": 2, "sequence_completion_length": 4},
    },
    "minimum_risk": {"risk_candidates": 3, "risk_max_len_b": 6, "risk_alpha": 0.5},
}
CASES = [
    (kind, name)
    for kind in KINDS
    for name in CRITERIONS
    if (kind, name) != ("language", "minimum_risk")  # which needs a source
]
HALVES = [torch.float16, torch.bfloat16]
in_chunks = pytest.mark.parametrize("chunk", [0, 3], ids=["", "in-chunks"])


def moved(value: Any, device: str) -> Any:
    if isinstance(value, dict):
        return {key: moved(inner, device) for key, inner in value.items()}
    return value.to(device) if isinstance(value, Tensor) else value


def computed(
    model: Any, kind: str, name: str, device: str, **flags: Any
) -> tuple[Tensor, dict[str, Tensor], dict[str, float]]:
    """The loss, its gradient and what is logged, by a copy of the model, back on the CPU."""
    task = tiny_task(kind)
    model = copy.deepcopy(model).to(device)
    criterion = tiny_criterion(name, task, **flags)
    torch.manual_seed(7)  # on which the draws depend
    loss, _, logged = criterion(model, moved(tiny_sample(task), device))
    assert loss.device.type == device
    found = {key: gradient.cpu() for key, gradient in gradients(loss, model).items()}
    return loss.detach().cpu(), found, {key: float(value) for key, value in logged.items()}


def flat(gradient: dict[str, Tensor]) -> Tensor:
    return torch.cat([part.double().flatten() for part in gradient.values()])


@in_chunks
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_float32_is_that_of_the_cpu(kind: str, name: str, chunk: int, device: str) -> None:
    """Own text included: were one token chosen otherwise, the losses would be others."""
    flags = {**CRITERIONS[name], "loss_chunk_size": chunk, "report_accuracy": True}
    model = tiny_model(tiny_task(kind), torch.float32)
    want = computed(model, kind, name, "cpu", **flags)
    got = computed(model, kind, name, device, **flags)
    torch.testing.assert_close(got[0], want[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got[1], want[1], rtol=1e-4, atol=1e-4)
    assert got[2] == pytest.approx(want[2], rel=1e-4, abs=1e-4)


@in_chunks
@pytest.mark.parametrize("dtype", HALVES, ids=["fp16", "bf16"])
@pytest.mark.parametrize("name", TOKEN_LOSSES)
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_near_float64(
    kind: str, name: str, dtype: torch.dtype, chunk: int, device: str
) -> None:
    """As near as fairseq's own loss comes to it, within a factor.

    Both begin with the same rounded weights.  Every matrix product rounds to half a unit in the
    last place of a type that has few, and that is what both lose.
    """
    model = tiny_model(tiny_task(kind), dtype)
    exact = copy.deepcopy(model).double()

    def lost(of: str, **flags: Any) -> tuple[float, float]:
        want, got = (
            computed(m, kind, of, d, **flags) for m, d in ((exact, "cpu"), (model, device))
        )
        assert all(gradient.dtype == dtype for gradient in got[1].values())
        error = (flat(got[1]) - flat(want[1])).norm() / flat(want[1]).norm()
        return float((got[0].double() / want[0] - 1).abs()), float(error)

    mine = lost(name, **TOKEN_LOSSES[name], loss_chunk_size=chunk)
    theirs = lost(FAIRSEQ, label_smoothing=0.1)
    eps = torch.finfo(dtype).eps
    assert mine[0] <= max(2 * theirs[0], 4 * eps)
    assert mine[1] <= max(2 * theirs[1], 16 * eps)


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES], ids=["fp32", "fp16", "bf16"])
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_chunks_change_nothing(kind: str, name: str, dtype: torch.dtype, device: str) -> None:
    """But for the order in which a matrix product adds."""
    model = tiny_model(tiny_task(kind), dtype)
    whole = computed(model, kind, name, device, **CRITERIONS[name])
    chunks = computed(model, kind, name, device, **CRITERIONS[name], loss_chunk_size=3)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(chunks[0], whole[0], rtol=16 * eps, atol=1e-5, check_dtype=False)
    error = (flat(chunks[1]) - flat(whole[1])).norm() / (1 + flat(whole[1]).norm())
    # 1 - p, of which unlikelihood takes the logarithm, keeps few digits where p is near 1.
    assert error <= (64 if dtype == torch.float32 else 16) * eps


SEARCHES = {
    "greedy": Search(),
    "sampling": Search(sampling=True),
    "top-k": Search(sampling=True, top_k=5, temperature=1.5),
    "top-p": Search(sampling=True, top_p=0.8),
}


@torch.no_grad()
@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
def test_language_models_continue_alike(search: Search, device: str) -> None:
    model = tiny_model(tiny_task("language"), torch.float32).eval()
    prefixes = torch.randint(4, 15, (16, 5))
    want = continue_prefixes(model, prefixes, 20, PAD, search, seed=3)
    got = continue_prefixes(model.to(device), prefixes.to(device), 20, PAD, search, seed=3)
    assert torch.equal(got.cpu(), want)
    assert len({tuple(row) for row in want.tolist()}) > 1


@torch.no_grad()
def test_translations_are_alike(device: str) -> None:
    task = tiny_task("translation")
    model, sample = tiny_model(task, torch.float32).eval(), tiny_sample(task)
    shared = (task.target_dictionary, 1.0, 5)

    def found(model: Any, sample: dict[str, Any]) -> list[Tensor]:
        torch.manual_seed(7)
        beam = beam_candidates(model, sample, 3, *shared)
        return [beam.cpu(), sample_candidates(model, sample, 4, Search(True), *shared).cpu()]

    want = found(model, sample)
    got = found(model.to(device), moved(sample, device))
    for mine, theirs in zip(got, want, strict=True):
        assert torch.equal(mine, theirs)
        assert theirs.eq(EOS).any()


def waits(kind: str, name: str, **flags: Any) -> int:
    """How often an update that reads gold waits, as torch itself counts it."""
    task = tiny_task(kind)
    criterion = tiny_criterion(name, task, label_smoothing=0.1, **flags)
    model, sample = tiny_model(task, torch.float32).cuda(), moved(tiny_sample(task), "cuda")

    def update() -> None:
        loss, _, logging_output = criterion(model, sample)
        loss.backward()
        criterion.reduce_metrics([logging_output])

    update()  # which loads code
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            update()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in caught)


@pytest.mark.parametrize("accuracy", [False, True], ids=["", "report-accuracy"])
@in_chunks
@pytest.mark.parametrize(("kind", "name"), TEACHER_FORCED_CASES)
def test_no_update_waits_more_often_than_fairseqs(
    kind: str, name: str, chunk: int, accuracy: bool, device: str
) -> None:
    """What ``test_synchronisation`` counts where there is no GPU."""
    if device == "cpu":
        pytest.skip("the CPU waits for nothing")
    want = waits(kind, FAIRSEQ, report_accuracy=accuracy)
    flags = {"report_accuracy": accuracy, "loss_chunk_size": chunk}
    assert waits(kind, name, **flags, **TEACHER_FORCED[name]) <= want
