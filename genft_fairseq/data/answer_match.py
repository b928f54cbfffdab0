"""Whether a passage contains an answer, as open-domain question answering defines it.

``contains_answer`` follows DPR (Karpukhin et al., 2020): an answer is found as consecutive tokens,
whatever their case.  ``AnswerSearch`` gives the same result for many questions in one pass.

Deviation: an answer in a script without spaces between words, or with attached endings (Korean,
Chinese, Japanese, Thai, ...), is searched as a string.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

import regex

# DPR's tokens: words, and single other signs.
_TOKEN = regex.compile(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]")

# Scripts without spaces between words, or with attached endings.
_ATTACHED = regex.compile(r"[\p{Hangul}\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}]")


def contains_answer(text: str, answers: Iterable[str]) -> bool:
    """Tell whether a text contains one of the answers, as tokens or as a string; see the module.

    Args:
        text: of a passage.
        answers: correct answers; one without a token is never found.
    """
    tokens = answer_tokens(text)
    joined = f" {' '.join(tokens)} "
    for answer in answers:
        wanted = answer_tokens(answer)
        if not wanted:
            continue
        if is_attached(answer):
            if attached_form(wanted) in attached_form(tokens):
                return True
        elif f" {' '.join(wanted)} " in joined:
            return True
    return False


def answer_tokens(text: str) -> list[str]:
    """Split a text into lower-case tokens of Unicode's canonical decomposition (NFD)."""
    return _TOKEN.findall(unicodedata.normalize("NFD", text).lower())


def is_attached(answer: str) -> bool:
    """Tell whether an answer is searched as a string, for its script has no spaces."""
    return bool(_ATTACHED.search(answer))


def attached_form(tokens: Iterable[str]) -> str:
    """Join tokens to the string in which such answers are searched.

    Composed again (NFC): a Korean syllable must not match one with a further final consonant.
    """
    return unicodedata.normalize("NFC", "".join(tokens))


class AnswerSearch:
    """Finds the questions whose answer a text contains, as ``contains_answer`` does.

    Args:
        answers: the correct answers of each question.
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
        """Return the numbers of the questions whose answer a text contains."""
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
