"""Attention for models of transformers, in memory that grows linearly with the tokens.

transformers lets a model name the function that computes its attention.  This one serves all
architectures:

- torch's fused kernels (``scaled_dot_product_attention``) where they apply, with the padding of the
  keys as a row of the mask, never as a matrix;
- elsewhere (T5's learned position biases, whose gradient the kernels do not compute; dropout on a
  CPU) a block of queries at a time, whose scores are computed again in the backward pass (Rabe &
  Staats, 2021, *Self-attention Does Not Need O(n^2) Memory*, arXiv:2112.05682);
- keys and values with fewer heads than the queries (grouped-query attention), and with fewer rows:
  the hypotheses of a beam read one copy of their source.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

NAME = "genft"

# Scores held at a time where no kernel applies: 16 MiB of float32.
SCORES_AT_ONCE = 2**22


@dataclass(frozen=True)
class RelativeBias:
    """The relative position bias of T5, which depends on distances: no (T, S) matrix is held.

    Attributes:
        values: (H, T + S - 1), by the distance from a query to a key, the least first.
        queries: T.
    """

    values: Tensor
    queries: int

    def rows(self, begin: int, end: int, keys: int) -> Tensor:
        """Return (H, end - begin, keys), of these queries and the first keys."""
        windows = self.values.unfold(1, keys, 1)  # the last query's first
        return windows[:, self.queries - end : self.queries - begin].flip(1)


def relative_bias(
    self: Any, query_length: int, key_length: int, device: Any = None, past_seen_tokens: int = 0
) -> RelativeBias:
    """Compute the bias of T5's relative positions, in place of ``T5Attention.compute_bias``."""
    weight = self.relative_attention_bias.weight
    first = past_seen_tokens + query_length - 1
    distances = torch.arange(-first, key_length - past_seen_tokens, device=device or weight.device)
    buckets = self._relative_position_bucket(
        distances,
        bidirectional=not self.is_decoder,
        num_buckets=self.relative_attention_num_buckets,
        max_distance=self.relative_attention_max_distance,
    )
    return RelativeBias(self.relative_attention_bias(buckets).t(), query_length)


