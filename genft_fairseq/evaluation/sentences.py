"""The sentences of a summary, which ROUGE-Lsum compares, by a rule that needs no model."""

from itertools import pairwise

import regex

# Between sentences, as PreSumm writes summaries; a line feed parts them, too.
MARK = "<q>"

# Signs that a space must follow (of Latin, Arabic, Indic, Ethiopic, Burmese and Tibetan text), and
# those of scripts without spaces.
_END = regex.compile(
    r"""(?P<sign>[.!?…\u061f\u06d4\u0964\u0965\u1362\u104b\u0f0d]+)
        (?P<close>[\p{Pe}\p{Pf}"'“]*) \s+
      | [。！？｡]+ [\p{Pe}\p{Pf}"'“]* \s*""",
    regex.VERBOSE,
)
_OPENING = regex.compile(r"[\p{Ps}\p{Pi}\p{Pf}\"'`„]*")
_LAST_WORD = regex.compile(r"[\p{L}\p{M}\p{N}.]*$")
_INITIALS = regex.compile(r"(\p{L}\.)*\p{L}")
# What stands before a name, and what stands before a number.
_TITLES = frozenset(
    "mr mrs ms dr prof st sen rep gov gen col lt capt sgt hon rev pres supt mme mlle vs".split()
)
_NUMBERED = frozenset(
    "no nos nr fig vol pp art jan feb mar apr jun jul aug sep sept oct nov dec".split()
)


def plain(text: str) -> str:
    """Return a text without the marks between its sentences."""
    return " ".join(filter(None, map(str.strip, regex.split(rf"{MARK}|\n", text))))


def sentences(text: str) -> list[str]:
    """Split a text into sentences: at its marks, or where it has none by a rule.

    A sentence ends at ``.``, ``!``, ``?`` or the like of other scripts, with the quotation marks
    and brackets that close there, before a space, unless a small letter follows; and at the
    full-width signs of Chinese and Japanese, before anything. A full stop ends none after a single
    letter (*J. Smith*, *U.S.*), after some English titles (*Mr.*), and between words that number
    and a number (*No. 5*). A sign between spaces, as in text that is split into words, ends one
    whatever follows.

    Letters of which scripts have no small ones follow any end; abbreviations of other languages
    are not known. No word is cut, so that figures other than ROUGE-Lsum do not change.

    Args:
        text: where it holds ``MARK`` or a line feed, the rule is not applied.

    Returns:
        the sentences without spaces around them; none is empty.
    """
    if MARK in text or "\n" in text:
        parts = regex.split(rf"{MARK}|\n", text)
    else:
        ends = [found.end() for found in _END.finditer(text) if not _goes_on(text, found)]
        borders = [0, *ends, len(text)]
        parts = [text[a:b] for a, b in pairwise(borders)]
    return [part.strip() for part in parts if part.strip()]


def _goes_on(text: str, found: regex.Match[str]) -> bool:
    """Tell whether a sentence does not end where it could."""
    sign, begin = found["sign"], found.start()
    if sign is None:
        return False
    opening = _OPENING.match(text, found.end())
    following = text[opening.end() : opening.end() + 1] if opening else ""
    if len(sign) == 1 and (begin == 0 or text[begin - 1].isspace()):
        return False
    if following.islower():
        return True
    before = _LAST_WORD.search(text, max(0, begin - 40), begin)
    word = before[0] if before else ""
    if sign != "." or found["close"] or not word:
        return False
    if _INITIALS.fullmatch(word) or word.lower() in _TITLES:
        return True
    return following.isdigit() and word.lower() in _NUMBERED
