"""The output of a decoder, as losses need it: logits, or features with the output layer.

A loss that projects the features itself, a chunk of positions at a time
(``functional/linear_loss.py``, ``--loss-chunk-size``), needs the features and the output layer.
They come from the model's own forward, whose output layer is replaced meanwhile, so that wrappers
and hooks of the model work as always.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from fairseq.models.lstm import LSTMDecoder
from fairseq.models.transformer import TransformerDecoderBase
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from genft_fairseq.errors import UnsuitableModel
from genft_fairseq.functional.linear_loss import Projection, Wanted, linear_loss, linear_lprobs
from genft_fairseq.functional.selective_log_softmax import (
    SelectedLprobs,
    selective_log_softmax,
)
from genft_fairseq.functional.token_loss import Positions, Targets
from genft_fairseq.generation.decoder_input import reads_plainly, replacements_in_force
from genft_fairseq.generation.model_logits import model_logits, normalises_plainly

logger = logging.getLogger(__name__)

# A tuple of (B, T) tensors, or None, among them ``loss``.
Terms = TypeVar("Terms", bound=Any)

_warned: set[str] = set()


@dataclass(frozen=True)
class DecoderOutput:
    """The output of a decoder at B * T positions.

    Attributes:
        values: (B, T, V) logits, or (B, T, D) features.
        projection: output layer of the features; None: the values are logits.
        chunk_size: of features: number of positions whose logits are held at a time.
    """

    values: Tensor
    projection: Projection | None = None
    chunk_size: int = 0

    @property
    def vocabulary(self) -> int:
        """V, the size of the vocabulary."""
        return self.values.size(-1) if self.projection is None else len(self.projection.weight)

    def after(self, prefix: int) -> "DecoderOutput":
        """Return the output without the first positions."""
        return replace(self, values=self.values[:, prefix:])

    def rows(self, number: int) -> "DecoderOutput":
        """Return the output of the first rows."""
        return replace(self, values=self.values[:number])

    def loss(
        self,
        targets: Targets,
        loss: Callable[[SelectedLprobs, Positions], Terms],
        wanted: Wanted = Wanted(),  # noqa: B008 (it cannot change)
        per_position: bool = False,
    ) -> tuple[Tensor, Terms]:
        """Compute a loss from the log-probabilities of the targets, and of the tokens seen.

        Args:
            targets: of these B * T positions.
            loss: computes the terms of some positions, 0 at padding.
            wanted: other log-probabilities that it reads.
            per_position: give the terms a gradient, too; in chunks this costs a fourth matrix
                product.

        Returns:
            the sum over positions, with its gradient, and the terms, (B, T).
        """
        if self.projection is None:
            at = targets.whole()
            lprobs = selective_log_softmax(self.values, at.target, at.seen, at.seen_mask, *wanted)
            terms = loss(lprobs, at)
            return terms.loss.sum(), terms
        shape = targets.scored.shape
        index = _scored(targets)
        features = self.values.flatten(0, 1)
        if len(index) < len(features):
            features = features[index]
        given = (features, self.projection, targets, index)
        if per_position:
            found = loss(linear_lprobs(*given, self.chunk_size, wanted), targets.at(index))
            total = found.loss.sum()
        else:
            total, found = linear_loss(*given, loss, self.chunk_size, wanted)
        return total, type(found)(*(_in_place(term, index, shape) for term in found))

    def each(self, function: Callable[..., Tensor], *given: Tensor) -> Tensor:
        """Apply a function of logits (n, V), and of (n,) numbers, to all positions.

        Args:
            function: returns (n, ...), one row a position.
            given: (B, T), its other arguments.

        Returns:
            (B, T, ...).
        """
        shape = self.values.shape[:2]
        values, others = self.values.flatten(0, 1), [other.flatten() for other in given]
        if self.projection is None or len(values) == 0:
            return function(self._logits(values), *others).unflatten(0, shape)

        def project(values: Tensor, *others: Tensor) -> Tensor:
            return function(self._logits(values), *others)

        chunks = zip(*(given.split(self.chunk_size) for given in (values, *others)), strict=True)
        if not torch.is_grad_enabled():
            return torch.cat([project(*chunk) for chunk in chunks]).unflatten(0, shape)
        # The logits of a chunk are computed again for its gradient.
        again = {"use_reentrant": False, "preserve_rng_state": False}
        return torch.cat([checkpoint(project, *c, **again) for c in chunks]).unflatten(0, shape)

    def _logits(self, values: Tensor) -> Tensor:
        return values if self.projection is None else F.linear(values, *self.projection)


def decoder_output(
    model: Any, forward: Callable[[], Any], chunk_size: int
) -> tuple[DecoderOutput, Any]:
    """Call a model, or its decoder, for its output.

    Args:
        model: a fairseq model or its distributed wrapper.
        forward: calls it, and returns its output.
        chunk_size: number of positions whose logits a loss holds at a time; 0: all.

    Returns:
        the output, and what ``forward`` returned.

    Raises:
        UnsuitableModel: a chunk size, and parameters that are spread over the processes.
    """
    reason = None
    if chunk_size:
        try:
            projection = output_projection(model)
        except NoProjection as error:
            reason = str(error)
        else:
            with features_only(model, projection):
                net_output = forward()
            return DecoderOutput(net_output[0], projection, chunk_size), net_output
    net_output = forward()
    logits = model_logits(model, net_output)
    if reason is not None and reason not in _warned:
        _warned.add(reason)
        B, T, V = logits.shape
        logger.warning(
            f"--loss-chunk-size {chunk_size} has no effect, because {reason}: the loss holds the "
            f"logits of whole batches, of this one {B} x {T} x {V:,} numbers, "
            f"{logits.numel() * logits.element_size() / 2**20:,.0f} MiB, and their gradient"
        )
    return DecoderOutput(logits), net_output


def _scored(targets: Targets) -> Tensor:
    """(n,): the positions to project: without padding, where leaving it out is free."""
    scored = targets.scored
    if scored.device.type == "cpu":
        return scored.ne(targets.padding_idx).flatten().nonzero()[:, 0]
    # On a GPU, counting them would wait for the device.
    return torch.arange(scored.numel(), device=scored.device)


def _in_place(term: Tensor | None, index: Tensor, shape: torch.Size) -> Tensor | None:
    """(n, 1) -> (B, T), 0 elsewhere."""
    if term is None:
        return None
    whole = term.new_zeros(shape.numel())
    return whole.index_copy(0, index, term[:, 0]).view(shape)


def _of_transformer(decoder: Any) -> nn.Module:
    return decoder.output_projection


def _of_lstm(decoder: Any) -> nn.Module:
    return decoder.embed_tokens if decoder.share_input_output_embed else decoder.fc_out


# Output layers known to be one matrix product, by the method that computes them.
_LAYERS: dict[Any, Callable[[Any], nn.Module]] = {
    TransformerDecoderBase.output_layer: _of_transformer,
    LSTMDecoder.output_layer: _of_lstm,
}


class NoProjection(Exception):
    """A model's output layer is not one matrix product; the message says what it is."""


