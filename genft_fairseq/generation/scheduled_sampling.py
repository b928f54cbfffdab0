"""Scheduled sampling: decoder inputs mixed from gold and the model's own predictions.

T. Mihaylova and A. Martins, ACL SRW 2019, arXiv:1906.07651; the schedules and their sources are in
``functional/token_mixing.py``.
"""

from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from genft_fairseq.functional.selective_log_softmax import selective_log_softmax
from genft_fairseq.functional.token_mixing import (
    GoldSchedule,
    confidence_masks,
    random_target_tokens,
    replaceable_mask,
    shifted_right,
)
from genft_fairseq.generation.decoder_input import DecoderCall, DecoderInput, Replace
from genft_fairseq.generation.decoder_output import DecoderOutput, decoder_output
from genft_fairseq.generation.sampling import Search, choose_tokens
from genft_fairseq.generation.stateless_rng import Purpose, uniform

MIXES = ("argmax", "sample", "expected_embedding")
CONFIDENCES = ("next", "own")


@dataclass(frozen=True)
class Mixing:
    """How inputs are mixed.

    Attributes:
        padding_idx: the id of padding.
        schedule: how probable gold is.
        mix: what replaces gold: the most probable token, a sample, or the embeddings' average
            under the model's distribution.
        passes: how many passes of the decoder come before the one that is trained, each reading
            what the one before wrote.
        search: how a sample is drawn; of an expected embedding, the temperature counts.
        gradient: whether the gradient of an expected embedding goes on through the probabilities
            into the earlier passes; its embeddings have one either way.
        gold_below: schedule *confidence*: gold where its probability is at most this.
        random_above: schedule *confidence*: a random token of the target above this.
        confidence_of: schedule *confidence*: whose probability decides about an input: *next*, of
            the gold token that is predicted after reading it, or *own*, of the gold token that
            stands there, predicted at the position before.
    """

    padding_idx: int
    schedule: GoldSchedule = field(default_factory=GoldSchedule)
    mix: str = "argmax"
    passes: int = 1
    search: Search = field(default_factory=lambda: Search(sampling=True))
    gradient: bool = False
    gold_below: float = 0.9
    random_above: float = 0.95
    confidence_of: str = "next"


def input_replacement(
    mixing: Mixing, sentences: Tensor, update: int, target: Tensor, chunk_size: int = 0
) -> Replace | None:
    """Return the replacement of the decoder's input in an update, for ``replaced_decoder_input``.

    Args:
        mixing: how.
        sentences: (B,), the ids of the rows in the whole data set.
        update: the number of the update.
        target: (B, T), the gold tokens that are predicted.
        chunk_size: number of positions whose logits a pass holds at a time; 0: all.

    Returns:
        the replacement; None: every input is gold, and no pass is added.
    """
    if mixing.schedule.name == "confidence":
        return partial(_replace, mixing, sentences, target, None, chunk_size)
    eps = mixing.schedule.at(update, target.size(1))
    if bool((eps >= 1).all()):
        return None
    return partial(_replace, mixing, sentences, target, eps, chunk_size)


def _replace(
    mixing: Mixing,
    sentences: Tensor,
    target: Tensor,
    eps: Tensor | None,
    chunk_size: int,
    call: DecoderCall,
) -> DecoderInput:
    gold = call.tokens
    replaceable = replaceable_mask(gold, mixing.padding_idx)
    # Of the text, so that padding on the left does not move them.
    positions = (gold.ne(mixing.padding_idx).cumsum(dim=1) - 1).clamp(min=0)  # (B, T)
    given = DecoderInput(gold)
    kept = noise = None
    if eps is not None:
        draws = _draws(sentences, positions, Purpose.GOLD_OR_MODEL)
        kept = (draws < eps.to(gold.device)[positions]) | ~replaceable
    with torch.set_grad_enabled(mixing.gradient and torch.is_grad_enabled()):
        for number in range(mixing.passes):
            with call.reading(given) as forward:
                output, _ = decoder_output(call.model, forward, chunk_size)
            if kept is None:
                # Decided by the pass that read gold, and then kept over the passes.
                kept, noise = _by_confidence(mixing, output, gold, target, replaceable)
            draws = _draws(sentences, positions, Purpose.MIXED_TOKEN, number)
            given = _mixed(mixing, call, output, kept, draws)
            del output
    if noise is not None:
        draws = _draws(sentences, positions, Purpose.RANDOM_TOKEN)
        noisy = random_target_tokens(gold, replaceable, draws)
        kept = kept | noise if given.kept is not None else None
        given = DecoderInput(torch.where(noise, noisy, given.tokens), given.embeddings, kept)
    return given


def _draws(sentences: Tensor, positions: Tensor, *purpose: int) -> Tensor:
    return uniform(torch.initial_seed(), sentences[:, None], positions, *map(int, purpose))


def _by_confidence(
    mixing: Mixing, output: DecoderOutput, gold: Tensor, target: Tensor, replaceable: Tensor
) -> tuple[Tensor, Tensor]:
    """(B, T) where gold is kept, and where a random token stands."""

    def probability(logits: Tensor, token: Tensor) -> Tensor:
        lprobs = selective_log_softmax(logits.detach()[:, None], token[:, None])
        return lprobs.target[:, 0].exp()

    if mixing.confidence_of == "own":
        # The gold token at input t + 1 is what the decoder should have written at t.
        target = torch.cat([gold[:, 1:], gold[:, -1:]], dim=1)
    with torch.no_grad():
        gold_probs = output.each(probability, target)
    if mixing.confidence_of == "own":
        gold_probs = shifted_right(gold_probs, torch.zeros_like(gold_probs))
    keep, noise = confidence_masks(gold_probs, mixing.gold_below, mixing.random_above)
    return keep | ~replaceable, noise & replaceable


def _mixed(
    mixing: Mixing, call: DecoderCall, output: DecoderOutput, kept: Tensor, draws: Tensor
) -> DecoderInput:
    """Gold where it is kept, else what the logits say of the position before."""
    gold = call.tokens
    if mixing.mix == "expected_embedding":
        weight = call.model.decoder.embed_tokens.weight
        through = torch.is_grad_enabled()  # whether the probabilities have a gradient
        with torch.enable_grad():  # of the embeddings, which have one either way
            expected = output.each(partial(_expectation, mixing, weight, through))
            embeddings = shifted_right(expected, torch.zeros_like(expected))
        return DecoderInput(gold, embeddings, kept)

    def choose(logits: Tensor, draws: Tensor) -> Tensor:
        logits = _without_padding(logits, mixing.padding_idx)
        if mixing.mix == "sample":
            return choose_tokens(logits, mixing.search, draws)
        return logits.argmax(dim=-1)

    predicted = output.each(choose, draws)
    return DecoderInput(torch.where(kept, gold, shifted_right(predicted, gold)))


def _expectation(mixing: Mixing, weight: Tensor, through: bool, logits: Tensor) -> Tensor:
    """(n, V) logits and (V, D) embeddings -> (n, D)."""
    logits = _without_padding(logits if through else logits.detach(), mixing.padding_idx)
    if mixing.search.temperature != 1:
        logits = logits / mixing.search.temperature
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return torch.softmax(logits, dim=-1, dtype=dtype).to(weight.dtype) @ weight


def _without_padding(logits: Tensor, padding_idx: int) -> Tensor:
    if logits.requires_grad:
        padding = torch.arange(logits.size(-1), device=logits.device) == padding_idx
        return logits.masked_fill(padding, -torch.inf)
    logits[..., padding_idx] = -torch.inf  # nobody else holds them
    return logits
