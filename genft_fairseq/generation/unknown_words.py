"""Unknown words in text that is scored: they match nothing, on either side.

fairseq writes a word that its dictionary does not know as ``<unk>``, in a reference as ``<<unk>>``;
SentencePiece writes ``⁇``.  A metric of characters would match these with each other, and with
ordinary words that share their letters; sacreBLEU's tokenisers would take them apart.
"""

import re
from collections.abc import Iterable
from functools import wraps
from typing import Any

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


def apply() -> None:
    """Mark the unknown words of what ``--scoring`` of fairseq-generate is given as text.

    Its own BLEU, of token ids, knows them apart.  A second call changes nothing.
    """
    from fairseq import scoring

    build = scoring.build_scorer
    if getattr(build, "genft", False):
        return

    @wraps(build)
    def build_scorer(choice: Any, tgt_dict: Any) -> Any:
        scorer = build(choice, tgt_dict)
        if hasattr(scorer, "add_string"):
            add = scorer.add_string

            def add_marked(ref: str, pred: str) -> None:
                add(*marked([ref], "reference"), *marked([pred], "candidate"))

            scorer.add_string = add_marked
        return scorer

    build_scorer.genft = True  # type: ignore[attr-defined]
    scoring.build_scorer = build_scorer
