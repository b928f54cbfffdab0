"""The tasks, registered with fairseq by being imported."""

from genft_fairseq.tasks import fid, retrieval, scheduled_sampling

__all__ = ["fid", "retrieval", "scheduled_sampling"]
