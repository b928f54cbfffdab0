"""The tasks, registered with fairseq by being imported."""

from genft_fairseq.tasks import scheduled_sampling

__all__ = ["scheduled_sampling"]
