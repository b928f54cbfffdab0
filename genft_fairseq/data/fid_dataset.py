"""fairseq's dataset of pairs for Fusion-in-Decoder: examples of several passages each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from fairseq.data import Dictionary, LanguagePairDataset
from fairseq.data.data_utils import collate_tokens
from torch import Tensor

from genft_fairseq.data.fid_lines import Markers, pair_sizes, pairs_of, split_line
from genft_fairseq.errors import UserError


@dataclass(frozen=True)
class Reading:
    """Which part of a line is read.

    Attributes:
        markers: of its dictionary.
        n_context: passages read, the first ones; 0: all.
        longest_passage: tokens kept of each, its title included; 0: all.
        pointing: put its symbol before each passage, and before the target the symbol of the first
            passage that contains the answer.
    """

    markers: Markers
    n_context: int = 0
    longest_passage: int = 0
    pointing: bool = False


class FiDDataset(LanguagePairDataset):
    """fairseq's dataset of pairs, whose sources are lines of several passages.

    ``src_tokens`` of a batch is (B, N, L): N is the greatest number of passages of a question in
    it, L the length of the longest pair of question and passage; passages that are not there are
    padding alone.  ``src_lengths`` counts the tokens of all passages.

    Args:
        lines: the source lines, as indexed datasets and lists of (L,) tensors give them.
        src_dict: of the source.
        reading: how much of them is read.
        evidence: for each example (2 * k,), pairs of 0 and the number of a passage that holds the
            answer, from 0; needed for pointing where there are targets.
        given: fairseq's own arguments: ``tgt``, ``tgt_sizes``, ``tgt_dict``, ``left_pad_source``...
    """

    def __init__(
        self,
        lines: Sequence[Tensor],
        src_dict: Dictionary,
        reading: Reading,
        evidence: Sequence[Tensor] | None = None,
        **given: Any,
    ):
        self.reading, self.eos_idx = reading, src_dict.eos()
        self.evidence = evidence
        self.numbers, sizes = self._measure(lines)
        if reading.pointing and given.get("tgt_sizes") is not None:
            given["tgt_sizes"] = np.asarray(given["tgt_sizes"]) + 1
        super().__init__(lines, sizes, src_dict, **given)
        known = len(reading.markers.passages) - 1
        if reading.pointing and len(self.numbers) and self.numbers.max() > known:
            raise UserError(
                f"--source-pointing needs a symbol for each of {self.numbers.max()} passages, but "
                f"the dictionary has them up to <passage:{known}>: read fewer with --n-context"
            )

    def _measure(self, lines: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
        """Return, for each line, how many passages are read and the tokens of its longest pair."""
        numbers = np.ones(len(lines), dtype=np.int64)
        sizes = np.zeros(len(lines), dtype=np.int64)
        reading = self.reading
        for index in range(len(lines)):
            question, passages = pair_sizes(lines[index], reading.markers, self.eos_idx)
            passages = passages[: reading.n_context or None]
            longest = int(passages.max()) if len(passages) else 0
            numbers[index] = max(len(passages), 1)
            if reading.longest_passage:
                longest = min(longest, reading.longest_passage)
            named = reading.pointing and len(passages) > 0
            sizes[index] = question + longest + 1 + named
        return numbers, sizes

    def __getitem__(self, index: int) -> dict[str, Any]:
        reading = self.reading
        question, passages = split_line(self.src[index], reading.markers, self.eos_idx)
        passages = passages[: reading.n_context or None]
        names = reading.markers.passages[1:] if reading.pointing else ()
        pairs = pairs_of(question, passages, self.eos_idx, reading.longest_passage, names)
        target = None if self.tgt is None else self.tgt[index]
        if reading.pointing and target is not None:
            target = torch.cat([target.new_tensor([self._pointer(index, len(passages))]), target])
        example = {"id": index, "pairs": pairs, "source": torch.cat(pairs), "target": target}
        if self.constraints is not None:
            example["constraints"] = self.constraints[index]
        return example

    def _pointer(self, index: int, number: int) -> int:
        """The symbol of the first passage that holds the answer, or of none."""
        assert self.evidence is not None
        found = self.evidence[index].view(-1, 2)[:, 1]
        found = found[found < number]
        return self.reading.markers.passages[int(found.min()) + 1 if len(found) else 0]

    def collater(
        self, samples: list[dict[str, Any]], pad_to_length: dict[str, int] | None = None
    ) -> dict[str, Any]:
        """Merge examples into a batch; see fairseq's own.

        Args:
            samples: of ``__getitem__``.
            pad_to_length: as in fairseq's own, of a pair of question and passage.
        """
        batch = super().collater(samples, {**pad_to_length, "source": 0} if pad_to_length else None)
        if not batch:
            return batch
        pairs = {sample["id"]: sample["pairs"] for sample in samples}
        ordered = [pairs[index] for index in batch["id"].tolist()]
        most = max(len(given) for given in ordered)
        tokens = collate_tokens(
            [pair for given in ordered for pair in given],
            self.src_dict.pad(),
            left_pad=self.left_pad_source,
            pad_to_length=pad_to_length["source"] if pad_to_length else None,
            pad_to_multiple=self.pad_to_multiple,
        )
        src_tokens = tokens.new_full((len(ordered), most, tokens.size(1)), self.src_dict.pad())
        start = 0
        for row, given in zip(src_tokens, ordered, strict=True):
            row[: len(given)] = tokens[start : start + len(given)]
            start += len(given)
        batch["net_input"]["src_tokens"] = src_tokens
        return batch

    def num_tokens(self, index: int) -> int:
        """Count what ``--max-tokens`` limits: passages times the longest pair, or the target."""
        return int(self.num_tokens_vec(np.array([index]))[0])

    def batch_by_size(
        self, indices: np.ndarray, max_tokens: int | None = None, *given: Any, **keywords: Any
    ) -> list[Any]:
        """Make batches of no more than ``max_tokens``, padding included; see fairseq's own.

        fairseq expects examples of a like size to stand together.  Where many short passages meet
        a few long ones, all are padded to these, and the batch is cut in halves until it fits.
        """
        cut = list(super().batch_by_size(indices, max_tokens, *given, **keywords))[::-1]
        fitting = []
        while cut:
            batch = np.asarray(cut.pop())
            padded = int(self.numbers[batch].sum() * self.src_sizes[batch].max())
            if max_tokens is None or len(batch) == 1 or padded <= max_tokens:
                fitting.append(batch)
            else:
                middle = len(batch) // 2
                cut += [batch[middle:], batch[:middle]]
        return fitting

    def num_tokens_vec(self, indices: np.ndarray) -> np.ndarray:
        """Count the tokens of several examples; see ``num_tokens``."""
        sizes = self.src_sizes[indices] * self.numbers[indices]
        return sizes if self.tgt_sizes is None else np.maximum(sizes, self.tgt_sizes[indices])
