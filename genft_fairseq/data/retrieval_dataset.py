"""Questions with the passages to tell apart: one that holds the answer, and some that do not."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from fairseq.data import FairseqDataset, data_utils
from torch import Tensor

from genft_fairseq.data.fid_lines import Markers, pair_sizes, require_pairs, split_line
from genft_fairseq.errors import UserError

logger = logging.getLogger(__name__)


class RetrievalDataset(FairseqDataset):
    """The examples that have a passage with the answer; the others are left out.

    Args:
        lines: binarized examples, each a question and its passages (``fid_lines.py``).
        evidence: for each example (2 * k,), pairs of 0 and the number of a passage that holds the
            answer, from 0.
        markers: of the lines' dictionary.
        dictionary: fairseq's.
        frame: puts what the model reads in the place of the markers, in a question or a passage.
        max_question_positions: longest question, ``</s>`` included; what is longer is cut.
        max_passage_positions: longest passage, in the same way.
        hard_negatives: how many of the best passages without the answer join the batch.
        random_positive: draw the positive passage anew in each epoch; otherwise it is the best.
        shuffle: go through the examples in another order in each epoch.
        seed: of both draws.
        name: begins the message of an error.

    Raises:
        UserError: no example has a passage with the answer; the two sides do not belong together.
    """

    def __init__(
        self,
        lines: Any,
        evidence: Any,
        markers: Markers,
        dictionary: Any,
        frame: Callable[[Tensor], Tensor] = lambda tokens: tokens,
        *,
        max_question_positions: int,
        max_passage_positions: int,
        hard_negatives: int = 1,
        random_positive: bool = False,
        shuffle: bool = False,
        seed: int = 1,
        name: str = "the data",
    ):
        if len(lines) != len(evidence):
            raise UserError(
                f"{name}: {len(lines)} examples, but alignments for {len(evidence)}: prepare the "
                "folder again"
            )
        require_pairs(evidence, name)
        self._lines, self._evidence, self._markers = lines, evidence, markers
        self._pad, self._eos, self._frame = dictionary.pad(), dictionary.eos(), frame
        # What framing adds to a question, and to a passage.
        bare = ([markers.question], [markers.title, markers.context])
        self._added = [len(frame(torch.tensor(row))) - len(row) for row in bare]
        self._longest = max_question_positions, max_passage_positions
        self._hard_negatives, self._random_positive = hard_negatives, random_positive
        self._shuffle, self._seed, self._epoch, self._name = shuffle, seed, 1, name
        kept = [number for number in range(len(lines)) if len(evidence[number])]
        if not kept:
            raise UserError(
                f"{name}: none of {len(lines)} examples has a passage that holds an answer"
            )
        logger.info(
            "%s: %d examples; %d without a passage that holds an answer are left out",
            *(name, len(kept), len(lines) - len(kept)),
        )
        self._numbers = np.array(kept)
        self.sizes = np.array([self._size(number) for number in kept])

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the question, its positive, then its hard negatives, and what else answers it."""
        question, passages, evidence = self._read(self._numbers[index])
        positive = evidence[0]
        if self._random_positive:
            draws = np.random.default_rng([self._seed, self._epoch, index])
            positive = evidence[draws.integers(len(evidence))]
        holding = set(evidence)
        without = [number for number in range(len(passages)) if number not in holding]
        chosen = [positive, *without[: self._hard_negatives]]
        return {
            "id": index,
            "question": question,
            "passages": [passages[number] for number in chosen],
            "evidence": [passages[number] for number in evidence],
        }

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Put the questions and all their passages into a batch, every different passage once.

        Returns:
            a batch whose ``target`` (B,) are the rows of the questions' own passages among the P
            of the batch, and whose ``ignored`` (B, P) are the other passages that answer them.
        """
        if not samples:
            return {}
        rows: dict[bytes, int] = {}
        passages: list[Tensor] = []
        for sample in samples:
            for passage in sample["passages"]:
                if rows.setdefault(_identity(passage), len(passages)) == len(passages):
                    passages.append(passage)
        target = torch.tensor([rows[_identity(sample["passages"][0])] for sample in samples])
        ignored = torch.zeros(len(samples), len(passages), dtype=torch.bool)
        for number, sample in enumerate(samples):
            found = (rows.get(_identity(passage)) for passage in sample["evidence"])
            ignored[number, [row for row in found if row is not None]] = True
        ignored[torch.arange(len(samples)), target] = False
        questions = [sample["question"] for sample in samples]
        return {
            "id": torch.tensor([sample["id"] for sample in samples]),
            "nsentences": len(samples),
            "ntokens": sum(map(len, questions)) + sum(map(len, passages)),
            "net_input": {
                "question_tokens": data_utils.collate_tokens(questions, self._pad),
                "passage_tokens": data_utils.collate_tokens(passages, self._pad),
            },
            "target": target,
            "ignored": ignored,
        }

    def ordered_indices(self) -> np.ndarray:
        """Return the order of this epoch.

        It is not that of the lengths: questions that share a batch are each other's negatives, and
        should be others in each epoch.
        """
        if not self._shuffle:
            return np.arange(len(self))
        return np.random.default_rng([self._seed, self._epoch]).permutation(len(self))

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """Tell that batches are made anew for each epoch."""
        return not self._shuffle

    def set_epoch(self, epoch: int) -> None:
        """Take the draws of this epoch."""
        self._epoch = epoch

    def num_tokens(self, index: int) -> int:
        """Return what ``--max-tokens`` counts: the question, and each passage as the longest."""
        return int(self.sizes[index])

    def num_tokens_vec(self, indices: Sequence[int]) -> np.ndarray:
        """Return ``num_tokens`` of several examples."""
        return self.sizes[indices]

    def size(self, index: int) -> int:
        """Return the size that too long examples are told by."""
        return self.num_tokens(index)

    def _size(self, number: int) -> int:
        question, passages = pair_sizes(self._lines[number], self._markers, self._eos)
        most_of_question, most_of_passage = self._longest
        more_of_question, more_of_passage = (1 + added for added in self._added)
        longest = (
            min(int(passages.max()) + more_of_passage, most_of_passage) if len(passages) else 0
        )
        read = min(1 + self._hard_negatives, len(passages))
        return min(question + more_of_question, most_of_question) + longest * read

    def _read(self, number: int) -> tuple[Tensor, list[Tensor], list[int]]:
        question, passages = split_line(self._lines[number], self._markers, self._eos)
        evidence = sorted(set(self._evidence[number].view(-1, 2)[:, 1].tolist()))
        if evidence[-1] >= len(passages):
            raise UserError(
                f"{self._name}: example {number} has {len(passages)} passages, but an alignment "
                f"with passage {evidence[-1]}, counted from 0: prepare the folder again"
            )
        most_of_question, most_of_passage = self._longest
        return (
            self._cut(question, most_of_question),
            [self._cut(passage, most_of_passage) for passage in passages],
            evidence,
        )

    def _cut(self, tokens: Tensor, longest: int) -> Tensor:
        read = self._frame(tokens.long())[: longest - 1]
        return torch.cat([read, torch.tensor([self._eos])])


def _identity(tokens: Tensor) -> bytes:
    return tokens.numpy().tobytes()
