"""``--bpe hugging_face`` and ``--tokenizer prepared``, registered with fairseq.

The first is the tokeniser of an imported model, the second the words of a folder of ``data-prep``.
"""

from dataclasses import dataclass, field
from pathlib import Path

from fairseq.data.encoders import register_bpe, register_tokenizer
from fairseq.dataclass import FairseqDataclass

from genft_fairseq.data.huggingface_tokeniser import ModelTokeniser
from genft_fairseq.data.prepared_tokeniser import NAME, joiner, read_preparation, splitter
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


@dataclass
class PreparedTokenizerConfig(FairseqDataclass):
    source_lang: str = field(default="en", metadata={"help": "source language"})
    target_lang: str = field(default="en", metadata={"help": "target language"})
    prepared_data: str = field(
        default="", metadata={"help": f"data folder whose {NAME} says how text became words"}
    )


@register_tokenizer("prepared", dataclass=PreparedTokenizerConfig)
class PreparedTokenizer:
    """Splits what the model reads into words, and makes text of those that it writes."""

    def __init__(self, cfg: PreparedTokenizerConfig):
        folder = Path(cfg.prepared_data)
        preparation = read_preparation(folder) if cfg.prepared_data else None
        if preparation is None:
            raise UserError(
                f"--tokenizer prepared needs --prepared-data DIR, which holds {NAME} of data-prep, "
                f"but was given {cfg.prepared_data!r}"
            )
        self._split = splitter(preparation, folder, cfg.source_lang)
        self._join = joiner(preparation, cfg.target_lang)

    def encode(self, x: str) -> str:
        """Return the words of a text, between spaces."""
        return self._split(x)

    def decode(self, x: str) -> str:
        """Return the text of words."""
        return self._join(x)
