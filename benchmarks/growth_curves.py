"""How the cost of projection and loss grows, as the JSON of ``growth.py`` holds it.

command, versions, hardware, device, threads, dtype, clock
            as in ``loss_comparison.py``
curves      by name (``growth_tables.CURVES`` says what each is):
  points      a list, by increasing size:
    size        of what varies: T, V or B
    shape       [B, T, D, V]
    logits_bytes
    losses      for each loss by name its figures, as in ``loss_comparison.py``, and
      us_per_position  median_s / (B * T), in microseconds

Lengths share one number of positions, B * T, so that what their curve shows is the cost of the
tokens seen before a position, which are T - 1 at most.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from growth_tables import CURVES
from loss_comparison import compare_at, conditions
from loss_measurement import Shape
from projection_columns import PROJECTED, require_agreement


def measure_growth(
    command: str,
    shape: Shape,
    sizes: Mapping[str, Sequence[int]],
    names: Sequence[str],
    dtype: str,
    device: str,
    threads: int,
    repeats: int,
) -> dict[str, Any]:
    """Measure the losses of these names along every curve.

    Args:
        command: as it was typed.
        shape: B, T, D, V, of which a curve varies one or two.
        sizes: for each of ``growth_tables.CURVES``, in increasing order.
        names: of the losses, the baseline among them.
        dtype: of the features.
        device: "cpu" or "cuda".
        threads: of torch on the CPU.
        repeats: rounds at each point.

    Raises:
        NoResultError: no such device, the baseline does not fit into memory, or losses differ that
            must not.
    """
    found = conditions(command, dtype, device, threads)
    curves: dict[str, Any] = {}
    for curve in CURVES:
        points: list[dict[str, Any]] = []
        for size, at in shapes_of(curve, sizes[curve], shape):
            point = compare_at(PROJECTED, at, names, found, repeats)
            require_agreement([point], dtype)
            positions = at[0] * at[1]
            for metrics in point["losses"].values():
                if "median_s" in metrics:
                    metrics["us_per_position"] = round(metrics["median_s"] / positions * 1e6, 3)
            points.append({"size": size, **point})
        curves[curve] = {"points": points}
    return {**found, "curves": curves}


def shapes_of(curve: str, sizes: Sequence[int], shape: Shape) -> Iterator[tuple[int, Shape]]:
    """Yield the sizes of a curve, and the shape (B, T, D, V) at each."""
    B, T, D, V = shape
    for size in sizes:
        if curve == "length":
            yield size, (sizes[-1] // size, size, D, V)
        elif curve == "vocabulary":
            yield size, (B, T, D, size)
        else:
            yield size, (size, T, D, V)
