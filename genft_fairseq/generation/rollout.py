"""Free-running continuation: the model reads its own output, one token at a time."""

from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def continue_greedily(model: Any, prefix: Tensor, length: int, padding_idx: int) -> Tensor:
    """Continue every prefix with the model's most probable token, ``length`` times.

    Keys and values of earlier positions are kept in fairseq's incremental state, so that a step
    costs one position.  The end-of-sentence symbol is a token like any other here (a language
    model's text goes on after it); padding is never chosen, because incremental and parallel
    decoding disagree about what follows it.

    The naive formula, which reads the whole prefix again at every step::

        for _ in range(length):
            lprobs = model.get_normalized_probs(model(prefix), log_probs=True)[:, -1]
            prefix = torch.cat([prefix, lprobs.argmax(-1, keepdim=True)], 1)

    Args:
        model: a fairseq language model, in the mode (training or evaluation) it shall run in.
        prefix: (B, P), token ids without padding, P at least 1.
        length: how many tokens to add.
        padding_idx: the id of padding.

    Returns:
        (B, length), token ids.

    Raises:
        ValueError: an empty prefix, or more positions than the model has.
    """
    B, P = prefix.shape
    if P < 1:
        raise ValueError("a continuation needs a prefix of at least one token")
    # The last token generated is never read.
    if P + length - 1 > model.max_positions():
        raise ValueError(
            f"a prefix of {P} tokens and a continuation of {length} need {P + length - 1} "
            f"positions, but the model has {model.max_positions()}"
        )
    tokens = torch.cat([prefix, prefix.new_full((B, length), padding_idx)], dim=1)
    incremental_state: dict[str, Any] = {}
    for position in range(1, P + length):
        net_output = model.decoder(tokens[:, :position], incremental_state=incremental_state)
        if position >= P:
            # Not the logits: a model with an adaptive softmax returns features in their place.
            lprobs = model.get_normalized_probs(net_output, log_probs=True)[:, -1]
            lprobs[:, padding_idx] = -torch.inf
            tokens[:, position] = lprobs.argmax(dim=-1)
    return tokens[:, P:]
