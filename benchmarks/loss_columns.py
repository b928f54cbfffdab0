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
from torch import Tensor

from genft_fairseq.criterions.scalegrad import ScaleGradCriterion, ScaleGradCriterionConfig
from genft_fairseq.criterions.unlikelihood import UnlikelihoodCriterion, UnlikelihoodCriterionConfig

GAMMA = 0.2
SMOOTHING = 0.1
REFERENCE = Path(__file__).parent.parent / "tests" / "reference.py"

# Logits (B, T, V) and target (B, T) to the loss, a sum in nats.
Loss = Callable[[Tensor, Tensor], Tensor]


class LogitsDecoder(FairseqDecoder):
    """A decoder whose output is its input, read as logits."""

    def forward(self, src_tokens: Tensor, **_: Any) -> tuple[Tensor, dict[str, Any]]:
        """Return the logits (B, T, V) as a decoder returns its output."""
        return src_tokens, {}


def build_loss(name: str) -> Loss:
    """Build the loss of that name, one of ``loss_tables.LOSSES``."""
    if name == "dense_masks":
        dense = _reference().scalegrad_dense_masks
        return lambda logits, target: dense(logits, target, GAMMA)

    criterion = _criterion(name)
    model = FairseqLanguageModel(LogitsDecoder(Dictionary()))

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        sample = {
            "net_input": {"src_tokens": logits},
            "target": target,
            "ntokens": target.numel(),
        }
        return criterion(model, sample)[0]

    return loss


def make_inputs(
    shape: tuple[int, int, int], dtype: torch.dtype, device: str
) -> tuple[Tensor, Tensor]:
    """Draw normal logits, and targets whose frequency falls with their rank as that of words does.

    Filling the logits in place leaves no temporary behind that would hide part of a loss's peak.

    Returns:
        logits (B, T, V), which require a gradient, and target (B, T), without padding.
    """
    B, T, V = shape
    generator = torch.Generator(device).manual_seed(0)
    logits = torch.empty(shape, dtype=dtype, device=device).normal_(generator=generator)
    # The rank is log-uniform, which is Zipf's law with exponent 1; special symbols are left out.
    specials = Dictionary().nspecial
    uniform = torch.rand(B, T, generator=generator, device=device, dtype=torch.float64)
    target = specials - 1 + ((V - specials) ** uniform).floor().long()
    return logits.requires_grad_(), target


def forward_backward(loss: Loss, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the loss (nats) and its gradient with respect to the logits."""
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    return value.detach(), gradient


def _criterion(name: str) -> FairseqCriterion:
    kind: Any
    config: Any
    if name == "cross_entropy":
        kind, config = CrossEntropyCriterion, CrossEntropyCriterionConfig()
    elif name == "label_smoothed_cross_entropy":
        kind = LabelSmoothedCrossEntropyCriterion
        config = LabelSmoothedCrossEntropyCriterionConfig(label_smoothing=SMOOTHING)
    elif name == "scalegrad":
        kind, config = ScaleGradCriterion, ScaleGradCriterionConfig(gamma=GAMMA)
    elif name == "scalegrad_smoothed":
        kind = ScaleGradCriterion
        config = ScaleGradCriterionConfig(gamma=GAMMA, label_smoothing=SMOOTHING)
    elif name == "unlikelihood":
        kind, config = UnlikelihoodCriterion, UnlikelihoodCriterionConfig(unlikelihood_alpha=1.0)
    else:
        raise ValueError(f"no loss is called {name}")
    config.sentence_avg = False  # fairseq fills it in from another part of its configuration
    return kind.build_criterion(config, SimpleNamespace(target_dictionary=Dictionary()))


def _reference() -> Any:
    """Load the tests' slow implementations, which are no package."""
    spec = importlib.util.spec_from_file_location("reference", REFERENCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
