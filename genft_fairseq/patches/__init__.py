"""The changes made to fairseq, one file a part of fairseq; ``docs/patches.md`` lists them."""

from genft_fairseq import errors
from genft_fairseq.patches import (
    alignments,
    checkpoints,
    data,
    decoding,
    distributed,
    iterators,
    options,
    precision,
    preprocessing,
    registry,
    safe_loading,
    tasks,
    trainer,
)

PARTS = (
    *(options, distributed, preprocessing, data, iterators, tasks, trainer, precision),
    *(checkpoints, safe_loading, decoding, alignments),
)


def patches() -> list[registry.Patch]:
    """Return all changes in the order in which they are made."""
    order = [part.__name__ for part in PARTS]
    return sorted(registry.PATCHES, key=lambda patch: order.index(patch.part))


def apply() -> None:
    """Make all changes; a second call changes nothing."""
    for patch in patches():
        patch.apply()
    errors.install_one_line_errors()
