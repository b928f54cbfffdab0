"""The criterions, registered with fairseq by being imported."""

from genft_fairseq.criterions import first_token_auxiliary, scalegrad, unlikelihood

__all__ = ["first_token_auxiliary", "scalegrad", "unlikelihood"]
