"""Dense retrieval: exact search by inner product, in blocks of passages and questions.

``top_k`` orders equal scores by their numbers, so that results depend on neither the sizes of the
blocks nor the device.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genft_fairseq.data.passages import PassageTable
from genft_fairseq.errors import UserError, require_regular
from genft_fairseq.files import atomic_file
from genft_fairseq.retrieval.index_folder import IndexRecord, check_record

EMBEDDINGS = "passages.npy"
PASSAGE_BLOCK = 8192
QUESTION_BLOCK = 256


@dataclass(frozen=True)
class Found:
    """The passages found for each question, best first.

    Attributes:
        numbers: (Q, k), int64, row numbers in the passage table, from 0.
        scores: (Q, k), float32.
    """

    numbers: Tensor
    scores: Tensor


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k highest scores of every row and their columns, of equal scores the first.

    ``torch.topk`` leaves open which of equal scores it returns, and in which order.

    Args:
        scores: (Q, P), without nan.
        k: how many; all where there are fewer.

    Returns:
        (Q, k') scores from high to low, and (Q, k') columns, k' = min(k, P).
    """
    k = min(k, scores.size(1))
    values, columns = scores.topk(k, dim=1)
    # Where scores equal to the last one are left out, the slower, stable sort takes the first.
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


def search(
    passages: np.ndarray | Tensor,
    questions: Tensor,
    k: int,
    passage_block: int = PASSAGE_BLOCK,
    question_block: int = QUESTION_BLOCK,
) -> Found:
    """Find the k passages of the greatest inner product with each question.

    Naively::

        scores = questions @ passages.T                            # (Q, P)
        numbers = scores.sort(descending=True, stable=True)[:, :k]

    Products are summed in float64 and rounded to float32.  The order of summation, which depends
    on the shape of a block, does not reach the rounded score, so that equal passages have equal
    scores, and neither scores nor order depend on the sizes of the blocks.

    Args:
        passages: (P, D), float32, in memory or mapped into it.
        questions: (Q, D), float32; the search runs on its device.
        k: how many; all where there are fewer.
        passage_block: passages scored at a time.
        question_block: questions scored at a time.

    Returns:
        the best passages of each question, of equal ones those with lower numbers, on the CPU.

    Raises:
        UserError: something is not a finite number.
    """
    Q, k = len(questions), min(k, len(passages))
    _require_finite(questions, "questions", 0)
    device = questions.device
    # Placeholders, lower than any score, until k passages are read.
    values = torch.full((Q, k), -torch.inf, device=device)
    numbers = torch.full((Q, k), len(passages), dtype=torch.int64, device=device)
    for start in range(0, len(passages), passage_block):
        block = torch.as_tensor(np.array(passages[start : start + passage_block])).to(device)
        _require_finite(block, "passages", start)
        wide = block.double().T
        for rows in torch.arange(Q, device=device).split(question_block):
            scores = (questions[rows].double() @ wide).float()  # (Q', P')
            best, columns = top_k(scores, k)
            both = torch.cat([values[rows], best], dim=1)
            named = torch.cat([numbers[rows], columns + start], dim=1)
            both, named = best_first(both, named)
            values[rows], numbers[rows] = both[:, :k], named[:, :k]
    return Found(numbers.cpu(), values.cpu())


def _require_finite(block: Tensor, what: str, start: int) -> None:
    wrong = (~block.isfinite()).any(dim=1).nonzero()
    if len(wrong):
        raise UserError(
            f"the embedding of one of the {what}, number {start + int(wrong[0])}, is not finite: "
            "has the training of the encoder diverged?"
        )


def write_embeddings(
    folder: Path, record: IndexRecord, blocks: Iterable[Tensor], width: int
) -> None:
    """Write embeddings block by block, and then the record of the index.

    Args:
        folder: that exists.
        record: of the passage table.
        blocks: (P', D) each, together all passages of the table, in its order.
        width: D.
    """
    shape = (record.fingerprint.passages, width)
    with atomic_file(folder / EMBEDDINGS) as partial:
        file = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=shape)
        end = 0
        for block in blocks:
            start, end = end, end + len(block)
            file[start:end] = block.float().cpu().numpy()
        assert end == shape[0]
        file.flush()
        del file
    record.write(folder)


def load_embeddings(folder: Path, wanted: IndexRecord, table: PassageTable) -> np.ndarray:
    """Memory-map the embeddings of a table's passages.

    Returns:
        (P, D), float32, read only.

    Raises:
        UserError: they are of another table or checkpoint, or damaged.
    """
    record = check_record(folder, wanted, table)
    path = folder / EMBEDDINGS
    require_regular(path)
    try:
        embeddings = np.load(path, mmap_mode="r")
        if not isinstance(embeddings, np.ndarray) or embeddings.dtype != np.float32:
            raise ValueError("it holds no float32 numbers")
    # numpy has no common error for a damaged header.
    except Exception as error:
        raise UserError(
            f"{path} is damaged ({error}): delete {folder}, and build it again"
        ) from None
    if embeddings.ndim != 2 or len(embeddings) != record.fingerprint.passages:
        raise UserError(
            f"{path} holds embeddings of the shape {embeddings.shape} for "
            f"{record.fingerprint.passages} passages: delete {folder}, and build it again"
        )
    return embeddings


def in_blocks(table: PassageTable, size: int) -> Iterator[list]:
    """Read the passages of a table in blocks of ``size``."""
    block = []
    for passage in table:
        block.append(passage)
        if len(block) == size:
            yield block
            block = []
    if block:
        yield block
