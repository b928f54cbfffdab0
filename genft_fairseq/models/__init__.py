"""The models, registered with fairseq by being imported."""

from genft_fairseq.models import bi_encoder, fid_transformer, gpt2

__all__ = ["bi_encoder", "fid_transformer", "gpt2"]
