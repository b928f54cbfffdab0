"""The models, registered with fairseq by being imported."""

from genft_fairseq.models import gpt2

__all__ = ["gpt2"]
