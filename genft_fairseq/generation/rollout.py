"""Free-running continuation: the model reads its own output, one token at a time."""

from typing import Any

import torch
from torch import Tensor

from genft_fairseq.functional.ngrams import forbid_repeated_ngrams_
from genft_fairseq.generation.decoder_input import unreplaced_decoder_input
from genft_fairseq.generation.draws import uniform
from genft_fairseq.generation.model_logits import model_logits
from genft_fairseq.generation.prefix import read_prefix
from genft_fairseq.generation.token_choice import Search, choose_tokens

GREEDY = Search()
# How many rows have ended is asked this often: on a GPU, asking waits for the device.
_STEPS_BETWEEN_CHECKS = 8
# The share of rows going on below which the others are left behind.
_WORTH_SHRINKING = 0.8


@torch.no_grad()
def continue_prefixes(
    model: Any,
    prefix: Tensor,
    length: int,
    padding_idx: int,
    search: Search = GREEDY,
    seed: int = 1,
    sentences: Tensor | None = None,
    *,
    candidates: Tensor | None = None,
    encoder_out: Any = None,
    eos_idx: int | None = None,
    max_lengths: Tensor | None = None,
    min_length: int = 0,
) -> Tensor:
    """Continue every prefix by tokens that the model chooses itself.

    Keys and values of earlier positions are kept in fairseq's incremental state, so that a step
    costs one position, and a Transformer reads the prefix in one pass.  Padding is never chosen,
    because incremental and parallel decoding disagree about what follows it.  Without ``eos_idx``
    the end-of-sentence symbol is a token like any other (a language model's text goes on after it).

    The naive formula for greedy search, which reads the whole prefix again at every step::

        for _ in range(length):
            lprobs = model.get_normalized_probs(model(prefix), log_probs=True)[:, -1]
            prefix = torch.cat([prefix, lprobs.argmax(-1, keepdim=True)], 1)

    Args:
        model: a fairseq model with an incremental decoder, in the mode (training or evaluation) it
            shall run in; a language model, or with ``encoder_out`` an encoder-decoder model.
        prefix: (B, P), token ids without padding, P at least 1.
        length: how many tokens to add, at most.
        padding_idx: the id of padding.
        search: how a token is chosen.
        seed: of the draws of sampling, each a hash of seed, sentence, position and candidate.
        sentences: (B,), what the draws know the rows by; 0, 1, 2, ... if not given. With the ids of
            the whole data set, a text does not depend on the batch that it is generated in.
        candidates: (B,), tells several continuations of one sentence apart; 0 if not given.
        encoder_out: what the encoder returned for the B rows.
        eos_idx: a row ends with this token, and holds padding after it; None: no row ends early.
        max_lengths: (B,), at least 1; a row that is as long ends, without ``eos_idx``.
        min_length: no row ends with ``eos_idx`` before it has this many other tokens; fairseq's
            generator has 1.

    Returns:
        (B, T), token ids; T is the longest row's length, ``length`` if no row may end early.

    Raises:
        ValueError: an empty prefix, or more positions than the model has.
    """
    B, P = prefix.shape
    check_positions(model, P, length)
    if sentences is None:
        sentences = torch.arange(B, device=prefix.device)
    if candidates is None:
        candidates = torch.zeros_like(sentences)
    place = torch.stack([sentences, candidates])  # (2, B)
    whole = torch.cat([prefix, prefix.new_full((B, length), padding_idx)], dim=1)
    may_end = eos_idx is not None or max_lengths is not None
    # Of the rows that go on: which they are, their text, and what the decoder knows of them.
    rows = torch.arange(B, device=prefix.device)
    tokens = whole.clone()
    ended = torch.zeros_like(rows, dtype=torch.bool)
    state = read_prefix(model, prefix[:, :-1], encoder_out)
    for position in range(P, P + length):
        keywords = {} if encoder_out is None else {"encoder_out": encoder_out}
        with unreplaced_decoder_input(model):
            net_output = model.decoder(tokens[:, :position], incremental_state=state, **keywords)
        logits = model_logits(model, net_output)[:, -1]
        logits[:, padding_idx] = -torch.inf
        if eos_idx is not None and position - P < min_length:
            logits[:, eos_idx] = -torch.inf
        forbid_repeated_ngrams_(logits, tokens[:, :position], search.no_repeat_ngram_size)
        draws = uniform(seed, *place[:, rows], position) if search.sampling else None
        chosen = choose_tokens(logits, search, draws)
        tokens[:, position] = torch.where(ended, padding_idx, chosen)
        if eos_idx is not None:
            ended |= chosen == eos_idx
        if max_lengths is not None:
            ended |= max_lengths[rows] <= position - P + 1
        if may_end and (position - P + 1) % _STEPS_BETWEEN_CHECKS == 0:
            going_on = (~ended).nonzero()[:, 0]
            if len(going_on) > _WORTH_SHRINKING * len(rows):
                continue
            whole[rows] = tokens
            if len(going_on) == 0:
                break
            rows, tokens, ended = rows[going_on], tokens[going_on], ended[going_on]
            model.decoder.reorder_incremental_state_scripting(state, going_on)
            if encoder_out is not None:
                encoder_out = rows_of_encoder_out(model, encoder_out, going_on)
    whole[rows] = tokens
    continuation = whole[:, P:]
    if not may_end:
        return continuation
    longest = int(continuation.ne(padding_idx).sum(dim=1).max()) if B else 0
    return continuation[:, :longest]


def rows_of_encoder_out(model: Any, encoder_out: Any, rows: Tensor) -> Any:
    """Return the encodings of some rows, in any order and number."""
    return model.encoder.reorder_encoder_out(_copied(encoder_out), rows)


def _copied(encoder_out: Any) -> Any:
    """Another container of the same tensors: some of fairseq's encoders reorder in place."""
    if isinstance(encoder_out, dict):
        return {name: _copied(value) for name, value in encoder_out.items()}
    return list(encoder_out) if isinstance(encoder_out, list) else encoder_out


def check_positions(model: Any, P: int, length: int) -> None:
    """Raise where a prefix of P tokens and a continuation do not fit into the model."""
    if P < 1:
        raise ValueError("a continuation needs a prefix of at least one token")
    # The last token generated is never read.
    most = model.decoder.max_positions()
    if P + length - 1 > most:
        raise ValueError(
            f"a prefix of {P} tokens and a continuation of {length} need {P + length - 1} "
            f"positions, but the model has {most}"
        )
