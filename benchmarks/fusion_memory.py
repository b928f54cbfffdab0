"""The peak memory of encoding passages, in inference and in training.

It is measured as ``loss_measurement.py`` measures that of a loss: on a CPU by the kernel's own
count of the largest resident set, in a fresh process for each figure.  What is there before does
not count: the model, the tokens and, in training, the parameters' gradients.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from fusion_models import Size, as_one_source, build_model, build_sample, task_of
from fusion_tables import BASELINE, CONCATENATED
from loss_measurement import Inputs, Shape, Workload, peak_bytes

PASSES = ("inference", "training")
WARM_UP_TOKENS = 4  # of each passage


def encoder_peaks(
    encoder: str, shape: tuple[int, int, int], size: Size, at_once: int, device: str
) -> dict[str, int | None]:
    """Measure both passes of an encoder.

    Args:
        encoder: of ``fusion_tables.ENCODERS``.
        shape: (B, N, L).
        size: of the model.
        at_once: passages at a time, where it encodes in parts.
        device: "cpu" or "cuda".

    Returns:
        bytes by ``PASSES``; None where there is not enough memory.
    """
    positions = shape[1] * shape[2]
    given = (size, positions, at_once if encoder == "in_parts" else 0, device)
    workload = Workload(
        build=partial(build_pass, *given),
        make_inputs=make_tokens,
        # More passages than one part has, or parts would not be warm.
        warm_up_shape=(1, at_once + 1, WARM_UP_TOKENS, size.vocabulary),
        run=run_pass,
    )
    return {
        name: peak_bytes(
            workload, f"{encoder} {name}", (*shape, size.vocabulary), torch.float32, device
        )
        for name in PASSES
    }


def build_pass(
    size: Size, positions: int, at_once: int, device: str, name: str
) -> Callable[..., Any]:
    """Build what encodes tokens (B, N, L), forward, and in training backward as well."""
    encoder, mode = name.split()
    row = CONCATENATED if encoder == CONCATENATED else BASELINE
    # The whole model stays, or what its decoder gave back could be used again unseen.
    model = build_model(row, size, task_of(size), positions, at_once).to(device)
    model.train(mode == "training")

    def encode(tokens: torch.Tensor) -> None:
        sample = {"net_input": {"src_tokens": tokens}}
        given = as_one_source(sample) if row == CONCATENATED else sample
        with torch.set_grad_enabled(model.training):
            found = model.encoder(given["net_input"]["src_tokens"])["encoder_out"][0]
        if model.training:
            found.sum().backward()

    return encode


def make_tokens(shape: Shape, dtype: torch.dtype, device: str) -> Inputs:
    """Draw tokens (B, N, L) of a vocabulary of V, where the shape is (B, N, L, V)."""
    B, N, L, V = shape
    return (build_sample((B, N, L), V, device)["net_input"]["src_tokens"],)


def run_pass(encode: Callable[..., Any], inputs: Inputs) -> None:
    """Encode."""
    encode(*inputs)
