"""The source lines of a Fusion-in-Decoder data folder: a question and its passages in a row.

One line holds ``<question> q <title> t <context> p <title> t <context> p ...``, the best passage
first; what a model reads of it are the pairs ``<question> q <title> t <context> p </s>``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from fairseq.data import Dictionary
from torch import Tensor

from genft_fairseq.errors import UserError

QUESTION, TITLE, CONTEXT = "<question>", "<title>", "<context>"


def passage_symbol(number: int) -> str:
    """Return the symbol that names a passage, counted from 1; 0: none of them."""
    return f"<passage:{number}>"


def marker_symbols(passages: int) -> list[str]:
    """List the symbols of a dictionary for so many passages a question, and ``<passage:0>``."""
    return [QUESTION, TITLE, CONTEXT, *map(passage_symbol, range(passages + 1))]


@dataclass(frozen=True)
class Markers:
    """The symbols between the parts of a line, as ids of a dictionary.

    Attributes:
        passages: of ``<passage:0>``, ``<passage:1>``, ...; as many as the dictionary holds.
    """

    question: int
    title: int
    context: int
    passages: tuple[int, ...]

    @classmethod
    def of(cls, dictionary: Dictionary, name: str) -> "Markers":
        """Find them.

        Args:
            dictionary: of the source.
            name: of its file, for the message.

        Raises:
            UserError: the dictionary lacks one.
        """
        missing = [symbol for symbol in (QUESTION, TITLE, CONTEXT) if symbol not in dictionary]
        if missing:
            raise UserError(
                f"{name} has no symbol {', '.join(missing)}: make the data folder with "
                "data-prep/prepare-fid.sh"
            )
        numbered: list[int] = []
        while (symbol := passage_symbol(len(numbered))) in dictionary:
            numbered.append(dictionary.index(symbol))
        question, title, context = map(dictionary.index, (QUESTION, TITLE, CONTEXT))
        return cls(question, title, context, tuple(numbered))


def require_pairs(evidence: Any, name: str) -> None:
    """Refuse alignments that are no pairs: 0 and the number of a passage.

    Args:
        evidence: for each example (2 * k,).
        name: begins the message.

    Raises:
        UserError: one of them has an odd length.
    """
    sizes = getattr(evidence, "sizes", None)
    for number, size in enumerate(map(len, evidence) if sizes is None else sizes):
        if size % 2:
            raise UserError(
                f"{name}: the alignment of example {number} is of {size} numbers, which are no "
                "pairs: prepare the folder again"
            )


def split_line(line: Tensor, markers: Markers, eos: int) -> tuple[Tensor, list[Tensor]]:
    """Split a line into its question and its passages.

    Args:
        line: (L,), token ids, with or without the end of sentence.
        markers: of its dictionary.
        eos: the end of sentence.

    Returns:
        the question with its marker, and each passage from its ``<title>`` on; no passage where the
        line holds no title.
    """
    if len(line) and line[-1] == eos:
        line = line[:-1]
    starts = line.eq(markers.title).nonzero()[:, 0].tolist()
    question, *passages = (line[start:end] for start, end in pairwise([0, *starts, len(line)]))
    return question, passages


def pair_sizes(line: Tensor, markers: Markers, eos: int) -> tuple[int, Tensor]:
    """Measure a line without cutting it up.

    Args:
        line: (L,), token ids.
        markers: of its dictionary.
        eos: the end of sentence.

    Returns:
        the tokens of the question, and (N,) those of each passage; see ``split_line``.
    """
    length = len(line) - int(len(line) > 0 and bool(line[-1] == eos))
    starts = line.eq(markers.title).nonzero()[:, 0]
    if len(starts) == 0:
        return length, starts
    return int(starts[0]), torch.diff(starts, append=starts.new_tensor([length]))


def pairs_of(
    question: Tensor,
    passages: Sequence[Tensor],
    eos: int,
    longest: int = 0,
    names: Sequence[int] = (),
) -> list[Tensor]:
    """Join the question with each passage.

    Args:
        question: (Q,), with its marker.
        passages: each from its ``<title>`` on; none: the question is read alone.
        eos: put at the end of each pair.
        longest: tokens that are kept of a passage; 0: all.
        names: the symbol that stands before each passage and names it; none: no such symbol.

    Returns:
        a pair for each passage, at least one.
    """
    end = question.new_tensor([eos])
    if not passages:
        return [torch.cat([question, end])]
    cut = [passage[:longest] if longest else passage for passage in passages]
    if not names:
        return [torch.cat([question, passage, end]) for passage in cut]
    named = zip(names, cut, strict=False)
    return [torch.cat([question, question.new_tensor([name]), p, end]) for name, p in named]
