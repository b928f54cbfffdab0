"""Unknown words in text that is scored: they match nothing, on either side.

fairseq writes a word that its dictionary does not know as ``<unk>``, in a reference as ``<<unk>>``;
SentencePiece writes ``⁇``.  A metric of characters would match these with each other, and with
ordinary words that share their letters; sacreBLEU's tokenisers would take them apart.
"""

from functools import wraps
from typing import Any

from genft_fairseq.metrics.unknown_words import marked


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
