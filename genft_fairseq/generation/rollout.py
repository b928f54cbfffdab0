"""Free-running continuation: the model reads its own output, one token at a time."""

from typing import Any

import torch
from torch import Tensor

from genft_fairseq.functional.ngrams import repeating_token_mask
from genft_fairseq.generation.draws import uniform
from genft_fairseq.generation.token_choice import Search, choose_tokens

GREEDY = Search()


@torch.no_grad()
def continue_prefixes(
    model: Any,
    prefix: Tensor,
    length: int,
    padding_idx: int,
    search: Search = GREEDY,
    seed: int = 1,
    sentences: Tensor | None = None,
) -> Tensor:
    """Continue every prefix by ``length`` tokens that the model chooses itself.

    Keys and values of earlier positions are kept in fairseq's incremental state, so that a step
    costs one position.  The end-of-sentence symbol is a token like any other here (a language
    model's text goes on after it); padding is never chosen, because incremental and parallel
    decoding disagree about what follows it.

    The naive formula for greedy search, which reads the whole prefix again at every step::

        for _ in range(length):
            lprobs = model.get_normalized_probs(model(prefix), log_probs=True)[:, -1]
            prefix = torch.cat([prefix, lprobs.argmax(-1, keepdim=True)], 1)

    Args:
        model: a fairseq language model, in the mode (training or evaluation) it shall run in.
        prefix: (B, P), token ids without padding, P at least 1.
        length: how many tokens to add.
        padding_idx: the id of padding.
        search: how a token is chosen.
        seed: of the draws of sampling, each a hash of seed, sentence and position.
        sentences: (B,), what the draws know the rows by; 0, 1, 2, ... if not given. With the ids of
            the whole data set, a text does not depend on the batch that it is generated in.

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
    if sentences is None:
        sentences = torch.arange(B, device=prefix.device)
    tokens = torch.cat([prefix, prefix.new_full((B, length), padding_idx)], dim=1)
    incremental_state: dict[str, Any] = {}
    for position in range(1, P + length):
        net_output = model.decoder(tokens[:, :position], incremental_state=incremental_state)
        if position >= P:
            # Not the logits: a model with an adaptive softmax returns features in their place.
            lprobs = model.get_normalized_probs(net_output, log_probs=True)[:, -1]
            lprobs[:, padding_idx] = -torch.inf
            if search.no_repeat_ngram_size:
                lprobs.masked_fill_(
                    repeating_token_mask(
                        tokens[:, :position], search.no_repeat_ngram_size, lprobs.size(-1)
                    ),
                    -torch.inf,
                )
            draws = uniform(seed, sentences, position) if search.sampling else None
            tokens[:, position] = choose_tokens(lprobs, search, draws)
    return tokens[:, P:]
