"""Real fairseq tasks, models and batches for ``strategies.py``, built without any file.

The models are fresh, but for one thing: those for translation find the end of sentence improbable
everywhere, so that whatever they write has full length.
"""

from argparse import Namespace
from dataclasses import asdict, dataclass
from typing import Any

import torch
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerModel
from fairseq.models.transformer.transformer_legacy import transformer_iwslt_de_en
from fairseq.models.transformer_lm import TransformerLanguageModel, TransformerLanguageModelConfig
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from fairseq.tasks.language_modeling import LanguageModelingConfig, LanguageModelingTask
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from strategy_tables import UNROLLED
from torch import Tensor

from genft_fairseq.tasks.scheduled_sampling import (
    ScheduledSamplingTranslationConfig,
    ScheduledSamplingTranslationTask,
)

# So small that the model stays what it is over all updates; it costs what any other costs.
LEARNING_RATE = 1e-12
UNLIKELY = 50.0  # how far the logit of the end of sentence is lowered
DROPOUT = 0.1
# float32 numbers a layer keeps for the backward pass, for each position and unit of its width.
NUMBERS_KEPT = 60


@dataclass(frozen=True)
class Size:
    """How large a model is."""

    width: int
    ffn: int
    layers: int
    heads: int
    vocabulary: int

    def facts(self) -> dict[str, int]:
        """Return it as the JSON holds it."""
        return asdict(self)


SIZES = {
    "tiny": Size(16, 16, 1, 2, 40),  # for tests
    "small": Size(128, 512, 2, 4, 4000),
    "base": Size(512, 2048, 6, 8, 32000),
}


def unrolled_bytes(size: Size, name: str, B: int, T: int) -> int:
    """Estimate what unrolling keeps for the backward pass, in bytes."""
    assert name in UNROLLED
    positions = B * T * (T + 1) // 2 if name == "unrolled" else B * T
    return positions * size.layers * size.width * NUMBERS_KEPT * torch.float32.itemsize


def dictionary_of(size: Size) -> Dictionary:
    """Return a dictionary of that many entries, fairseq's special symbols among them."""
    dictionary = Dictionary()
    for number in range(size.vocabulary - len(dictionary)):
        dictionary.add_symbol(f"w{number}")
    return dictionary


def build_task(kind: str, dictionary: Dictionary, length: int) -> Any:
    """Build fairseq's own task, "translation" or "language" modelling in blocks of a length."""
    if kind == "translation":
        return TranslationTask(TranslationConfig(), dictionary, dictionary)
    settings = LanguageModelingConfig(tokens_per_sample=length, max_target_positions=length)
    return LanguageModelingTask(settings, dictionary, targets=["future"])


def scheduled_sampling_task(dictionary: Dictionary, mix: str, passes: int) -> Any:
    """Build the task whose every input is the model's own (gold probability 0)."""
    settings = ScheduledSamplingTranslationConfig(mix=mix, sampling_passes=passes)
    return ScheduledSamplingTranslationTask(settings, dictionary, dictionary)


def build_model(kind: str, task: Any, size: Size, length: int) -> Any:
    """Build a Transformer, in training mode."""
    torch.manual_seed(0)
    decoder = {
        "decoder_embed_dim": size.width,
        "decoder_ffn_embed_dim": size.ffn,
        "decoder_layers": size.layers,
        "decoder_attention_heads": size.heads,
        "dropout": DROPOUT,
        "max_target_positions": max(1024, length),
    }
    if kind == "language":
        config = TransformerLanguageModelConfig(
            decoder_input_dim=size.width,
            decoder_output_dim=size.width,
            share_decoder_input_output_embed=True,
            tokens_per_sample=length,
            **decoder,
        )
        return TransformerLanguageModel.build_model(config, task)
    encoder = {name.replace("decoder", "encoder"): value for name, value in decoder.items()}
    encoder.pop("max_target_positions")
    arguments = Namespace(**{**encoder, **decoder}, share_all_embeddings=True)
    arguments.max_source_positions = arguments.max_target_positions
    transformer_iwslt_de_en(arguments)
    model = TransformerModel.build_model(arguments, task)
    _make_unlikely(model, task.target_dictionary.eos())
    return model


@torch.no_grad()
def _make_unlikely(model: Any, token: int) -> None:
    """Lower a token's logit at every position, by the weights alone.

    The decoder's output gets one constant unit, which only this token's embedding reads.
    """
    normalisation = model.decoder.layers[-1].final_layer_norm
    normalisation.weight[0], normalisation.bias[0] = 0.0, UNLIKELY
    model.decoder.embed_tokens.weight[:, 0] = 0.0
    model.decoder.embed_tokens.weight[token, 0] = -1.0


def build_optimizer(model: Any) -> FairseqAdam:
    """Build fairseq's Adam."""
    settings = FairseqAdamConfig(adam_betas="(0.9, 0.98)", tpu=False, lr=[LEARNING_RATE])
    return FairseqAdam(settings, [p for p in model.parameters() if p.requires_grad])


def build_sample(kind: str, task: Any, B: int, T: int, device: str) -> dict[str, Any]:
    """Make a batch without padding; frequencies fall with their rank as those of words do."""
    dictionary = task.target_dictionary
    generator = torch.Generator().manual_seed(0)

    def sentences() -> Tensor:
        uniform = torch.rand(B, T, generator=generator, dtype=torch.float64)
        # The rank is log-uniform, which is Zipf's law with exponent 1.
        words = len(dictionary) - dictionary.nspecial
        tokens = dictionary.nspecial - 1 + (words**uniform).ceil().long().clamp(1, words)
        if kind == "translation":
            tokens[:, -1] = dictionary.eos()
        return tokens.to(device)

    target = sentences()
    read = torch.cat([target.new_full((B, 1), dictionary.eos()), target[:, :-1]], dim=1)
    lengths = target.new_full((B,), T)
    if kind == "translation":
        net_input = {"src_tokens": sentences(), "prev_output_tokens": read}
    else:
        net_input = {"src_tokens": read}
    return {
        "id": torch.arange(B, device=device),
        "nsentences": B,
        "ntokens": B * T,
        "net_input": {**net_input, "src_lengths": lengths},
        "target": target,
    }


def first_sentence(sample: dict[str, Any]) -> dict[str, Any]:
    """Cut a batch down to its first sentence."""
    cut = {key: value[:1] for key, value in sample.items() if isinstance(value, Tensor)}
    net_input = {key: value[:1] for key, value in sample["net_input"].items()}
    return {
        **sample,
        **cut,
        "nsentences": 1,
        "ntokens": sample["target"].size(1),
        "net_input": net_input,
    }
