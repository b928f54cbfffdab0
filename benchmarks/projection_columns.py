"""Output projection and loss together: from a decoder's features to the loss, and back.

fairseq's criterions and ours are driven through the same stub model, whose decoder has fairseq's
output layer and nothing below it: it reads features.  Without ``--loss-chunk-size`` the decoder
makes logits of them, with it the loss does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.data import Dictionary
from fairseq.models import FairseqIncrementalDecoder, FairseqLanguageModel
from fairseq.models.transformer import TransformerDecoderBase
from loss_columns import build_criterion, criterion_loss, dense_masks, make_target
from loss_comparison import NoResultError
from loss_measurement import Inputs, Loss, Shape, Workload
from torch import Tensor, nn

# Losses of one value, however they are computed.
EQUAL = {
    "scalegrad_chunked_256": "scalegrad",
    "scalegrad_chunked_512": "scalegrad",
    "scalegrad_chunked_1024": "scalegrad",
    "likelihood_chunked_512": "cross_entropy",
}
# In half precision a logit is rounded, by products that add up in another order.
TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-3, "float16": 1e-3}  # relative


class FeaturesDecoder(TransformerDecoderBase):
    """fairseq's output layer on top of what the decoder is given."""

    def __init__(self) -> None:
        # Of the Transformer only the output layer is wanted.
        FairseqIncrementalDecoder.__init__(self, Dictionary())
        self.adaptive_softmax = None
        self.output_projection = nn.Linear(1, 1, bias=False)  # its matrix comes with the features

    def forward(self, src_tokens: Tensor, **_: Any) -> tuple[Tensor, dict[str, Any]]:
        """Return the logits of features (B, T, D) as a decoder returns its output."""
        return self.output_layer(src_tokens), {}


def build_loss(name: str) -> Loss:
    """Build the loss of that name: features, matrix and target to nats.

    The names are those of ``projection_tables.PROJECTIONS``.
    """
    if name == "dense_masks":
        dense = dense_masks()
        return lambda features, weight, target: dense(F.linear(features, weight), target)
    criterion = build_criterion(name)
    decoder = FeaturesDecoder()
    model = FairseqLanguageModel(decoder)

    def loss(features: Tensor, weight: nn.Parameter, target: Tensor) -> Tensor:
        decoder.output_projection.weight = weight
        return criterion_loss(criterion, model, features, target)

    return loss


def make_inputs(shape: Shape, dtype: torch.dtype, device: str) -> Inputs:
    """Draw features and a matrix whose logits are about normal, and targets.

    Returns:
        features (B, T, D) and the matrix (V, D), which require a gradient, and target (B, T),
        without padding.
    """
    B, T, D, V = shape
    generator = torch.Generator(device).manual_seed(0)
    # Filled in place: nothing is left behind that would hide part of a loss's peak.
    features = torch.empty(B, T, D, dtype=dtype, device=device).normal_(generator=generator)
    weight = nn.Parameter(torch.empty(V, D, dtype=dtype, device=device))
    with torch.no_grad():
        weight.normal_(std=D**-0.5, generator=generator)
    return features.requires_grad_(), weight, make_target((B, T, V), generator)


def require_agreement(points: Sequence[Mapping[str, Any]], dtype: str) -> None:
    """Refuse results in which losses differ that are one loss computed in several ways.

    Args:
        points: what ``loss_comparison.compare_at`` returned at each shape.
        dtype: of the features.

    Raises:
        NoResultError: they differ.
    """
    for point in points:
        found = {
            name: metrics["loss_nats"]
            for name, metrics in point["losses"].items()
            if "loss_nats" in metrics
        }
        for name, other in EQUAL.items():
            if name not in found or other not in found:
                continue
            if not abs(found[name] - found[other]) <= TOLERANCE[dtype] * abs(found[other]):
                raise NoResultError(
                    f"{name} should equal {other}, but at {point['shape']} they are "
                    f"{found[name]} and {found[other]} nats"
                )


PROJECTED = Workload(
    build=build_loss,
    make_inputs=make_inputs,
    warm_up_shape=(2, 16, 64, 4096),  # logits of 0.5 MiB and a matrix of 1 MiB in float32
)
