"""Fusion-in-Decoder's encoder: every (question, passage) pair alone, then all of them in a row."""

from typing import Any

from fairseq.models.transformer import TransformerEncoderBase
from torch import Tensor, nn

from genft_fairseq.models.fused_encoding import EncoderOut, Fusion, reordered


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
        """Say which encoding each hypothesis reads from now on; see fairseq's own."""
        if "rows" in encoder_out:
            return reordered(encoder_out, new_order)
        return super().reorder_encoder_out(encoder_out, new_order)
