"""The criterions, registered with fairseq by being imported."""

from genft_fairseq.criterions import (
    first_token_auxiliary,
    generative_rollout,
    in_batch_negatives,
    minimum_risk,
    scalegrad,
    sequence_unlikelihood,
    unlikelihood,
)

__all__ = [
    "first_token_auxiliary",
    "generative_rollout",
    "in_batch_negatives",
    "minimum_risk",
    "scalegrad",
    "sequence_unlikelihood",
    "unlikelihood",
]
