"""Fusion-in-Decoder's encoder: passages are encoded one by one, and their vectors concatenated.

Izacard & Grave (2021), *Leveraging Passage Retrieval with Generative Models for Open Domain
Question Answering*, arXiv:2007.01282.  First-K: Hofstätter et al. (2022), *FiD-Light*,
arXiv:2209.14290.

``Fusion`` does it for any encoder; ``FiDEncoder`` is fairseq's Transformer encoder with it.  The
hypotheses of a beam share one encoding: ``rows`` in the encoder's output says which one each
hypothesis reads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from fairseq.models.transformer import TransformerEncoderBase
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

EncoderOut = dict[str, list[Tensor]]

# (M, L) tokens -> (L, M, D).
Encode = Callable[[Tensor], Tensor]


# Other entries of what fairseq's encoder returns, empty in a fused encoding.
_EMPTY = ("encoder_embedding", "encoder_states", "fc_results", "src_tokens")


@dataclass
class Fusion:
    """Encodes passages one by one and concatenates the vectors of each question.

    Attributes:
        padding_idx: the id of padding.
        first_k: vectors kept of each passage; None: all.
        at_once: passages encoded at a time; 0: all.
        left_pad: pad the concatenated vectors on the left; the task decides.
    """

    padding_idx: int
    first_k: int | None = None
    at_once: int = 0
    left_pad: bool = True

    def concerns(self, src_tokens: Tensor) -> bool:
        """Tell whether tokens, (B, L) or (B, N, L), need fusion: several passages, or first-K."""
        several = src_tokens.dim() == 3 and src_tokens.size(1) > 1
        return several or self.first_k is not None

    def __call__(self, encode: Encode, src_tokens: Tensor) -> EncoderOut:
        """Encode B questions with up to N passages each.

        Args:
            encode: encodes passages.
            src_tokens: (B, N, L), pairs of question and passage; a row of padding alone is a
                passage that is not there.  (B, L) is one passage each.

        Returns:
            fairseq's dictionary: ``encoder_out`` holds (S, B, D), ``encoder_padding_mask`` (B, S),
            and ``src_lengths`` (B, 1), where S is the greatest number of vectors that a question
            has.
        """
        if src_tokens.dim() == 2:
            src_tokens = src_tokens[:, None]
        is_there = src_tokens.ne(self.padding_idx).any(dim=2)  # (B, N)
        passages = src_tokens[is_there]  # (M, L)
        owners = is_there.nonzero()[:, 0]
        kept = passages.ne(self.padding_idx)
        if self.first_k is not None:
            kept &= kept.cumsum(dim=1) <= self.first_k
        vectors = self._encoded(encode, passages, kept)
        x, padding_mask, lengths = fused(vectors, kept, owners, len(src_tokens), self.left_pad)
        return {
            "encoder_out": [x],
            "encoder_padding_mask": [padding_mask],
            "src_lengths": [lengths[:, None]],
            "rows": [],
            **{name: [] for name in _EMPTY},
        }

    def _encoded(self, encode: Encode, passages: Tensor, kept: Tensor) -> Tensor:
        """Return the vectors that are kept, (all, D), of (M, L) tokens."""

        def together(tokens: Tensor, wanted: Tensor) -> Tensor:
            return encode(tokens).transpose(0, 1)[wanted]

        if not 0 < self.at_once < len(passages):
            return together(passages, kept)
        found = []
        for tokens, wanted in zip(
            passages.split(self.at_once), kept.split(self.at_once), strict=True
        ):
            used = tokens.ne(self.padding_idx).any(dim=0)  # no longer than the longest of these
            given = (tokens[:, used], wanted[:, used])
            if torch.is_grad_enabled():
                # Their activations are computed again in the backward pass.
                found.append(checkpoint(together, *given, use_reentrant=False))
            else:
                found.append(together(*given))
        return torch.cat(found)


def reordered(encoder_out: EncoderOut, new_order: Tensor) -> EncoderOut:
    """Set which encoding each hypothesis reads from now on, without copying.

    Args:
        encoder_out: of a fused encoding, or this.
        new_order: (R,), positions among the hypotheses before, or among the B questions.
    """
    before = encoder_out["rows"]
    rows = before[0].index_select(0, new_order) if before else new_order
    return {**encoder_out, "rows": [rows]}


def read_rows(encoder_out: EncoderOut) -> EncoderOut:
    """Copy the encodings so that each hypothesis has its own row.

    Args:
        encoder_out: what ``Fusion`` returned, or ``reordered``.

    Returns:
        the same without ``rows``: (S, R, D) and (R, S).
    """
    if not encoder_out.get("rows"):
        return encoder_out
    rows = encoder_out["rows"][0]
    x, mask = encoder_out["encoder_out"][0], encoder_out["encoder_padding_mask"][0]
    return {
        **encoder_out,
        "encoder_out": [x.index_select(1, rows)],
        "encoder_padding_mask": [mask.index_select(0, rows)],
        "rows": [],
    }


def fused(
    vectors: Tensor, kept: Tensor, owners: Tensor, questions: int, left_pad: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Concatenate the vectors of each question's passages, in their order.

    Args:
        vectors: (all, D), those that are kept of M passages.
        kept: (M, L), bool: which of each passage's they are.
        owners: (M,), the question of each passage, in ascending order.
        questions: B.
        left_pad: padding goes before the vectors, not behind them.

    Returns:
        (S, B, D), zero at padding; (B, S), True at padding; (B,), how many each question has.
    """
    owner = owners[kept.nonzero()[:, 0]]  # (all,), ascending
    lengths = torch.zeros(questions, dtype=torch.long, device=kept.device)
    lengths.index_add_(0, owner, torch.ones_like(owner))
    S = int(lengths.max()) if questions else 0
    before = lengths.cumsum(0) - lengths
    place = torch.arange(len(owner), device=owner.device) - before[owner]
    if left_pad:
        place = place + (S - lengths)[owner]
    x = vectors.new_zeros(S, questions, vectors.size(-1)).index_put((place, owner), vectors)
    column = torch.arange(S, device=kept.device)
    rank = S - 1 - column if left_pad else column
    return x, rank[None] >= lengths[:, None], lengths


