"""``--bpe hugging_face``: the tokeniser of an imported encoder-decoder for fairseq's commands."""

from dataclasses import dataclass, field
from pathlib import Path

from fairseq.data.encoders import register_bpe
from fairseq.dataclass import FairseqDataclass

from genft_fairseq.data.model_tokeniser import ModelTokeniser
from genft_fairseq.errors import UserError


@dataclass
class HuggingFaceBPEConfig(FairseqDataclass):
    hugging_face_tokeniser: str = field(
        default="", metadata={"help": "folder of genft import-hf, or data prepared for its model"}
    )


@register_bpe("hugging_face", dataclass=HuggingFaceBPEConfig)
class HuggingFaceBPE:
    """Encodes what the model reads, and decodes what it writes."""

    def __init__(self, cfg: HuggingFaceBPEConfig):
        if not cfg.hugging_face_tokeniser:
            raise UserError(
                "--bpe hugging_face needs --hugging-face-tokeniser DIR, made by genft import-hf"
            )
        self.tokeniser = ModelTokeniser.read(Path(cfg.hugging_face_tokeniser))

    def encode(self, x: str) -> str:
        """Return the symbols of a text, the first ones of its frame included."""
        return " ".join(self.tokeniser.encode_source(x))

    def decode(self, x: str) -> str:
        """Return the text of symbols."""
        return self.tokeniser.decode(x.split())
