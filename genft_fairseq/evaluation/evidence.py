"""Whether the passages hold the answer: as retrieved, and as a model points at them.

Source pointing: S. Hofstätter et al., *FiD-Light*, SIGIR 2023 (arXiv:2209.14290): the model names
the passage that its answer comes from, which then moves to the front.

In this module ``holds`` is, for each question, whether each of its passages holds a right answer,
the passage that was retrieved first at the front.
"""

from collections.abc import Sequence
from typing import Any

RANKS = (1, 5, 20, 100)

Holds = Sequence[Sequence[bool]]


def recall_figures(holds: Holds) -> dict[str, float]:
    """Return the share of questions with a passage that holds an answer among the first k.

    Returns:
        ``recall_k`` for k of ``RANKS``, as far as a question has so many passages, and
        ``recall_all`` over all passages; nothing where no question has any.
    """
    most = max(map(len, holds), default=0)
    if not most:
        return {}
    ranks = {f"recall_{k}": k for k in RANKS if k <= most} | {"recall_all": most}
    return {name: sum(any(row[:k]) for row in holds) / len(holds) for name, k in ranks.items()}


def reranked(holds: Holds, pointers: Sequence[int | None]) -> list[list[bool]]:
    """Move the passage that each question's answer points at to the front.

    Args:
        holds: see above.
        pointers: passages from 1; 0, None or a passage that is not there moves nothing.
    """
    moved = []
    for row, pointer in zip(holds, pointers, strict=True):
        at = pointer if pointer and pointer <= len(row) else 0
        moved.append([*row[at - 1 : at], *row[: at - 1], *row[at:]] if at else list(row))
    return moved


def pointing_figures(
    holds: Holds, pointers: Sequence[int | None], read: int | None = None
) -> dict[str, Any]:
    """Judge the passages that a model names as its evidence.

    Args:
        holds: see above.
        pointers: what each answer names: a passage, from 1; 0: none of them; None: nothing.
        read: of how many passages the model had to choose; None: of all of them.

    Returns:
        ``evidence_accuracy``: the share of questions whose passage holds an answer, or whose 0 is
        right because none of those read does.  Of ``with_evidence`` questions (some passage read
        holds an answer) ``pointed_accuracy`` points at such a one; of ``without_evidence`` ones
        ``none_accuracy`` says 0 (each None where there is no such question).  ``pointed_nowhere``
        counts answers that name nothing, or a passage that was not read: all wrong.
        ``reranked_recall_k``: see ``recall_figures``, after ``reranked``.
    """
    seen = [list(row[:read]) for row in holds]
    right: dict[bool, list[bool]] = {True: [], False: []}
    nowhere = 0
    for row, pointer in zip(seen, pointers, strict=True):
        if pointer is None or pointer > len(row):
            nowhere += 1
            right[any(row)].append(False)
        else:
            right[any(row)].append(row[pointer - 1] if pointer else not any(row))
    within = [p if p and p <= len(row) else 0 for row, p in zip(seen, pointers, strict=True)]
    recalls = recall_figures(reranked(holds, within))
    return {
        "evidence_accuracy": _share(right[True] + right[False]),
        "pointed_accuracy": _share(right[True]),
        "with_evidence": len(right[True]),
        "none_accuracy": _share(right[False]),
        "without_evidence": len(right[False]),
        "pointed_nowhere": nowhere,
        **{f"reranked_{name}": value for name, value in recalls.items()},
    }


def _share(right: Sequence[bool]) -> float | None:
    return sum(right) / len(right) if right else None
