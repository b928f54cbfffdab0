"""The models, registered with fairseq by being imported."""

from genft_fairseq.models import bi_encoder, fid_t5, fid_transformer, gpt2, hugging_face

__all__ = ["bi_encoder", "fid_t5", "fid_transformer", "gpt2", "hugging_face"]
