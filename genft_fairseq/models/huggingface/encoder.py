"""An encoder of transformers behind fairseq's encoder interface."""

from typing import Any

import torch
from fairseq.models import FairseqEncoder
from torch import Tensor, nn

from genft_fairseq.errors import UserError
from genft_fairseq.models.fid.encoder import EncoderOut, Fusion, reordered

# Given to fairseq as the maximum length of a model that has none.
UNLIMITED = 1_000_000


class HuggingFaceEncoder(FairseqEncoder):
    """Encodes sources, or the passages of a question, with a stack of transformers.

    Args:
        dictionary: of the source.
        stack: the encoder of transformers, numbered as the dictionary.
        project: from its width to the decoder's; None: the widths are equal.
        unused: module that an encoder-decoder does not use, kept for export; None: there is none.
        positions: maximum number of tokens; None: no maximum.
    """

    def __init__(
        self,
        dictionary: Any,
        stack: nn.Module,
        project: nn.Module | None,
        unused: nn.Module | None,
        positions: int | None,
    ):
        super().__init__(dictionary)
        self.stack, self.project, self.unused = stack, project, unused
        self.positions = positions
        self.fusion = Fusion(dictionary.pad())

    @property
    def embed_tokens(self) -> nn.Embedding:
        """The embedding of the source."""
        found: nn.Embedding = self.stack.get_input_embeddings()
        return found

    def forward(
        self, src_tokens: Tensor, src_lengths: Tensor | None = None, **_: Any
    ) -> EncoderOut:
        """Encode sources.

        Args:
            src_tokens: (B, L), or (B, N, L) of passages; see ``Fusion``.
            src_lengths: ignored; padding tells the lengths.

        Returns:
            fairseq's dictionary, padded on the right.

        Raises:
            UserError: more tokens than the model has positions.
        """
        if self.positions is not None and src_tokens.size(-1) > self.positions:
            raise UserError(
                f"a source has {src_tokens.size(-1)} tokens, but the imported model "
                f"{self.positions} positions: cut it with --truncate-source "
                f"--max-source-positions {self.positions}, or prepare the data with shorter texts"
            )
        src_tokens = right_padded(src_tokens, self.fusion.padding_idx)
        if self.fusion.concerns(src_tokens):
            return self.fusion(self._encode, src_tokens)
        if src_tokens.dim() == 3:
            src_tokens = src_tokens[:, 0]
        padding = src_tokens.eq(self.fusion.padding_idx)
        return {
            "encoder_out": [self._encode(src_tokens)],
            "encoder_padding_mask": [padding],
            "src_lengths": [(~padding).sum(dim=1, keepdim=True)],
            "rows": [],
            **{name: [] for name in ("encoder_embedding", "encoder_states", "src_tokens")},
        }

    def _encode(self, tokens: Tensor) -> Tensor:
        """(B, L) -> (L, B, D)."""
        keep = tokens.ne(self.fusion.padding_idx)
        x = self.stack(input_ids=tokens, attention_mask=keep).last_hidden_state
        if self.project is not None:
            x = self.project(x)
        encoded: Tensor = x.transpose(0, 1)
        return encoded

    def reorder_encoder_out(self, encoder_out: EncoderOut, new_order: Tensor) -> EncoderOut:
        """Set which encoding each hypothesis reads from now on; see ``reordered``."""
        return reordered(encoder_out, new_order)

    def max_positions(self) -> int:
        """Return the maximum length of a source in tokens."""
        return UNLIMITED if self.positions is None else self.positions


def right_padded(tokens: Tensor, padding_idx: int) -> Tensor:
    """Move padding from the left of each text, (..., L), to its right: positions start at 0."""
    L = tokens.size(-1)
    padding = tokens.eq(padding_idx)
    # A text is padded on one side only.
    before = padding.sum(dim=-1, keepdim=True) * padding[..., :1]
    place = torch.arange(L, device=tokens.device) + before
    return tokens.gather(-1, place % max(L, 1))
