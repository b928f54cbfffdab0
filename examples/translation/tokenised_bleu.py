"""BLEU as most papers on translation report it, to compare with them: on Moses' words.

It depends on the tokeniser and on what was done to the reference; between systems of one's own
sacreBLEU's figure is the one to use.
"""

import re
from collections.abc import Sequence

import sacrebleu
from sacremoses import MosesTokenizer

# "rot-grün" counts as three words in the figures published for WMT14 English-German.
HYPHEN = re.compile(r"(?<=\S)-(?=\S)")


def tokenised_bleu(
    translations: Sequence[str],
    references: Sequence[str],
    language: str,
    split_compounds: bool = False,
    lowercase: bool = False,
) -> float:
    """Return corpus BLEU in [0, 100] of detokenised translations, both sides tokenised alike."""
    tokeniser = MosesTokenizer(lang=language)

    def words(text: str) -> str:
        line = tokeniser.tokenize(text, return_str=True, escape=False)
        return HYPHEN.sub(" - ", line) if split_compounds else line

    # force: that the text is tokenised is meant.
    bleu = sacrebleu.BLEU(tokenize="none", lowercase=lowercase, force=True)
    sides = [[words(text) for text in texts] for texts in (translations, references)]
    return bleu.corpus_score(sides[0], [sides[1]]).score
