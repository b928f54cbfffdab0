"""Tiny but real fairseq objects, and the reference loss of a whole batch.

Two kinds of everything: "translation" (left-padded source, right-padded target) and "language"
(a decoder alone).  Dropout is 0, so that two forwards of a model agree.
"""

from argparse import Namespace
from typing import Any

import reference
import torch
from fairseq.criterions import build_criterion
from fairseq.data import Dictionary, LanguagePairDataset, monolingual_dataset
from fairseq.models.transformer import TransformerModel, base_architecture
from fairseq.models.transformer_lm import TransformerLanguageModel, TransformerLanguageModelConfig
from fairseq.tasks.language_modeling import LanguageModelingConfig, LanguageModelingTask
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from omegaconf import OmegaConf
from torch import Tensor, nn

import genft_fairseq  # noqa: F401  (registers the criterions)

PAD = 1
EOS = 2
KINDS = ["translation", "language"]
# Repeats near and far, the end-of-sentence symbol alone, one token over and over.
SENTENCES = [
    [5, 6, 5, 7, 6, EOS],
    [EOS],
    [4, 4, 4, EOS],
    [9, 12, 14, 9, 12, 14, 9, EOS],
]


def tiny_task(kind: str) -> Any:
    """A task with a vocabulary of 15, built from dictionaries instead of files."""
    dictionary = Dictionary()
    for number in range(11):
        dictionary.add_symbol(f"w{number}")
    if kind == "translation":
        return TranslationTask(TranslationConfig(), dictionary, dictionary)
    return LanguageModelingTask(LanguageModelingConfig(), dictionary, targets=["future"])


def tiny_model(task: Any, dtype: torch.dtype = torch.float64, **flags: Any) -> Any:
    """A Transformer of one layer of width 8 for the task, in training mode."""
    flags = {
        **{f"{side}_layers": 1 for side in ("encoder", "decoder")},
        **{f"{side}_embed_dim": 8 for side in ("encoder", "decoder")},
        **{f"{side}_ffn_embed_dim": 8 for side in ("encoder", "decoder")},
        **{f"{side}_attention_heads": 2 for side in ("encoder", "decoder")},
        "dropout": 0.0,
        "max_target_positions": 64,
        **flags,
    }
    if isinstance(task, TranslationTask):
        args = Namespace(max_source_positions=64, **flags)
        base_architecture(args)
        model = TransformerModel.build_model(args, task)
    else:
        flags = {name: value for name, value in flags.items() if not name.startswith("encoder")}
        flags.update(decoder_input_dim=8, decoder_output_dim=8, tokens_per_sample=64)
        model = TransformerLanguageModel.build_model(TransformerLanguageModelConfig(**flags), task)
    with torch.no_grad():  # far from uniform, so that every term weighs something
        for parameter in model.parameters():
            parameter.mul_(3)
    return model.to(dtype)


def tiny_sample(task: Any, sentences: list[list[int]] = SENTENCES) -> dict[str, Any]:
    """The mini-batch that the task's own collater makes of these targets."""
    dictionary = task.target_dictionary
    if isinstance(task, TranslationTask):
        target = [torch.tensor(sentence) for sentence in sentences]
        # Rows of equal length (the longest) next to shorter ones: both sides hold padding.
        source = [torch.tensor([3 + len(s), *sorted(s, reverse=True)]) for s in sentences]
        sizes = [[len(row) for row in side] for side in (source, target)]
        dataset = LanguagePairDataset(
            *(source, sizes[0], dictionary, target, sizes[1], dictionary),
            left_pad_source=True,
            left_pad_target=False,
            shuffle=False,
        )
        return dataset.collater([dataset[i] for i in range(len(sentences))])
    samples = [
        {"id": i, "source": torch.tensor([EOS, *s[:-1]]), "target": torch.tensor(s)}
        for i, s in enumerate(sentences)
    ]
    return monolingual_dataset.collate(samples, pad_idx=PAD, eos_idx=EOS)


def tiny_criterion(name: str, task: Any, sentence_avg: bool = False, **flags: Any) -> Any:
    """A criterion built as fairseq's commands build it, from its registered configuration."""
    from fairseq.criterions import CRITERION_DATACLASS_REGISTRY

    config = OmegaConf.structured(CRITERION_DATACLASS_REGISTRY[name])
    OmegaConf.set_struct(config, False)
    config.update({"_name": name, "sentence_avg": sentence_avg, **flags})
    return build_criterion(config, task)


def gradients(loss: Tensor, model: nn.Module) -> dict[str, Tensor]:
    """The gradient of every parameter, zeros where the loss does not reach one."""
    parameters = dict(model.named_parameters())
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if gradient is None else gradient
        for (name, parameter), gradient in zip(parameters.items(), found, strict=True)
    }


def reference_loss(
    logits: Tensor,
    target: Tensor,
    *,
    label_smoothing: float = 0.0,
    gamma: float = 1.0,
    alpha: float = 0.0,
    prefix: int = 0,
) -> Tensor:
    """(B, T'): the token loss by the slow loops; the prefix is seen by them, and cut off here."""
    eps_i = label_smoothing / (logits.size(-1) - 1)
    loss = (1 - label_smoothing - eps_i) * reference.scalegrad(logits, target, gamma, PAD)
    loss = loss + eps_i * reference.smooth(logits, target, PAD)
    loss = loss + alpha * reference.unlikelihood(logits, target, PAD)
    return loss[:, prefix:]


def assert_same(got: Any, want: Any, rtol: float = 1e-10, atol: float = 1e-11) -> None:
    """Compare numbers, tensors or dictionaries of them, whichever of the two kinds they are."""
    if isinstance(want, dict):
        assert got.keys() == want.keys()
        # A gradient that is zero in theory, that of a key's bias say, is what the rounding of the
        # others leaves of it, which depends on where the tensors happen to lie in memory.
        largest = max(float(torch.as_tensor(value).abs().max()) for value in want.values())
        for name in want:
            assert_same(got[name], want[name], rtol, max(atol, 1e-15 * largest))
        return
    got, want = (torch.as_tensor(value, dtype=torch.float64) for value in (got, want))
    torch.testing.assert_close(got, want, rtol=rtol, atol=atol)
