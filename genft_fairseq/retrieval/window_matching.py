"""Which windows hold the answer of each question."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from genft_fairseq.data.answer_search import AnswerSearch
from genft_fairseq.data.fid_json import Example, Passage


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
        """Pass windows through, given with their documents, and look at each."""
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
