"""How the next token is chosen from the model's distribution: greedily, or by sampling.

Nucleus sampling (top-p): A. Holtzman et al., *The Curious Case of Neural Text Degeneration*, ICLR
2020, arXiv:1904.09751. Top-k sampling: A. Fan, M. Lewis and Y. Dauphin, *Hierarchical Neural Story
Generation*, ACL 2018, arXiv:1805.04833.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Elements of the logits handled at a time, in float64: on a CPU temporaries should stay in its
# cache, on a GPU they should not fill its memory.
CPU_BLOCK_ELEMENTS = 2**18

GPU_BLOCK_ELEMENTS = 2**25

# A nucleus is looked for among so many of the most probable tokens first.
_CANDIDATES = 2048


@dataclass(frozen=True)
class Search:
    """A way of choosing tokens; greedy unless told otherwise.

    Attributes:
        sampling: draw from the distribution instead of taking its mode.
        temperature: divides the logarithms of the probabilities before anything else.
        top_k: draw among the k most probable tokens; 0 for no limit.
        top_p: draw among the fewest most probable tokens that together have this probability.
        no_repeat_ngram_size: never complete an n-gram of this length that the text (the prefix
            included) already holds, if another token is left; 0 for no such rule. Applies to greedy
            choice as well.

    Raises:
        ValueError: a value outside its range; the message names it.
    """

    sampling: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    no_repeat_ngram_size: int = 0

    def __post_init__(self) -> None:
        if not 1e-6 <= self.temperature <= 1e6:  # beyond, probabilities are no longer numbers
            raise ValueError(f"temperature must lie in [1e-6, 1e6], but is {self.temperature}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be 0 (no limit) or positive, but is {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must lie in (0, 1], but is {self.top_p}")
        if self.no_repeat_ngram_size < 0:
            raise ValueError(
                "no_repeat_ngram_size must be 0 (no rule) or positive, "
                f"but is {self.no_repeat_ngram_size}"
            )


def choose_tokens(logits: Tensor, search: Search, draws: Tensor | None = None) -> Tensor:
    """Choose one token for each row.

    Args:
        logits: (B, V), logits; minus infinity for what must not be chosen, but for one at least.
        search: how to choose.
        draws: (B,), uniform over [0, 1); needed for sampling only.

    Returns:
        (B,), token ids.

    Raises:
        ValueError: sampling without draws.
    """
    if not search.sampling:
        return logits.argmax(dim=-1)
    if draws is None:
        raise ValueError("sampling needs draws, one for each row")
    block = CPU_BLOCK_ELEMENTS if logits.device.type == "cpu" else GPU_BLOCK_ELEMENTS
    rows = max(1, block // logits.size(-1))
    parts = zip(logits.split(rows), draws.split(rows), strict=True)
    return torch.cat([_sample(part, search, drawn) for part, drawn in parts])


def _sample(logits: Tensor, search: Search, draws: Tensor) -> Tensor:
    logits = logits.double()
    if search.temperature != 1:
        logits = logits / search.temperature
    probs = torch.softmax(logits, dim=-1)
    if search.top_k and search.top_k < probs.size(-1):
        probs, order = _most_probable(probs, search.top_k)
    elif search.top_p < 1:
        return _from_nucleus(probs, search.top_p, draws)
    else:
        return _inverse_cdf(probs, draws)  # sorting the whole vocabulary would change nothing
    if search.top_p < 1:
        probs = probs.masked_fill(_outside(probs, search.top_p, probs.sum(-1, keepdim=True)), 0.0)
    return order.gather(1, _inverse_cdf(probs, draws)[:, None])[:, 0]


def _from_nucleus(probs: Tensor, top_p: float, draws: Tensor) -> Tensor:
    """Draw from the nuclei, (B,).

    Few of a large vocabulary are in a nucleus, and finding these takes a fifth of the time that
    sorting all takes, which is done where they do not suffice.
    """
    total = probs.sum(dim=-1, keepdim=True)
    if probs.size(-1) > _CANDIDATES:
        likely, order = _most_probable(probs, _CANDIDATES)
        outside = _outside(likely, top_p, total)
        last = (~outside).sum(dim=-1, keepdim=True) - 1
        # The nucleus ends among them, and before the ties that the last of them may be one of.
        if (outside[:, -1:] & (likely.gather(1, last) > likely[:, -1:])).all():
            likely = likely.masked_fill(outside, 0.0)
            return order.gather(1, _inverse_cdf(likely, draws)[:, None])[:, 0]
    # Stable: tokens of equal probability keep the order of their ids on every device.
    probs, order = probs.sort(dim=-1, descending=True, stable=True)  # (B, V)
    probs = probs.masked_fill(_outside(probs, top_p, total), 0.0)
    return order.gather(1, _inverse_cdf(probs, draws)[:, None])[:, 0]


def _outside(probs: Tensor, top_p: float, total: Tensor) -> Tensor:
    """Mark what comes after the nucleus, of probabilities in falling order."""
    # The first token has nothing before it and so always stays.
    return probs.cumsum(dim=-1) - probs >= top_p * total


def _most_probable(probs: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k most probable tokens, in order of probability, then id: (B, k) and their ids."""
    ids = probs.topk(k, dim=-1, sorted=False).indices.sort(dim=-1).values
    probs, order = probs.gather(1, ids).sort(dim=-1, descending=True, stable=True)
    return probs, ids.gather(1, order)


def _inverse_cdf(probs: Tensor, draws: Tensor) -> Tensor:
    """The first place where the cumulative probability exceeds the draw, (B,)."""
    cumulative = probs.cumsum(dim=-1)
    total = cumulative[:, -1]
    # Below the total even where the product is rounded up to it.
    threshold = (draws.to(total) * total).minimum(total.nextafter(torch.zeros_like(total)))
    reached = cumulative > threshold[:, None]
    return reached.to(torch.int8).argmax(dim=-1)
