"""The losses that are compared: from logits to a loss, the way a training run computes it.

fairseq's criterions and ours are driven through the same stub model, whose forward returns the
logits it is given, so that what is timed is a criterion's whole ``forward``, logging included.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.criterions.cross_entropy import CrossEntropyCriterion, CrossEntropyCriterionConfig
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from fairseq.data import Dictionary
from fairseq.models import FairseqDecoder, FairseqLanguageModel
from loss_measurement import Inputs, Loss, Shape, Workload
from torch import Tensor

from genft_fairseq.criterions.scalegrad import ScaleGradCriterion, ScaleGradCriterionConfig
from genft_fairseq.criterions.unlikelihood import UnlikelihoodCriterion, UnlikelihoodCriterionConfig

GAMMA = 0.2
SMOOTHING = 0.1
REFERENCE = Path(__file__).parent.parent / "tests" / "reference.py"

# What a criterion is built from, by the part of a loss's name before its chunks.
_CRITERIONS: dict[str, tuple[Any, Any, dict[str, float]]] = {
    "cross_entropy": (CrossEntropyCriterion, CrossEntropyCriterionConfig, {}),
    "label_smoothed_cross_entropy": (
        LabelSmoothedCrossEntropyCriterion,
        LabelSmoothedCrossEntropyCriterionConfig,
        {"label_smoothing": SMOOTHING},
    ),
    "scalegrad": (ScaleGradCriterion, ScaleGradCriterionConfig, {"gamma": GAMMA}),
    "scalegrad_smoothed": (
        ScaleGradCriterion,
        ScaleGradCriterionConfig,
        {"gamma": GAMMA, "label_smoothing": SMOOTHING},
    ),
    "likelihood": (ScaleGradCriterion, ScaleGradCriterionConfig, {"gamma": 1.0}),
    "unlikelihood": (
        UnlikelihoodCriterion,
        UnlikelihoodCriterionConfig,
        {"unlikelihood_alpha": 1.0},
    ),
}


class LogitsDecoder(FairseqDecoder):
    """A decoder whose output is its input, read as logits."""

    def forward(self, src_tokens: Tensor, **_: Any) -> tuple[Tensor, dict[str, Any]]:
        """Return the logits (B, T, V) as a decoder returns its output."""
        return src_tokens, {}


def build_loss(name: str) -> Loss:
    """Build the loss of that name, one of ``loss_tables.LOSSES``: logits and target to nats."""
    if name == "dense_masks":
        return dense_masks()
    criterion = build_criterion(name)
    model = FairseqLanguageModel(LogitsDecoder(Dictionary()))
    return lambda logits, target: criterion_loss(criterion, model, logits, target)


def criterion_loss(
    criterion: FairseqCriterion, model: FairseqLanguageModel, given: Tensor, target: Tensor
) -> Tensor:
    """Run a criterion's whole forward on what the stub model is given, (B, T, ...)."""
    sample = {"net_input": {"src_tokens": given}, "target": target, "ntokens": target.numel()}
    return criterion(model, sample)[0]


def build_criterion(name: str) -> FairseqCriterion:
    """Build a criterion; a name may end in ``_chunked_N``, which is ``--loss-chunk-size N``."""
    plain, _, chunk_size = name.partition("_chunked_")
    kind, config_of, settings = _CRITERIONS[plain]
    config = config_of(**settings)
    if chunk_size:
        config.loss_chunk_size = int(chunk_size)
    config.sentence_avg = False  # fairseq fills it in from another part of its configuration
    return kind.build_criterion(config, SimpleNamespace(target_dictionary=Dictionary()))


def dense_masks() -> Callable[[Tensor, Tensor], Tensor]:
    """Return the algorithm of ScaleGrad's authors, from the tests' slow implementations."""
    spec = importlib.util.spec_from_file_location("reference", REFERENCE)  # they are no package
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda logits, target: module.scalegrad_dense_masks(logits, target, GAMMA)


def make_inputs(shape: Shape, dtype: torch.dtype, device: str) -> Inputs:
    """Draw normal logits, and targets.

    Filling the logits in place leaves no temporary behind that would hide part of a loss's peak.

    Returns:
        logits (B, T, V), which require a gradient, and target (B, T), without padding.
    """
    B, T, V = shape
    generator = torch.Generator(device).manual_seed(0)
    logits = torch.empty(shape, dtype=dtype, device=device).normal_(generator=generator)
    return logits.requires_grad_(), make_target((B, T, V), generator)


def make_target(shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Draw (B, T) targets whose frequency falls with their rank as that of words does."""
    B, T, V = shape
    # The rank is log-uniform, which is Zipf's law with exponent 1; special symbols are left out.
    specials = Dictionary().nspecial
    given = {"generator": generator, "device": generator.device, "dtype": torch.float64}
    uniform = torch.rand(B, T, **given)
    return specials - 1 + ((V - specials) ** uniform).floor().long()


LOGITS = Workload(
    build=build_loss,
    make_inputs=make_inputs,
    warm_up_shape=(2, 16, 4096),  # 0.5 MiB in float32
)
