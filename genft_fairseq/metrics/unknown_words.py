"""Unknown words in text that is scored: they match nothing, on either side.

fairseq writes a word that its dictionary does not know as ``<unk>``, in a reference as ``<<unk>>``;
SentencePiece writes ``⁇``.  A metric of characters would match these with each other, and with
ordinary words that share their letters; sacreBLEU's tokenisers would take them apart.
"""

import re
from collections.abc import Iterable

# Of no text: the last two code points for private use.  As long as <unk>, which is about a word.
UNKNOWN = {"candidate": "\U0010fffc" * 5, "reference": "\U0010fffd" * 5}

MARK = re.compile("(" + "|".join(UNKNOWN.values()) + ")")

_WRITTEN = re.compile(r"<<unk>>|<unk>|⁇")


def marked(texts: Iterable[str], side: str) -> list[str]:
    """Put a word in the place of each unknown one that no text of the other side has.

    Args:
        texts: as they were written.
        side: ``candidate`` or ``reference``.
    """
    return [_WRITTEN.sub(UNKNOWN[side], text) for text in texts]


def known_parts(text: str) -> list[str]:
    """Return what stands before, between and after the unknown words of a text."""
    return _WRITTEN.split(text)
