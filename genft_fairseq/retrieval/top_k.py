"""The best of many scores, in an order that nothing but the scores and the numbers decides."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Found:
    """The passages found for each question, best first.

    Attributes:
        numbers: (Q, k), int64, the passages' places in their table, from 0.
        scores: (Q, k), float32.
    """

    numbers: Tensor
    scores: Tensor


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k highest scores of every row and their columns; of equal ones the first.

    ``torch.topk`` leaves open which of equal scores it returns, and in which order.

    Args:
        scores: (Q, P), without nan.
        k: how many; all where there are fewer.

    Returns:
        (Q, k') scores from high to low, and (Q, k') columns, k' = min(k, P).
    """
    k = min(k, scores.size(1))
    values, columns = scores.topk(k, dim=1)
    # Which of the scores that equal the last one are in?  Only where not all of them are, that
    # needs the slower, stable sort.
    least = values[:, -1:]
    left_out = (scores == least).sum(dim=1) > (values == least).sum(dim=1)
    if left_out.any():
        sorted_values, order = scores[left_out].sort(dim=1, descending=True, stable=True)
        values[left_out], columns[left_out] = sorted_values[:, :k], order[:, :k]
    return best_first(values, columns)


def best_first(values: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Sort rows by value from high to low, and equal values by number from low to high."""
    numbers, order = numbers.sort(dim=1)
    values, again = values.gather(1, order).sort(dim=1, descending=True, stable=True)
    return values, numbers.gather(1, again)