class FiDEncoder(TransformerEncoderBase):
    """fairseq's Transformer encoder for batches of several passages a question.

    What it returns for one passage is fairseq's own.  The encoding of several is the vectors of
    their tokens in a row, without the padding between them.  It is never copied for the hypotheses
    of a beam: ``rows`` says which encoding each one reads, once there are more of them.

    Args:
        cfg: fairseq's ``TransformerConfig``, with ``first_k`` (vectors kept of each passage; None:
            all) and ``passages_at_once`` (passages encoded at a time; 0: all).
        dictionary: of the source.
        embed_tokens: (V, D).
    """

    def __init__(self, cfg: Any, dictionary: Any, embed_tokens: nn.Embedding):
        super().__init__(cfg, dictionary, embed_tokens)
        self.fusion = Fusion(int(self.padding_idx), cfg.first_k, cfg.passages_at_once)

    def forward(
        self,
        src_tokens: Tensor,
        src_lengths: Tensor | None = None,
        return_all_hiddens: bool = False,
        token_embeddings: Tensor | None = None,
    ) -> EncoderOut:
        """Encode B questions with up to N passages each; see ``Fusion``.

        Args:
            src_tokens: (B, N, L), or (B, L), which is one passage each.
            src_lengths: passed by, as in fairseq's own.
            return_all_hiddens: for one passage only: what the layers return.
            token_embeddings: for one passage only: (B, L, D) in place of the tokens' own.

        Returns:
            fairseq's dictionary.
        """
        if self.fusion.concerns(src_tokens):
            return self.fusion(self._encode, src_tokens)
        if src_tokens.dim() == 3:
            src_tokens = src_tokens[:, 0]
        return super().forward(src_tokens, src_lengths, return_all_hiddens, token_embeddings)

    def _encode(self, passages: Tensor) -> Tensor:
        encoded: Tensor = super().forward(passages)["encoder_out"][0]  # (L, M, D)
        return encoded

    def reorder_encoder_out(self, encoder_out: EncoderOut, new_order: Tensor) -> EncoderOut:
        """Set which encoding each hypothesis reads from now on; see fairseq's own."""
        if "rows" in encoder_out:
            return reordered(encoder_out, new_order)
        return super().reorder_encoder_out(encoder_out, new_order)
