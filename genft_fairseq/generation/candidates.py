"""Candidate translations of each source, by sampling or beam search, and their probabilities."""

from typing import Any

import torch
from fairseq.data import Dictionary
from fairseq.sequence_generator import SequenceGenerator
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from genft_fairseq.errors import UserError
from genft_fairseq.functional.token_loss import Targets, TokenLoss
from genft_fairseq.generation.decoder_input import evaluation_mode, unreplaced_decoder_input
from genft_fairseq.generation.decoder_output import decoder_output
from genft_fairseq.generation.rollout import continue_prefixes, rows_of_encoder_out
from genft_fairseq.generation.sampling import Search
from genft_fairseq.generation.stateless_rng import sentence_ids


@torch.no_grad()
def sample_candidates(
    model: Any,
    sample: dict[str, Any],
    number: int,
    search: Search,
    dictionary: Dictionary,
    max_len_a: float,
    max_len_b: int,
) -> Tensor:
    """Draw translations of every source, in evaluation mode.

    Args:
        model: an encoder-decoder model, or its distributed wrapper.
        sample: a mini-batch of B sentences.
        number: K, candidates of each source.
        search: how a token is drawn.
        dictionary: of the target language.
        max_len_a: a candidate of a source of length x has at most a * x + b tokens.
        max_len_b: see there.

    Returns:
        (B, K, L), token ids, padded on the right; whole candidates end with the end of sentence.
    """
    net_input = sample["net_input"]
    B = net_input["src_tokens"].size(0)
    owners = torch.arange(B, device=net_input["src_tokens"].device).repeat_interleave(number)
    limits = (max_len_a * net_input["src_lengths"] + max_len_b).long()
    with evaluation_mode(model):
        encoder_out = model.encoder(net_input["src_tokens"], src_lengths=net_input["src_lengths"])
        candidates = continue_prefixes(
            model,
            net_input["prev_output_tokens"][owners, :1],
            min(int(limits.max()), model.decoder.max_positions()),
            *(dictionary.pad(), search),
            seed=torch.initial_seed(),
            sentences=sentence_ids(sample)[owners],
            candidates=torch.arange(number, device=owners.device).repeat(B),
            encoder_out=rows_of_encoder_out(model, encoder_out, owners),
            eos_idx=dictionary.eos(),
            max_lengths=limits[owners],
            min_length=1,
        )
    return candidates.view(B, number, -1)


@torch.no_grad()
def beam_candidates(
    model: Any,
    sample: dict[str, Any],
    number: int,
    dictionary: Dictionary,
    max_len_a: float,
    max_len_b: int,
) -> Tensor:
    """Take the best translations of fairseq's own beam search; see ``sample_candidates``.

    fairseq does not count the end of sentence in a * x + b; a text that reaches the limit ends
    there with an end of sentence.
    """
    with evaluation_mode(model):  # the generator's constructor switches it on, and never off
        generator = SequenceGenerator(
            [model], dictionary, beam_size=1, max_len_a=max_len_a, max_len_b=max_len_b
        )
        # Said afterwards: told a beam, the constructor rebuilds BART's attention for good.
        generator.beam_size = min(number, generator.vocab_size - 1)
        try:
            hypotheses = generator.generate([model], sample)
        except UserError:
            # The logits are not finite, and so is the loss, whatever is read: the trainer lowers
            # the loss scale.
            end = torch.tensor([dictionary.eos()])
            hypotheses = [[{"tokens": end}]] * sample["net_input"]["src_tokens"].size(0)
    # A beam may find fewer hypotheses: repeat the best one.
    rows = [
        (found[k] if k < len(found) else found[0])["tokens"]
        for found in hypotheses
        for k in range(number)
    ]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=dictionary.pad())
    return padded.view(len(hypotheses), number, -1).to(sample["target"].device)


def sequence_lprobs(
    model: Any,
    encoder_out: Any,
    first: Tensor,
    texts: Tensor,
    owners: Tensor,
    padding_idx: int,
    chunk_size: int = 0,
    loss_chunk_size: int = 0,
) -> Tensor:
    """Compute log p of whole texts by reading them in parallel, with gradient.

    Args:
        model: an encoder-decoder model, or its distributed wrapper; in the mode it shall run in.
        encoder_out: output of its encoder for B sources.
        first: (B, 1), what the decoder reads first.
        texts: (N, L), token ids, padded on the right.
        owners: (N,), the row of each text's source.
        padding_idx: the id of padding.
        chunk_size: read this many texts at a time, and again in the backward pass, so that the
            activations of one chunk only are held; 0: all at once, without reading twice.
        loss_chunk_size: project this many positions at a time (``functional/linear_loss.py``), so
            that no more logits are held; 0: all of the texts that are read.

    Returns:
        (N,), nats: the sum over the tokens of each text.
    """

    def read(texts: Tensor, owners: Tensor) -> Tensor:
        tokens = torch.cat([first[owners], texts[:, :-1]], dim=1)
        encoded = rows_of_encoder_out(model, encoder_out, owners)
        with unreplaced_decoder_input(model):
            output, _ = decoder_output(
                model, lambda: model.decoder(tokens, encoder_out=encoded), loss_chunk_size
            )
        _, terms = output.loss(Targets(texts, padding_idx), TokenLoss(), per_position=True)
        return -terms.loss.sum(dim=1)

    # Texts of like length together, so that little padding is read.
    lengths, order = texts.ne(padding_idx).sum(dim=1).sort(stable=True)
    size = chunk_size or max(1, len(first))
    found = []
    known = lengths.tolist()  # once: on a GPU, asking waits for the device
    for start in range(0, len(known), size):
        part, longest = order[start : start + size], known[start : start + size][-1]
        given = (texts[part, :longest], owners[part])
        found.append(checkpoint(read, *given, use_reentrant=False) if chunk_size else read(*given))
    return torch.cat(found)[order.argsort()]
