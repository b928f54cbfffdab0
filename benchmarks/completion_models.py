"""The same random GPT-2 in transformers' model and in fairseq's, and text to complete with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq.data import indexed_dataset
from torch import Tensor

from genft_fairseq.convert.gpt2 import (
    SYMBOLS,
    Settings,
    require_transformers,
    to_fairseq,
    write_gpt2,
)
from genft_fairseq.evaluation.loading import LoadedModel, load_language_model
from genft_fairseq.models.gpt2 import POSITIONS

SPLIT = "test"
# Standard deviation of the logits.  A normal distribution as wide leaves about 3.3 of the 10.8 nats
# of 50,257 tokens: next tokens are about as certain as GPT-2's, and the two likeliest far apart.
LOGITS_DEVIATION = 3.9


@dataclass
class Twins:
    """One model twice, and the folder of what ``evaluate-lm`` reads.

    Attributes:
        ours: fairseq's model, with its task.
        theirs: transformers' ``GPT2LMHeadModel``; its number of a token is ours less ``SYMBOLS``.
        folder: the data, and the checkpoint ``model.pt``.
        text: (N, T), windows of the text, in our numbers.
    """

    ours: LoadedModel
    theirs: Any
    folder: Path
    text: Tensor


def build_twins(
    sizes: tuple[int, int, int], vocabulary: int, shape: tuple[int, int], folder: Path
) -> Twins:
    """Write a random model and random text, and load the model in both libraries.

    Args:
        sizes: layers, width and attention heads.
        vocabulary: how many tokens GPT-2 has.
        shape: (N, T), windows of text and tokens in each.
        folder: empty; where to write.

    Raises:
        UserError: transformers is not installed.
    """
    layers, width, heads = sizes
    torch.manual_seed(1)
    theirs = _random_gpt2(sizes, vocabulary)
    settings = Settings(
        vocabulary=vocabulary,
        positions=POSITIONS,
        layers=layers,
        width=width,
        heads=heads,
        inner=4 * width,
        activation="gelu_accurate",
        dropout=0.1,
        attention_dropout=0.1,
    )
    (folder / "dict.txt").write_text("".join(f"{number} 1\n" for number in range(vocabulary)))
    text = torch.randint(SYMBOLS, SYMBOLS + vocabulary, shape)
    _write_text(text, SYMBOLS + vocabulary, folder / SPLIT)
    write_gpt2(settings, to_fairseq(theirs.state_dict(), layers, vocabulary - 1), folder, folder)
    ours = load_language_model(str(folder), str(folder / "model.pt"), cpu=True)
    return Twins(ours, theirs, folder, text)


def _random_gpt2(sizes: tuple[int, int, int], vocabulary: int) -> Any:
    transformers = require_transformers()
    layers, width, heads = sizes
    config = transformers.GPT2Config(
        vocab_size=vocabulary,
        n_positions=POSITIONS,
        n_layer=layers,
        n_embd=width,
        n_head=heads,
        bos_token_id=None,
        eos_token_id=None,  # no text ends early, here as there
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for embedding in (model.transformer.wte, model.transformer.wpe):
            embedding.weight.normal_(std=LOGITS_DEVIATION / width**0.5)
        # Input and output embeddings are one matrix: without other signs in between, the likeliest
        # token would always be the last one read.
        signs = torch.randint(0, 2, (width,)) * 2.0 - 1.0
        model.transformer.ln_f.weight.copy_(signs)
    return model


def _write_text(text: Tensor, symbols: int, path: Path) -> None:
    """Write a split as ``fairseq-preprocess`` does, an item a window."""
    builder = indexed_dataset.make_builder(f"{path}.bin", impl="mmap", vocab_size=symbols)
    for window in text:
        builder.add_item(window)
    builder.finalize(f"{path}.idx")
