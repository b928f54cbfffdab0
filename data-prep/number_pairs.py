"""English-German sentence pairs about numbers, split by what they are about."""

import random
from collections import defaultdict

from carrier_sentences import ranked
from number_sentences import KINDS, Pair
from spoken_numbers import english_cardinal, german_cardinal

TRAIN_PAIRS = 15_000
HELD_OUT_PAIRS = 500


def _basics() -> list[Pair]:
    """The words that all numbers are made of: they are for learning, never for testing."""
    cardinals = [(english_cardinal(value), german_cardinal(value)) for value in range(100)]
    ordinals = [ranked(0, rank, place=False) for rank in range(1, 100)]
    return [Pair(english, german) for english, german in cardinals + ordinals]


def number_pairs(seed: int) -> dict[str, list[Pair]]:
    """Return ``{split: pairs}``: 15,000 for train, 500 each for valid and test.

    No English sentence is there twice, no German one either, and no group (see :class:`Pair`) is in
    two splits. The order is random.
    """
    rng = random.Random(seed)
    makers = [maker for maker, weight in KINDS for _ in range(weight)]
    basics = _basics()
    seen = {text for pair in basics for text in (pair.english, pair.german)}
    groups: defaultdict[tuple[object, ...], list[Pair]] = defaultdict(list)
    missing = TRAIN_PAIRS + 2 * HELD_OUT_PAIRS - len(basics)
    while missing:
        pair = rng.choice(makers)(rng)
        if pair.english not in seen and pair.german not in seen:
            seen.update((pair.english, pair.german))
            groups[pair.group].append(pair)
            missing -= 1
    splits: dict[str, list[Pair]] = {"train": basics, "valid": [], "test": []}
    keys = list(groups)
    rng.shuffle(keys)
    for key in keys:
        for split in ("test", "valid", "train"):
            if split == "train" or len(splits[split]) + len(groups[key]) <= HELD_OUT_PAIRS:
                splits[split].extend(groups[key])
                break
    for pairs in splits.values():
        rng.shuffle(pairs)
    return splits
