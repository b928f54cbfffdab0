"""Grouped-query attention: groups of query heads share keys and values, and so does the cache.

Shazeer (2019, arXiv:1911.02150) lets all heads share one key and value head (multi-query
attention); Ainslie et al. (2023, arXiv:2305.13245) let groups of heads share one, and convert a
trained model by averaging its key and value projections within each group (section 2.1).
"""

import logging
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.modules import MultiheadAttention
from fairseq.modules.quant_noise import quant_noise
from torch import Tensor, nn

from genft_fairseq.errors import UserError

logger = logging.getLogger(__name__)

State = dict[str, dict[str, Tensor | None]]


class GroupedQueryAttention(MultiheadAttention):
    """fairseq's attention with fewer key and value heads than query heads.

    With as many as query heads it is fairseq's own, step by step.  Head h reads the key and value
    head ``h // (num_heads / kv_heads)``.

    Between a beam's hypotheses, which all read the same encoding, the cache of attention to the
    encoder is shared: B encodings serve R = n * B hypotheses, n consecutive ones each.

    Args:
        embed_dim: D, width of queries and output.
        num_heads: H, query heads.
        kv_heads: key and value heads; divides H.
        keywords: fairseq's own; ``kdim`` and ``vdim`` are the width of what is read.

    Raises:
        ValueError: the heads cannot be grouped evenly, or an option of fairseq's that needs as many
            key heads as query heads.
    """

    def __init__(self, embed_dim: int, num_heads: int, kv_heads: int, **keywords: Any):
        super().__init__(embed_dim, num_heads, **keywords)
        if not 1 <= kv_heads <= num_heads or num_heads % kv_heads:
            raise ValueError(f"{num_heads} heads cannot share {kv_heads} key and value heads")
        self.kv_heads = kv_heads
        if kv_heads == num_heads:
            return
        if self.bias_k is not None or self.add_zero_attn or self.use_xformers:
            raise ValueError("grouped heads have no bias_k, no zero attention and no xformers")
        noise = (keywords.get("q_noise", 0.0), keywords.get("qn_block_size", 8))
        has_bias = keywords.get("bias", True)
        for name, width in (("k_proj", self.kdim), ("v_proj", self.vdim)):
            grouped = nn.Linear(width, kv_heads * self.head_dim, bias=has_bias)
            # The rows of what fairseq has initialised, so that each keeps its scale.
            with torch.no_grad():
                grouped.weight.copy_(getattr(self, name).weight[: kv_heads * self.head_dim])
            setattr(self, name, quant_noise(grouped, *noise))

    def forward(
        self,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        key_padding_mask: Tensor | None = None,
        incremental_state: State | None = None,
        need_weights: bool = True,
        static_kv: bool = False,
        attn_mask: Tensor | None = None,
        before_softmax: bool = False,
        need_head_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend, as fairseq's own does; weights are computed where those of each head are wanted.

        Args:
            query: (T, R, D).
            key: (S, B, K), what is read; ignored where it is cached, or where the queries read
                themselves.  R is a multiple of B: of B > 0 encodings, R / B consecutive queries
                read each.
            value: the same as ``key``.
            key_padding_mask: (B, S), True at padding.
            incremental_state: of incremental decoding; holds (B, kv_heads, S, D / H) keys and
                values.
            need_weights: of no effect without ``need_head_weights``.
            static_kv: what is cached is complete.
            attn_mask: (T, S), added to the scores.
            before_softmax: not available.
            need_head_weights: return the weights of each head.

        Returns:
            (T, R, D); and (H, R, T, S), the weights, or None.
        """
        if self.kv_heads == self.num_heads:
            found = super().forward(
                *(query, key, value, key_padding_mask, incremental_state, need_weights),
                *(static_kv, attn_mask, before_softmax, need_head_weights),
            )
            self._remember_sharing(incremental_state, query.size(1))
            return found
        if before_softmax:
            raise ValueError("before_softmax is not supported with grouped heads")
        source = query if self.self_attention else key
        k, v, padding = self._read(source, key_padding_mask, incremental_state, static_kv)
        T, R, _ = query.shape
        self._remember_sharing(incremental_state, R)
        B, shared = k.size(0), R // k.size(0)
        # (T, R, D) -> (B, kv_heads, n * G * T, D / H): who reads the same keys stands together.
        layout = (T, B, shared, self.kv_heads, self.num_heads // self.kv_heads, self.head_dim)
        q = (
            self.q_proj(query)
            .view(layout)
            .permute(1, 3, 2, 4, 0, 5)
            .reshape(B, self.kv_heads, -1, self.head_dim)
        )
        mask = _joined_mask(padding, attn_mask, q.size(2) // T, q.dtype)
        weights = None
        if need_head_weights:
            scores = (q * self.scaling) @ k.transpose(2, 3)
            scores = scores if mask is None else scores + mask
            weights = scores.softmax(-1, torch.promote_types(scores.dtype, torch.float32))
            attended = self.dropout_module(weights.type_as(v)) @ v
        else:
            dropping = self.training or self.dropout_module.apply_during_inference
            attended = F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, dropout_p=self.dropout_module.p if dropping else 0.0
            )
        # (B, kv_heads, n * G * T, ...) -> (B, kv_heads, n, G, T, ...)
        readers = (shared, self.num_heads // self.kv_heads, T)
        attended = attended.unflatten(2, readers).permute(4, 0, 2, 1, 3, 5)
        output = self.out_proj(attended.reshape(T, R, self.embed_dim))
        if weights is not None:
            weights = weights.unflatten(2, readers).permute(1, 3, 0, 2, 4, 5)
            weights = weights.reshape(self.num_heads, R, T, -1)
        return output, weights

    def _read(
        self,
        source: Tensor | None,
        padding: Tensor | None,
        incremental_state: State | None,
        static_kv: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return (B, kv_heads, S, D / H) keys and values and their (B, S) padding mask."""
        state = {} if incremental_state is None else self._get_input_buffer(incremental_state)
        before, before_v = state.get("prev_key"), state.get("prev_value")
        before_padding = state.get("prev_key_padding_mask")
        if static_kv and before is not None and before_v is not None:
            return before, before_v, _as_bool(before_padding)
        assert source is not None
        S, B, _ = source.shape
        heads = (S, B, self.kv_heads, self.head_dim)
        k = self.k_proj(source).view(heads).permute(1, 2, 0, 3)
        v = self.v_proj(source).view(heads).permute(1, 2, 0, 3)
        if before is not None and before_v is not None:
            k, v = torch.cat([before, k], dim=2), torch.cat([before_v, v], dim=2)
            padding = self._append_prev_key_padding_mask(
                padding, before_padding, B, k.size(2), static_kv
            )
        if incremental_state is not None:
            # In memory as they are read from now on, once a step.
            k, v = k.contiguous(), v.contiguous()
            state.update(prev_key=k, prev_value=v, prev_key_padding_mask=padding)
            self._set_input_buffer(incremental_state, state)
        return k, v, _as_bool(padding)

    def _remember_sharing(self, incremental_state: State | None, hypotheses: int) -> None:
        if incremental_state is None or not self.encoder_decoder_attention:
            return
        state = self._get_input_buffer(incremental_state)
        cached = state.get("prev_key")
        if cached is not None and "shared" not in state and hypotheses > len(cached):
            state["shared"] = torch.tensor(hypotheses // len(cached))

    def reorder_incremental_state(
        self, incremental_state: State | None, new_order: Tensor
    ) -> State | None:
        """Keep the cached rows that the hypotheses go on with.

        fairseq's own expects the cache to have a row for every hypothesis, and takes a new order
        of as many for the old one where the encoder is attended to.

        Args:
            incremental_state: of incremental decoding.
            new_order: (R',), which of the R hypotheses before each one continues.
        """
        state = self._get_input_buffer(incremental_state)
        cached = state.get("prev_key")
        if incremental_state is None or cached is None:
            return incremental_state
        rows, shared = new_order, _shared(state)
        if shared > 1:
            owners = new_order // shared
            rows = owners[::shared]
            if len(owners) % shared or not owners.equal(rows.repeat_interleave(shared)):
                rows, shared = owners, 1
            state["shared"] = torch.tensor(shared)
        if not rows.equal(torch.arange(len(cached), device=rows.device)):
            for name in ("prev_key", "prev_value", "prev_key_padding_mask"):
                held = state.get(name)
                state[name] = None if held is None else held.index_select(0, rows)
        return self._set_input_buffer(incremental_state, state)

    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> None:
        """Average the key and value projections of a model with more heads than this one.

        Args:
            state_dict: of the whole model; changed in place.
            name: of this module in it.
        """
        super().upgrade_state_dict_named(state_dict, name)
        prefix = f"{name}." if name else ""
        for projection in ("k_proj", "v_proj"):
            for part in ("weight", "bias"):
                key = f"{prefix}{projection}.{part}"
                own = getattr(getattr(self, projection), part, None)
                if own is None or key not in state_dict:
                    continue
                state_dict[key] = fitted_heads(key, state_dict[key], own, self.head_dim)


def fitted_heads(key: str, given: Tensor, own: Tensor, head_dim: int) -> Tensor:
    """Make a key or value projection of a checkpoint fit a model of as many or fewer heads.

    Args:
        key: its name, for messages.
        given: of the checkpoint.
        own: of the model.
        head_dim: rows of one head.

    Raises:
        UserError: the model has more heads.
    """
    if len(given) < len(own) and given.shape[1:] == own.shape[1:]:
        raise UserError(
            f"the checkpoint has fewer key and value heads in {key} than --decoder-kv-heads: give "
            "the number it was trained with"
        )
    pooled = pooled_heads(given, len(own), head_dim)
    if pooled is not given:
        logger.info("%s: the mean of each %d heads", key, len(given) // len(own))
    return pooled


def pooled_heads(projection: Tensor, size: int, head_dim: int) -> Tensor:
    """Average groups of consecutive heads of a key or value projection.

    Args:
        projection: (H * head_dim, ...), a weight or a bias.
        size: kv_heads * head_dim, the rows wanted.
        head_dim: rows of one head.

    Returns:
        (size, ...); the projection itself where it cannot be grouped, or has that size already.
    """
    rows = len(projection)
    if rows == size or rows % size or rows % head_dim:
        return projection
    heads = projection.view(size // head_dim, -1, head_dim, *projection.shape[1:])
    exact = torch.promote_types(heads.dtype, torch.float32)
    return heads.mean(dim=1, dtype=exact).to(projection).flatten(0, 1)


def _shared(state: dict[str, Tensor | None]) -> int:
    """How many consecutive hypotheses read each cached row."""
    shared = state.get("shared")
    return 1 if shared is None else int(shared)


def _as_bool(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.to(torch.bool)


def _joined_mask(
    padding: Tensor | None, attn_mask: Tensor | None, readers: int, dtype: torch.dtype
) -> Tensor | None:
    """Join a (B, S) and a (T, S) mask to one that is added to (B, kv_heads, readers * T, S)."""
    mask = None
    if attn_mask is not None:
        mask = attn_mask.to(dtype).repeat(readers, 1)
    if padding is not None:
        B, S = padding.shape
        hidden = torch.zeros(B, 1, 1, S, dtype=dtype, device=padding.device)
        hidden.masked_fill_(padding[:, None, None], -torch.inf)
        mask = hidden if mask is None else hidden + mask
    return mask
