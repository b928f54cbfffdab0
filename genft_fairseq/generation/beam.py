"""Beam search for continuations that all have the same length."""

from typing import Any

import torch
from torch import Tensor

from genft_fairseq.functional.ngrams import forbid_repeated_ngrams_
from genft_fairseq.generation.decoder_input import unreplaced_decoder_input
from genft_fairseq.generation.model_logits import model_logits
from genft_fairseq.generation.prefix import read_prefix
from genft_fairseq.generation.rollout import check_positions


@torch.no_grad()
def beam_continuations(
    model: Any,
    prefix: Tensor,
    length: int,
    padding_idx: int,
    beam: int,
    no_repeat_ngram_size: int = 0,
) -> Tensor:
    """Continue every prefix by the most probable text that a beam finds.

    For language models, whose text goes on after the end-of-sentence symbol: no hypothesis ends
    early, so that all have ``length`` tokens and need no length penalty.  (fairseq's own generator
    ends at the symbol, and reads prefixes once a beam.)  The prefix is read once, and its keys and
    values are then copied for every hypothesis.  A beam of 1 is greedy search.

    Args:
        model: a fairseq language model, in evaluation mode.
        prefix: (B, P), token ids without padding, P at least 1.
        length: how many tokens to add.
        padding_idx: the id of padding, which is never chosen.
        beam: K, how many hypotheses of each prefix are kept after every token.
        no_repeat_ngram_size: never complete an n-gram of this length that the text (the prefix
            included) already holds, if another token is left; 0 for no such rule.

    Returns:
        (B, length), token ids.

    Raises:
        ValueError: a beam below 1 or as large as the vocabulary, an empty prefix, or more positions
            than the model has.
    """
    if beam < 1:
        raise ValueError(f"a beam holds one hypothesis at least, but is {beam}")
    B, P = prefix.shape
    check_positions(model, P, length)
    rows = torch.arange(B, device=prefix.device)
    state = read_prefix(model, prefix[:, :-1])
    tokens = prefix  # (B*K, T) from the first choice on
    scores = torch.zeros(B, 1, dtype=torch.float32, device=prefix.device)  # (B, K), log p
    for _ in range(length):
        with unreplaced_decoder_input(model):
            net_output = model.decoder(tokens, incremental_state=state)
        logits = model_logits(model, net_output)[:, -1].float()  # (B*K, V)
        lprobs = logits.log_softmax(dim=-1)
        lprobs[:, padding_idx] = -torch.inf
        forbid_repeated_ngrams_(lprobs, tokens, no_repeat_ngram_size)
        V = lprobs.size(-1)
        if beam > V - 1:
            raise ValueError(
                f"a beam of {beam} needs {beam} tokens to choose from, but has {V - 1}"
            )
        scores, chosen = (scores[:, :, None] + lprobs.view(B, -1, V)).flatten(1).topk(beam)
        # (B, K) -> (B*K,): the hypothesis that each one extends, among all.
        kept = (rows[:, None] * (len(tokens) // B) + chosen // V).flatten()
        tokens = torch.cat([tokens[kept], (chosen % V).view(-1, 1)], dim=1)
        model.decoder.reorder_incremental_state_scripting(state, kept)
    best = scores.argmax(dim=1) + rows * beam if length else rows
    return tokens[best, P:]
