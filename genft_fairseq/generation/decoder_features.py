"""The decoder's features in place of its logits, and the output layer that makes the one the other.

A loss that projects the features itself, some positions at a time (``functional/linear_loss.py``),
needs both.  The features come from the model's own forward, whose output layer is left out for its
duration: every wrapper and hook around the model works as it does otherwise.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from fairseq.models.lstm import LSTMDecoder
from fairseq.models.transformer import TransformerDecoderBase
from torch import Tensor, nn

from genft_fairseq.errors import UnsuitableModel
from genft_fairseq.functional.linear_loss import Projection
from genft_fairseq.generation.decoder_input import reads_plainly, replacements_in_force
from genft_fairseq.generation.model_logits import normalises_plainly


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
    """A model's output layer is something else than one matrix product; the message says what."""


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
    # What a distributed wrapper makes of it afterwards is its own business.
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
    """In place of a decoder's output layer."""

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
