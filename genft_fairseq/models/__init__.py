"""The models, registered with fairseq by being imported."""

from genft_fairseq.models import bi_encoder, gpt2  # noqa: F401
from genft_fairseq.models.fid import t5, transformer  # noqa: F401
from genft_fairseq.models.huggingface import model  # noqa: F401
