"""Documents cut into overlapping windows, each a passage, and the windows that hold an answer."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import regex

from genft_fairseq.data.answer_match import AnswerSearch
from genft_fairseq.data.fid_json import Example, Passage
from genft_fairseq.errors import check_range

_LETTER = regex.compile(r"\p{L}")
_SPACELESS = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
_CHARACTER = regex.compile(r"\X")  # with its accents and vowel signs


def check_windows(window: int, stride: int) -> None:
    """Refuse windows that would leave words out.

    Raises:
        UserError: a size is out of range.
    """
    check_range("--window", window, window >= 1, "[1, inf)")
    check_range("--stride", stride, 1 <= stride <= window, f"[1, --window], here [1, {window}]")


def windows(text: str, window: int, stride: int) -> list[str]:
    """Cut a text into overlapping windows of words; no word is cut.

    A window begins every ``stride`` words.  The last one ends with the text and is as long as the
    others, so that it overlaps more; a text of fewer words is one window.

    Words are what white space separates.  Where more than half of the letters of the text belong to
    scripts that put none between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese), windows are
    of so many characters instead.  Korean has spaces, and windows of words.

    Args:
        text: of a document.
        window: words, or characters, in a window.
        stride: from the beginning of one to that of the next; at most ``window``.

    Returns:
        the windows in order, white space in them normalised; none for a text of white space.
    """
    units, joint = text.split(), " "
    if _is_spaceless(text):
        units, joint = _CHARACTER.findall(" ".join(units)), ""
    last = max(0, len(units) - window)
    starts = [*range(0, last, stride), last] if units else []
    return [joint.join(units[start : start + window]).strip() for start in starts]


def _is_spaceless(text: str) -> bool:
    return 2 * len(_SPACELESS.findall(text)) > len(_LETTER.findall(text))


def document_windows(
    documents: Iterable[Passage], window: int, stride: int
) -> Iterator[tuple[Passage, str]]:
    """Cut documents into passages with ids ``document:0``, ``document:1``, ...

    Returns:
        each passage, and the id of its document.
    """
    for document in documents:
        identity = str(document.id)
        for number, text in enumerate(windows(document.text, window, stride)):
            yield Passage(document.title, text, f"{identity}:{number}"), identity


class WindowMatches:
    """Collects, for each question, windows with or without its answer.

    For a question whose ``ctxs`` name documents (by their ids), these are all windows of those
    documents; for another one, all windows that hold an answer, whatever document they are of.

    Args:
        questions: with answers.
        most: windows kept for a question, the first ones.
    """

    def __init__(self, questions: Sequence[Example], most: int):
        self._questions, self._most = questions, most
        self.passages, self.documents = 0, 0
        self._document: str | None = None
        self._search = AnswerSearch([question.answers for question in questions])
        self._found: list[list[dict[str, Any]]] = [[] for _ in questions]
        self._of_document: dict[str, list[int]] = {}
        self._anywhere = set()
        for number, question in enumerate(questions):
            named = {passage.id for passage in question.passages if passage.id is not None}
            for document in named:
                self._of_document.setdefault(document, []).append(number)
            if not named:
                self._anywhere.add(number)

    def watch(self, passages: Iterable[tuple[Passage, str]]) -> Iterator[Passage]:
        """Search each window, given with its document, for answers, and yield it."""
        for passage, document in passages:
            self.passages += 1
            self.documents += document != self._document
            self._document = document
            holding = self._search.questions(passage.text)
            named = self._of_document.get(document, [])
            for number in sorted({*named, *(holding & self._anywhere)}):
                if len(self._found[number]) < self._most:
                    match = {**passage.as_json(), "has_answer": number in holding}
                    self._found[number].append(match)
            yield passage

    def as_json(self) -> Iterator[dict[str, Any]]:
        """Return the questions in Fusion-in-Decoder's public format, in order."""
        for question, found in zip(self._questions, self._found, strict=True):
            yield {**question.as_json(), "ctxs": found}

    def answered(self) -> int:
        """Return how many questions have a window that holds an answer."""
        return sum(any(match["has_answer"] for match in found) for found in self._found)
