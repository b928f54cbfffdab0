"""BM25 over a passage table: Lucene's form of Robertson's weights, with the library bm25s.

For a question's words w, n passages of which n_w contain w, and a passage of l words (mean L) that
contains w f times::

    score = sum_w ln(1 + (n - n_w + 0.5) / (n_w + 0.5)) * f / (f + k1 * (1 - b + b * l / L))

A word that a question repeats counts as often.  ``Words`` splits texts of any script.
"""

import logging
import unicodedata
from array import array
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import regex
import torch

from genft_fairseq.data.fid_json import Passage
from genft_fairseq.data.passages import PassageTable
from genft_fairseq.errors import UserError, check_range
from genft_fairseq.retrieval.dense import Found, top_k
from genft_fairseq.retrieval.index_folder import IndexRecord, check_record

# Lucene's English stop words.
STOPWORDS = frozenset(
    "a an and are as at be but by for if in into is it no not of on or such that the their then "
    "there these they this to was will with".split()
)

_ATTACHED = r"\p{Hangul}\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"

# A run of a script without spaces between all words, or a word of another script.
_STRETCH = regex.compile(
    rf"(?P<attached>[{_ATTACHED}][{_ATTACHED}\p{{M}}ー]*)|[[\p{{L}}\p{{N}}\p{{M}}]--[{_ATTACHED}]]+",
    flags=regex.V1,
)


class Words:
    """A tokeniser: lower-case words, and character bigrams where words are written together.

    Chinese, Japanese, Thai, Lao, Khmer and Burmese have no spaces between words, and Korean
    attaches endings to them: runs of these scripts become overlapping character bigrams, as in
    Lucene's CJK analyser; a single character stays one.

    Args:
        stopwords: leave out English stop words.
        stemming: stem English words (Porter's stemmer).
    """

    def __init__(self, stopwords: bool = True, stemming: bool = False):
        self._left_out = STOPWORDS if stopwords else frozenset()
        self._stem = _stemmer() if stemming else None

    def __call__(self, text: str) -> list[str]:
        """Return the words of a text, in order."""
        words: list[str] = []
        for match in _STRETCH.finditer(unicodedata.normalize("NFKC", text).lower()):
            found = match.group()
            if match["attached"]:
                words.extend(found[i : i + 2] for i in range(max(1, len(found) - 1)))
            elif found not in self._left_out:
                words.append(self._stem(found) if self._stem and found.isascii() else found)
        return words


def _stemmer() -> Callable[[str], str]:
    from nltk.stem.porter import PorterStemmer  # of rouge-score's; its import takes a while

    return lru_cache(maxsize=1 << 16)(PorterStemmer().stem)


@dataclass(frozen=True)
class BM25Options:
    """Options of the tokeniser and of the weights.

    Attributes:
        k1: term-frequency saturation.
        b: length normalisation, from 0 (none) to 1.
        stopwords: leave out English stop words.
        stemming: stem English words.
    """

    k1: float = 1.5
    b: float = 0.75
    stopwords: bool = True
    stemming: bool = False

    def __post_init__(self) -> None:
        check_range("--k1", self.k1, 0 <= self.k1 < float("inf"), "[0, inf)")
        check_range("--b", self.b, 0 <= self.b <= 1, "[0, 1]")


def require_bm25s() -> Any:
    """Return the library.

    Raises:
        UserError: it is not installed.
    """
    try:
        import bm25s
    except ImportError as error:
        raise UserError(
            f"--method bm25 needs the library bm25s ({error}): pip install 'genft_fairseq[qa]'"
        ) from error
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # otherwise it reports every step
    return bm25s


