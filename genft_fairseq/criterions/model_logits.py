"""A model's logits, whatever the model does to normalise them."""

from typing import Any

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
    decoder = getattr(model, "decoder", None)
    return decoder is not None and (
        getattr(decoder, "adaptive_softmax", None) is None
        and all(
            getattr(part.get_normalized_probs, "__func__", None) in _PLAIN
            and getattr(part.get_normalized_probs_scriptable, "__func__", None) in _PLAIN_SCRIPTABLE
            for part in (model, decoder)
        )
    )


def model_logits(model: Any, net_output: Any) -> Tensor:
    """Return numbers whose softmax is the model's distribution.

    For nearly every model these are ``net_output[0]``, in the dtype the model computed them in.  A
    model with an output layer of its own (adaptive softmax, a pointer network) is asked for its
    log-probabilities instead, which are logits too, since normalising them again changes nothing:
    exact, at the cost of that model's full distribution.

    Args:
        model: a fairseq model or its distributed wrapper, which forwards attributes.
        net_output: what its forward returned.

    Returns:
        (B, T, V).
    """
    if normalises_plainly(model):
        return net_output[0]
    return model.get_normalized_probs(net_output, log_probs=True)
