"""Long documents as overlapping windows, each a passage."""

from collections.abc import Iterable, Iterator

import regex

from genft_fairseq.data.fid_json import Passage
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