class BM25Index:
    """A BM25 index, in memory or memory-mapped from a folder.

    Args:
        index: of bm25s.
        record: the table and the options of the index.
    """

    def __init__(self, index: Any, record: IndexRecord):
        self._index, self.record = index, record
        options = BM25Options(**record.options)
        self._words = Words(options.stopwords, options.stemming)

    @classmethod
    def build(cls, table: PassageTable, options: BM25Options | None = None) -> "BM25Index":
        """Read a table once, and index the words of its titles and texts.

        Raises:
            UserError: bm25s is not installed, the table is malformed, or no passage has a word.
        """
        options = options or BM25Options()
        bm25s = require_bm25s()
        words = Words(options.stopwords, options.stemming)
        # Numbered in the order of the table: an index is the same whenever it is built.
        vocabulary: dict[str, int] = {}
        passages = [
            array("i", (vocabulary.setdefault(word, len(vocabulary)) for word in words(text)))
            for text in map(indexed_text, table)
        ]
        if not vocabulary:
            raise UserError(f"{table.path}: no passage holds a word to index")
        index = bm25s.BM25(k1=options.k1, b=options.b, method="lucene", backend="numpy")
        index.index((passages, vocabulary), create_empty_token=False, show_progress=False)
        fingerprint = table.fingerprint()
        return cls(index, IndexRecord("bm25", table.path.name, fingerprint, asdict(options)))

    def save(self, folder: Path) -> None:
        """Write the index into an existing folder, its record last."""
        self._index.save(folder, show_progress=False)
        self.record.write(folder)

    @classmethod
    def load(
        cls, folder: Path, table: PassageTable, options: BM25Options | None = None
    ) -> "BM25Index":
        """Memory-map an index.

        Args:
            folder: written by ``save``.
            table: to search; it is read once, to compare it with the index's.
            options: required of the index.

        Raises:
            UserError: it is the index of another table or of other options, or is damaged.
        """
        bm25s = require_bm25s()
        options = options or BM25Options()
        wanted = IndexRecord("bm25", table.path.name, table.fingerprint(), asdict(options))
        record = check_record(folder, wanted, table)
        try:
            index = bm25s.BM25.load(folder, mmap=True, show_progress=False)
            _require_whole(index, record.fingerprint.passages)
        # numpy has no common error for a damaged header.
        except Exception as error:
            raise UserError(
                f"{folder} is damaged ({error}): delete it, and build it again"
            ) from None
        return cls(index, record)

    def search(self, questions: Iterable[str], k: int) -> Found:
        """Find the k best passages of each question; of equal scores the first in the table.

        Passages without any of the words have the score 0, and follow in the order of the table.
        """
        vocabulary = self._index.vocab_dict
        values, numbers = [], []
        for question in questions:
            known = [vocabulary[word] for word in self._words(question) if word in vocabulary]
            scores: np.ndarray = self._index.get_scores_from_ids(known)
            value, number = top_k(torch.from_numpy(scores)[None], k)
            values.append(value)
            numbers.append(number)
        k = min(k, self.record.fingerprint.passages)
        empty = torch.empty(0, k)
        return Found(torch.cat([empty.long(), *numbers]), torch.cat([empty, *values]))


def _require_whole(index: Any, passages: int) -> None:
    """Check what search relies on in a loaded index.

    Raises:
        ValueError: the index is damaged.
    """
    values, numbers = index.scores["data"], index.scores["indices"]
    starts, vocabulary = index.scores["indptr"], index.vocab_dict
    kinds = [(values, "f"), (numbers, "iu"), (starts, "iu")]
    fits = all(array.ndim == 1 and array.dtype.kind in kind for array, kind in kinds)
    fits = fits and np.dtype(index.dtype).kind == "f" and np.dtype(index.int_dtype).kind in "iu"
    if not fits or index.scores["num_docs"] != passages:
        raise ValueError("it is of another kind, or of another number of passages")
    sizes = np.diff(starts.astype(np.int64))
    if starts[0] != 0 or sizes.min() < 0 or {*map(len, (values, numbers))} != {int(starts[-1])}:
        raise ValueError("its parts do not fit together")
    if not all(type(at) is int and 0 <= at < len(sizes) for at in vocabulary.values()):
        raise ValueError("its words are not those of its scores")
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= passages):
        raise ValueError("it names passages that are not there")


def indexed_text(passage: Passage) -> str:
    """Return the text of a passage that is indexed: its title and its text."""
    return f"{passage.title}\n{passage.text}"
