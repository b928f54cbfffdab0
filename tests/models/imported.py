"""A tiny encoder-decoder of transformers', and the same behind fairseq's interfaces."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from models.tiny_hugging_face import save
from torch import Tensor

from genft_fairseq.convert import encoder_decoder, encoder_decoder_checkpoint
from genft_fairseq.convert.encoder_decoder import read_tokeniser
from genft_fairseq.models.huggingface import architectures
from genft_fairseq.models.huggingface.description import Description
from genft_fairseq.models.huggingface.model import HuggingFaceModel

BOS, PAD, EOS, UNK = range(4)


@dataclass
class Imported:
    """Both models, and what turns the tokens of the one into those of the other."""

    theirs: Any  # transformers', with its own attention
    ours: HuggingFaceModel
    described: Description

    def batch(self, B: int = 3, S: int = 9, T: int = 6) -> "Batch":
        """Random sources with padding on the left, as fairseq's task has it, and targets."""
        generator = torch.Generator().manual_seed(3)
        source = torch.randint(4, len(self.described.source), (B, S), generator=generator)
        target = torch.randint(4, len(self.described.target), (B, T), generator=generator)
        source[:, -1] = target[:, 0] = EOS
        for row in range(1, B):
            source[row, :row] = PAD
        return Batch(self, source, target)

    def to_ids(self, tokens: Tensor, side: str) -> Tensor:
        """transformers' ids of fairseq's tokens, none of which it lacks."""
        ids = torch.tensor(getattr(self.described, side).rows)[tokens]
        assert (ids >= 0).all()
        return ids

    @property
    def known(self) -> Tensor:
        """fairseq's tokens of the target that transformers has."""
        return (torch.tensor(self.described.target.rows) >= 0).nonzero()[:, 0]


@dataclass
class Batch:
    models: Imported
    source: Tensor  # (B, S), fairseq's
    target: Tensor  # (B, T), what the decoder reads

    def their_logits(self) -> Tensor:
        return self.models.theirs(**self.their_input()).logits

    def their_input(self) -> dict[str, Tensor]:
        """transformers pads on the right, and begins with a token of its own."""
        models = self.models
        texts = [models.to_ids(row[row != PAD], "source") for row in self.source]
        longest = max(map(len, texts))
        ids = torch.zeros(len(texts), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, text in enumerate(texts):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        target = self.target.clone()
        target[:, 0] = models.described.target.index(models.described.start)
        read = models.to_ids(target, "target")
        return {"input_ids": ids, "attention_mask": mask, "decoder_input_ids": read}

    def our_logits(self) -> Tensor:
        return self.models.ours(self.source, None, self.target)[0]


def describe(folder: Path) -> tuple[Any, Description]:
    """Load a folder as ``genft import-hf`` does."""
    two = (folder / "target").is_dir()
    source = read_tokeniser(folder / "source" if two else folder, "--tokeniser")
    target = read_tokeniser(folder / "target", "--target-tokeniser") if two else source
    model, content = encoder_decoder.load(folder)
    return model, encoder_decoder.describe(model, content, source, target, (), str(folder))


def imported(folder: Path, kind: str, **config: Any) -> Imported:
    """Make a tiny model; the one behind fairseq's interfaces went by way of a folder."""
    save(folder, kind, **config)
    loaded, described = describe(folder)
    numbered = architectures.build(described)
    architectures.renumber(loaded, numbered, described, "fairseq")
    dictionaries = [
        encoder_decoder_checkpoint.dictionary_of(side)
        for side in (described.source, described.target)
    ]
    ours = HuggingFaceModel.of(numbered, described, *dictionaries).eval()
    theirs = type(loaded).from_pretrained(folder, attn_implementation="eager").eval()
    assert isinstance(theirs, transformers.PreTrainedModel)
    return Imported(theirs, ours, described)
