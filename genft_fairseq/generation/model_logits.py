"""A model's logits, whatever the model does to normalise them."""

from typing import Any

import torch
from fairseq.models import BaseFairseqModel, FairseqDecoder
from fairseq.models.transformer import TransformerModelBase
from torch import Tensor

# Implementations known to be the log-softmax of the decoder's output.
_PLAIN = {
    BaseFairseqModel.get_normalized_probs,
    TransformerModelBase.get_normalized_probs,
    FairseqDecoder.get_normalized_probs,
}
_PLAIN_SCRIPTABLE = {
    BaseFairseqModel.get_normalized_probs_scriptable,
    FairseqDecoder.get_normalized_probs_scriptable,
}


def normalises_plainly(model: Any) -> bool:
    """Tell whether the model's log-probabilities are the log-softmax of ``net_output[0]``."""
    return _normalises_as_fairseq(model) and _adaptive_softmax(model) is None


def _normalises_as_fairseq(model: Any) -> bool:
    """Tell whether neither the model nor its decoder overrides how fairseq normalises."""
    decoder = getattr(model, "decoder", None)
    return decoder is not None and all(
        getattr(part.get_normalized_probs, "__func__", None) in _PLAIN
        and getattr(part.get_normalized_probs_scriptable, "__func__", None) in _PLAIN_SCRIPTABLE
        for part in (model, decoder)
    )


def _adaptive_softmax(model: Any) -> Any:
    return getattr(getattr(model, "decoder", None), "adaptive_softmax", None)


def model_logits(model: Any, net_output: Any) -> Tensor:
    """Return numbers whose softmax is the model's distribution.

    For nearly every model these are ``net_output[0]``, in the dtype the model computed them in.
    For a model with an output layer of its own (adaptive softmax, a pointer network) they are its
    log-probabilities, which are logits too, since normalising them again changes nothing: exact, at
    the cost of that model's full distribution.

    Args:
        model: a fairseq model or its distributed wrapper, which forwards attributes.
        net_output: what its forward returned.

    Returns:
        (B, T, V).
    """
    if normalises_plainly(model):
        return net_output[0]
    if _normalises_as_fairseq(model):
        return adaptive_lprobs(_adaptive_softmax(model), net_output[0])
    return model.get_normalized_probs(net_output, log_probs=True)


def adaptive_lprobs(adaptive_softmax: Any, features: Tensor) -> Tensor:
    """Compute the full distribution of fairseq's adaptive softmax, with a gradient.

    The head holds the frequent words and one entry for each tail; a word of tail i has the
    log-probability of that entry plus its own within the tail (Grave et al., 2017,
    arXiv:1609.04309).  fairseq's ``get_log_prob`` computes the same in place, which
    autograd refuses.

    Args:
        adaptive_softmax: fairseq's ``AdaptiveSoftmax``.
        features: (B, T, D), the decoder's output.

    Returns:
        (B, T, V), nats, in at least float32.
    """
    shape = features.shape[:2]
    features = features.flatten(0, 1)  # (B*T, D): a tied head accepts nothing else
    features = adaptive_softmax.dropout_module(features)  # as its forward does, in training
    dtype = torch.promote_types(features.dtype, torch.float32)
    head = torch.log_softmax(adaptive_softmax.head(features), dim=-1, dtype=dtype)
    frequent = adaptive_softmax.cutoff[0]
    parts = [head[..., :frequent]]
    for i, tail in enumerate(adaptive_softmax.tail):
        within = torch.log_softmax(tail(features), dim=-1, dtype=dtype)
        parts.append(within + head[..., frequent + i, None])
    return torch.cat(parts, dim=-1).view(*shape, -1)