def register() -> str:
    """Register the attention function with transformers, and return its name."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, attention_of_module)
    AttentionMaskInterface.register(NAME, padding_alone)
    return NAME


def padding_alone(
    *_: Any, mask_function: Any = None, attention_mask: Tensor | None = None, **__: Any
) -> Tensor | None:
    """Return the mask that transformers passes on: (B, S), True where keys are text, or None.

    A decoder's own text stands before its padding, which no position before it reads.
    """
    from transformers.masking_utils import bidirectional_mask_function

    return attention_mask if mask_function is bidirectional_mask_function else None


def attention_of_module(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    position_bias: RelativeBias | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Compute the attention of a module of transformers; see ``attention``."""
    if getattr(module, "without_position_bias", False):
        position_bias = None
    causal = bool(module.is_causal) and query.size(2) > 1
    keep = None if attention_mask is None else attention_mask.to(torch.bool)
    scale = query.size(-1) ** -0.5 if scaling is None else scaling
    found = attention(query, key, value, keep, position_bias, causal, dropout, scale)
    return found.transpose(1, 2), None


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    keep: Tensor | None,
    bias: RelativeBias | None,
    causal: bool,
    dropout: float,
    scale: float,
) -> Tensor:
    """Compute ``softmax(scale * q k + bias) v``.

    Args:
        query: (R, H, T, E).
        key: (B, K, S, E), where K divides H and B divides R: consecutive heads, and rows, share it.
        value: (B, K, S, E).
        keep: (B, S), bool, False where a key is padding; None: none is.
        bias: of H heads, T queries and S keys, added to the scores.
        causal: query t reads the keys up to S - T + t.
        dropout: of the weights.
        scale: of the scores.

    Returns:
        (R, H, T, E).
    """
    R, H, T, _ = query.shape
    B, K, S, _ = key.shape
    if (R != B or H != K) and causal:
        key, value = (_every_head_and_row(x, R, H) for x in (key, value))
        keep = None if keep is None else keep.repeat_interleave(R // B, dim=0)
    elif R != B or H != K:
        # Readers of one key become its queries: (B, r, K, h, T, E) -> (B, K, r * h * T, E).
        folded = query.reshape(B, R // B, K, H // K, T, -1).transpose(1, 2)
        folded = folded.reshape(B, K, -1, folded.size(-1))
        if bias is None:
            found = attention(folded, key, value, keep, None, False, dropout, scale)
        else:
            dense = bias.rows(0, T, S).reshape(K, 1, -1, S)  # of few queries: a step of decoding
            added = dense.expand(K, R // B, -1, S).reshape(K, -1, S)
            found = _blockwise(folded, key, value, keep, added, False, dropout, scale)
        return found.reshape(B, K, R // B, H // K, T, -1).transpose(1, 2).reshape(query.shape)
    if bias is None and not (dropout and query.device.type == "cpu"):
        return _fused(query, key, value, keep, causal, dropout, scale)
    return _blockwise(query, key, value, keep, bias, causal, dropout, scale)


def _every_head_and_row(x: Tensor, rows: int, heads: int) -> Tensor:
    x = x.repeat_interleave(heads // x.size(1), dim=1)
    return x.repeat_interleave(rows // x.size(0), dim=0)


def _fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    keep: Tensor | None,
    causal: bool,
    dropout: float,
    scale: float,
) -> Tensor:
    T, S = query.size(2), key.size(2)
    mask = None if keep is None else keep[:, None, None]  # (B, 1, 1, S)
    if causal and (mask is not None or T != S):
        lower = torch.ones(T, S, dtype=torch.bool, device=query.device).tril(S - T)
        mask, causal = (lower if mask is None else mask & lower), False
    if mask is not None and query.device.type != "cpu":
        # The kernels of a GPU want a row for every query, which costs nothing when expanded.
        mask = mask.expand(query.size(0), query.size(1), T, S)
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=causal, scale=scale
    )


def _blockwise(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    keep: Tensor | None,
    bias: RelativeBias | Tensor | None,
    causal: bool,
    dropout: float,
    scale: float,
) -> Tensor:
    B, H, T, _ = query.shape
    S = key.size(2)
    size = max(1, SCORES_AT_ONCE // max(1, B * H * S))

    def part(begin: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        t = query.size(2)
        end = S - T + begin + t if causal else S  # the keys that these queries may read
        scaled = query if scale == 1 else query * scale
        scores = torch.matmul(scaled, key[:, :, :end].transpose(2, 3))
        # In place: what is large is held once.
        if bias is not None:
            dense = isinstance(bias, Tensor)
            scores += bias if dense else bias.rows(begin, begin + t, end)
        hidden = None if keep is None else ~keep[:, None, None, :end]
        if causal:
            later = torch.ones(t, end, dtype=torch.bool, device=query.device).triu(end - t + 1)
            hidden = later if hidden is None else hidden | later
        if hidden is not None:
            scores.masked_fill_(hidden, -torch.inf)
        dtype = torch.promote_types(scores.dtype, torch.float32)
        weights = torch.softmax(scores, dim=-1, dtype=dtype).to(value)
        if dropout:
            weights = F.dropout(weights, dropout)
        return torch.matmul(weights, value[:, :, :end])

    if size >= T or isinstance(bias, Tensor):
        return part(0, query, key, value)
    found = []
    for begin, queries in zip(range(0, T, size), query.split(size, dim=2), strict=True):
        if torch.is_grad_enabled():
            again = {"use_reentrant": False, "preserve_rng_state": dropout > 0}
            found.append(checkpoint(part, begin, queries, key, value, **again))
        else:
            found.append(part(begin, queries, key, value))
    return torch.cat(found, dim=2)
