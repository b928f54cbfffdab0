"""Rollouts: the model continues a prefix, by argmax, sampling or beam search.

``continue_prefixes`` chooses one token at a time, and ``beam_continuations`` keeps several
hypotheses of the same length.  Both start from ``read_prefix``, which reads the prefix in one pass
where the decoder allows it.
"""

from contextlib import ExitStack
from typing import Any

import torch
from fairseq.models.transformer import TransformerDecoderBase
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn

from genft_fairseq.functional.ngrams import forbid_repeated_ngrams_
from genft_fairseq.generation.decoder_input import unreplaced_decoder_input
from genft_fairseq.generation.model_logits import model_logits
from genft_fairseq.generation.sampling import Search, choose_tokens
from genft_fairseq.generation.stateless_rng import uniform

GREEDY = Search()

# Steps between looks at how many rows have ended: on a GPU, each look waits for the device.
_STEPS_BETWEEN_CHECKS = 8
# Ended rows are dropped from the batch where at most this share of the rows goes on.
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
        length: maximum number of tokens to add.
        padding_idx: the id of padding.
        search: how a token is chosen.
        seed: of sampling; a random number is a hash of seed, sentence, position and candidate.
        sentences: (B,), ids of the rows in that hash; 0, 1, 2, ... if not given. With the ids of
            the whole data set, a text does not depend on the batch that it is generated in.
        candidates: (B,), numbers of several continuations of one sentence; 0 if not given.
        encoder_out: output of the encoder for the B rows.
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
    """Return the encodings of these rows, in any order and number."""
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


def read_prefix(model: Any, prefix: Tensor, encoder_out: Any = None) -> dict[str, Any]:
    """Return the decoder's incremental state after a prefix, as if it had been read step by step.

    fairseq decodes one position a call.  A Transformer's state is the keys and values of what it
    has read, and one parallel pass computes those of a whole prefix: its attention modules, given
    the state that the decoder itself keeps back in such a pass, fill it.  What they predict after
    each token is not computed.  Decoders that say so (``reads_several``) read several tokens in an
    incremental step; others (recurrent, convolutional) step through the prefix.

    Args:
        model: a fairseq model with an incremental decoder.
        prefix: (B, P), token ids without padding; P may be 0.
        encoder_out: what the encoder returned for the B rows, if there is one.

    Returns:
        the state, to be given to ``model.decoder`` with the next token.
    """
    state: dict[str, Any] = {}
    keywords = {} if encoder_out is None else {"encoder_out": encoder_out}
    with unreplaced_decoder_input(model):
        if prefix.size(1) and getattr(model.decoder, "reads_several", False):
            model.decoder(prefix, incremental_state=state, features_only=True, **keywords)
        elif prefix.size(1) > 1 and _reads_at_once(model.decoder):
            with _attention_fills(state, model.decoder):
                model.decoder(prefix, features_only=True, **keywords)
        else:
            for position in range(1, prefix.size(1) + 1):
                model.decoder(prefix[:, :position], incremental_state=state, **keywords)
    return state


def _reads_at_once(decoder: nn.Module) -> bool:
    """Tell whether the state is what the attention of every layer keeps, and nothing else."""
    return (
        isinstance(decoder, TransformerDecoderBase)
        and not decoder.cross_self_attention
        # A layer that is dropped in this pass would lack the prefix in the next.
        and not (decoder.training and decoder.decoder_layerdrop)
        and all(isinstance(a, MultiheadAttention) for a in _attention(decoder))
    )


def _attention(decoder: Any) -> list[nn.Module]:
    layers = list(decoder.layers)
    both = [layer.self_attn for layer in layers] + [layer.encoder_attn for layer in layers]
    return [module for module in both if module is not None]


def _attention_fills(state: dict[str, Any], decoder: Any) -> ExitStack:
    def give(module: nn.Module, args: tuple, keywords: dict[str, Any]) -> Any:
        return args, {**keywords, "incremental_state": state}

    hooks = ExitStack()
    for module in _attention(decoder):
        hooks.callback(module.register_forward_pre_hook(give, with_kwargs=True).remove)
    return hooks
