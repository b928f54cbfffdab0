"""Random numbers that depend on what they are for, and on nothing else.

A number is a hash of the seed and of the token's place, not the next number of a stream.  So it is
the same however the sentences are batched, on every device and process, and after a resume.  The
hash is splitmix64 (G. Steele, D. Lea and C. Flood, *Fast Splittable Pseudorandom Number
Generators*, OOPSLA 2014).
"""

from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

# 64-bit constants of splitmix64, as torch's signed integers.
GOLDEN_GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)
MULTIPLIERS = (0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64))
SHIFTS = (30, 27, 31)


class Purpose(IntEnum):
    """Purposes of random numbers, so that two for the same token are independent."""

    GOLD_OR_MODEL = 1
    MIXED_TOKEN = 2
    RANDOM_TOKEN = 3
    KIND_OF_UPDATE = 4


def happens(rate: float) -> bool:
    """Decide about a whole update, the same on every process and in every micro-batch.

    fairseq sets torch's seed to (seed + number of updates) before each update, on every process the
    same: that seed, not the stream that dropout advances, is what the decision hashes.

    Args:
        rate: the probability of True, in [0, 1].
    """
    kind = torch.tensor(int(Purpose.KIND_OF_UPDATE))
    return bool(uniform(torch.initial_seed(), kind) < rate)


def sentence_ids(sample: dict[str, Any]) -> Tensor:
    """Return the ids of a mini-batch's rows in the whole data set, (B,).

    The empty rows that ``--pad-to-fixed-bsz`` adds have no id; here they have -1.
    """
    ids: Tensor = sample["id"]
    missing = sample["target"].size(0) - ids.size(0)
    return torch.cat([ids, ids.new_full((missing,), -1)])


def uniform(seed: int, *place: Tensor | int) -> Tensor:
    """Draw numbers from the uniform distribution over [0, 1), one for each place.

    Args:
        seed: any integer; its lowest 64 bits count.
        place: integers that say what the draw is for, such as sentence, position and candidate;
            integer tensors that broadcast against one another, at least one of them a tensor.

    Returns:
        float64, of the shape that the places broadcast to.
    """
    device = next(part.device for part in place if isinstance(part, Tensor))
    signed = (seed + (1 << 63)) % (1 << 64) - (1 << 63)
    state = _mix(torch.full((), signed, dtype=torch.int64, device=device) + GOLDEN_GAMMA)
    for part in place:
        # Mixed one after the other, so that (1, 2) and (2, 1) are different places.
        state = _mix((state ^ part) + GOLDEN_GAMMA)
    # The upper 53 bits: as many as a float64 holds.
    return _shift_right(state, 11).double() * 2.0**-53


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift_right(x, SHIFTS[0])) * MULTIPLIERS[0]
    x = (x ^ _shift_right(x, SHIFTS[1])) * MULTIPLIERS[1]
    return x ^ _shift_right(x, SHIFTS[2])


def _shift_right(x: Tensor, bits: int) -> Tensor:
    # torch shifts the sign in from the left; splitmix64 shifts zeros in.
    return (x >> bits) & ((1 << (64 - bits)) - 1)