def output_projection(model: Any) -> Projection:
    """Return the output layer of a model.

    Args:
        model: a fairseq model or its distributed wrapper, which forwards attributes.

    Raises:
        NoProjection: it is more than a matrix and a bias.
        UnsuitableModel: its parameters are spread over the processes.
    """
    if any(kind.__name__ == "FullyShardedDataParallel" for kind in type(model).__mro__):
        raise UnsuitableModel(
            "--loss-chunk-size needs the output layer in one place, which --ddp-backend "
            "fully_sharded does not keep: use pytorch_ddp or legacy_ddp"
        )
    decoder = getattr(model, "decoder", None)
    if decoder is None:
        raise NoProjection(f"{type(model).__name__} has no decoder")
    if getattr(decoder, "adaptive_softmax", None) is not None:
        raise NoProjection("the output layer is an adaptive softmax")
    if not normalises_plainly(model):
        raise NoProjection("the model overrides get_normalized_probs")
    find = _LAYERS.get(getattr(type(decoder), "output_layer", None))
    patched = vars(decoder).get("output_layer")
    if find is None or not (patched is None or isinstance(patched, _FeaturesOfForward)):
        raise NoProjection(f"{type(decoder).__name__} has an output layer of its own")
    layer = find(decoder)
    tied = isinstance(layer, nn.Embedding)
    # A hook before its forward is how torch's older weight normalisation makes its matrix.
    plain = type(layer).forward is nn.Linear.forward and not layer._forward_pre_hooks
    plain = plain and "forward" not in vars(layer)
    if not tied and not plain:
        raise NoProjection(f"the output layer is {type(layer).__name__}, not a matrix alone")
    weight: Any = layer.weight
    return Projection(weight, getattr(layer, "bias", None))


@contextmanager
def features_only(model: Any, projection: Projection) -> Iterator[None]:
    """Let the model's forward return (B, T, D) features where it would return logits.

    What reads the decoder meanwhile (a rollout, a pass of scheduled sampling) gets logits.

    Args:
        model: a fairseq model or its distributed wrapper.
        projection: its output layer.

    Raises:
        UnsuitableModel: its forward changed what the output layer returned (a cap, a mask), which
            it would have done to the features now.
    """
    decoder = model.decoder
    outer = vars(decoder).get("output_layer")  # where a pass inside a forward does the same
    features_of = _FeaturesOfForward(decoder, projection)
    unwrapped = model
    while isinstance(getattr(unwrapped, "module", None), nn.Module):
        unwrapped = unwrapped.module
    # Of the model itself: a distributed wrapper may change it afterwards.
    returned: list[Any] = []
    handle = unwrapped.register_forward_hook(lambda *given: returned.append(given[-1][0]))
    decoder.output_layer = features_of
    try:
        yield
    finally:
        handle.remove()
        del decoder.output_layer
        if outer is not None:
            decoder.output_layer = outer
    if returned and returned[-1] is not features_of.last:
        raise UnsuitableModel(
            f"--loss-chunk-size: {type(unwrapped).__name__} or {type(decoder).__name__} changes "
            "the logits that its output layer returns, which the loss in chunks would not see: "
            "leave the flag out"
        )


class _FeaturesOfForward:
    """Replaces a decoder's output layer."""

    last: Tensor | None = None

    def __init__(self, decoder: Any, projection: Projection):
        self._decoder, self._projection = decoder, projection
        self._logits_of = decoder.output_layer
        self._depth = replacements_in_force(decoder)

    def __call__(self, features: Tensor, *args: Any, **keywords: Any) -> Tensor:
        if reads_plainly(self._decoder, since=self._depth):
            return self._logits_of(features, *args, **keywords)
        self.last = _Carried.apply(features, *self._projection)
        return self.last


class _Carried(torch.autograd.Function):
    """The features, with the output layer's parameters in their graph.

    torch's distributed wrapper looks through the graph of what the forward returns for parameters
    that had no part in it (``--find-unused-parameters``), and declares their gradient ready: the
    one that the loss adds to an untied output matrix later would come twice.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad, None, None
