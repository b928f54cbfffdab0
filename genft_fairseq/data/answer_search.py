"""Which of many questions' answers a text holds, found in one pass over the text."""

from collections import defaultdict
from collections.abc import Sequence

from genft_fairseq.data.answer_match import answer_tokens, attached_form, is_attached


class AnswerSearch:
    """Says for every text what ``contains_answer`` would say of each question.

    Args:
        answers: the right answers of each question.
    """

    def __init__(self, answers: Sequence[Sequence[str]]):
        # By their first token, and by their first two characters: few are compared in full.
        self._by_token: dict[str, list[tuple[list[str], int]]] = defaultdict(list)
        self._by_characters: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for question, given in enumerate(answers):
            for answer in given:
                wanted = answer_tokens(answer)
                if not wanted:
                    continue
                if is_attached(answer):
                    joined = attached_form(wanted)
                    self._by_characters[joined[:2]].append((joined, question))
                else:
                    self._by_token[wanted[0]].append((wanted, question))

    def questions(self, text: str) -> set[int]:
        """Return the numbers of the questions whose answer a text holds."""
        tokens = answer_tokens(text)
        found = set()
        for start, token in enumerate(tokens):
            for wanted, question in self._by_token.get(token, ()):
                if tokens[start : start + len(wanted)] == wanted:
                    found.add(question)
        if self._by_characters:
            joined = attached_form(tokens)
            for start in range(len(joined)):
                for length in (1, 2):
                    for answer, question in self._by_characters.get(
                        joined[start : start + length], ()
                    ):
                        if joined.startswith(answer, start):
                            found.add(question)
        return found
