"""The source lines of a Fusion-in-Decoder data folder: a question and its passages in one line.

A line has one of two formats, which the folder's manifest names.  With ``--frame symbols``::

    <question> q <title> t <context> p <title> t <context> p ...

and the model reads the pairs ``<question> q <title> t <context> p </s>``.  With ``--frame text``,
as the authors' readers were trained (facebookresearch/FiD, src/data.py)::

    question: q </s> title: t context: p </s> title: t context: p ...

and the pairs are ``question: q title: t context: p </s>``.  The best passage is the first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary
from torch import Tensor

from genft_fairseq.data.prepared_tokeniser import NAME, read_recipe
from genft_fairseq.errors import UserError

QUESTION, TITLE, CONTEXT = "<question>", "<title>", "<context>"
# The words before the parts in the text format.
WORDS = {"question": "question:", "title": "title:", "context": "context:"}


def passage_symbol(number: int) -> str:
    """Return the symbol that names a passage, counted from 1; 0: none of them."""
    return f"<passage:{number}>"


def marker_symbols(passages: int) -> list[str]:
    """List the symbols of a dictionary for so many passages a question, and ``<passage:0>``."""
    return [QUESTION, TITLE, CONTEXT, *map(passage_symbol, range(passages + 1))]


@dataclass(frozen=True)
class Markers:
    """The ids that separate the parts of a line.

    Attributes:
        question: the symbol before a question; in the text format, ``</s>``.
        title: the symbol before a title; in the text format, the ``</s>`` between passages.
        context: the symbol before the text of a passage; in the text format, ``</s>``.
        passages: of ``<passage:0>``, ``<passage:1>``, ...; as many as the dictionary holds.
        text: the lines have the text format.
    """

    question: int
    title: int
    context: int
    passages: tuple[int, ...]
    text: bool = False

    @classmethod
    def of(cls, dictionary: Dictionary, name: str, text: bool = False) -> "Markers":
        """Find them.

        Args:
            dictionary: of the source.
            name: of its file, for the message.
            text: of the frame; see ``has_text_frame``.

        Raises:
            UserError: the dictionary lacks one.
        """
        numbered: list[int] = []
        while (symbol := passage_symbol(len(numbered))) in dictionary:
            numbered.append(dictionary.index(symbol))
        if text:
            end = dictionary.eos()
            return cls(end, end, end, tuple(numbered), text)
        missing = [symbol for symbol in (QUESTION, TITLE, CONTEXT) if symbol not in dictionary]
        if missing:
            raise UserError(
                f"{name} has no symbol {', '.join(missing)}: make the data folder with "
                "data-prep/prepare-fid.sh; one of --frame text is for --task fid, and told by its "
                f"{NAME}"
            )
        question, title, context = map(dictionary.index, (QUESTION, TITLE, CONTEXT))
        return cls(question, title, context, tuple(numbered))

    def encode(
        self, part: str, text: str, subwords: Callable[[str], str], dictionary: Dictionary
    ) -> Tensor:
        """Encode a part of a pair, with its marker or word before it.

        Args:
            part: *question*, *title* or *context*.
            text: of it; a word that is a marker becomes unknown.
            subwords: splits text into the symbols of the dictionary.
            dictionary: of the source.

        Returns:
            (L,), int64.
        """

        def ids_of(words: str) -> Tensor:
            return dictionary.encode_line(
                subwords(words), add_if_not_exist=False, append_eos=False
            ).long()

        ids = ids_of(text)
        special = torch.tensor([self.question, self.title, self.context, *self.passages])
        ids[torch.isin(ids, special)] = dictionary.unk()
        opening = ids_of(WORDS[part]) if self.text else torch.tensor([getattr(self, part)])
        return torch.cat([opening, ids])


def has_text_frame(folder: str | Path) -> bool:
    """Tell whether the lines of a data folder have the text format, by its manifest."""
    found = read_recipe(Path(folder))
    return found is not None and "--frame text" in found[0]


def require_pairs(evidence: Any, name: str) -> None:
    """Refuse alignments that are not pairs of 0 and the number of a passage.

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
        the question with its marker, and the passages, each from ``<title>`` or *title:* on.
    """
    if len(line) and line[-1] == eos:
        line = line[:-1]
    starts = line.eq(markers.title).nonzero()[:, 0].tolist()
    question, *passages = (line[start:end] for start, end in pairwise([0, *starts, len(line)]))
    return question, [passage[1:] for passage in passages] if markers.text else passages


def pair_sizes(line: Tensor, markers: Markers, eos: int) -> tuple[int, Tensor]:
    """Measure a line without cutting it up.

    Args:
        line: (L,), token ids.
        markers: of its dictionary.
        eos: the end of sentence.

    Returns:
        the tokens of the question, and (N,) those of each passage; see ``split_line``.

    Raises:
        UserError: the line has the other format.
    """
    if len(line) and bool(line[0] == markers.question) == markers.text:
        frame = "text" if markers.text else "symbols"
        raise UserError(
            f"the data were not prepared with prepare-fid.sh --frame {frame}: --frame text needs "
            f"--task fid, and {NAME} in the data folder"
        )
    if len(line) and line[-1] == eos:
        line = line[:-1]
    starts = line.eq(markers.title).nonzero()[:, 0]
    if len(starts) == 0:
        return len(line), starts
    sizes = torch.diff(starts, append=starts.new_tensor([len(line)]))
    return int(starts[0]), sizes - int(markers.text)  # without the </s> before each


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
        passages: each with its title; none: the question is read alone.
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
