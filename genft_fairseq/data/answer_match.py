"""Whether a passage holds an answer, as open-domain question answering decides it."""

import unicodedata
from collections.abc import Iterable

import regex

# Words, and single other signs: what DPR (Karpukhin et al., 2020) takes for tokens.
_TOKEN = regex.compile(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]")
# Scripts that write words without spaces, or with endings attached to them.
_ATTACHED = regex.compile(r"[\p{Hangul}\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}]")


def contains_answer(text: str, answers: Iterable[str]) -> bool:
    """Tell whether a text holds one of the answers as consecutive tokens, whatever their case.

    An answer in a script whose words have no spaces between them, or endings attached (Korean,
    Chinese, Japanese, Thai, ...), is looked for as a string instead.

    Args:
        text: of a passage.
        answers: right answers; one without any token is never found.
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
    """Tell whether an answer is looked for as a string, for want of spaces between its words."""
    return bool(_ATTACHED.search(answer))


def attached_form(tokens: Iterable[str]) -> str:
    """Join tokens to the string that such answers are looked for in.

    Composed again: a Korean syllable must not be found in one that goes on with a final consonant.
    """
    return unicodedata.normalize("NFC", "".join(tokens))
