"""``--arch gpt2`` and its sizes: GPT-2 as a fairseq language model (Radford et al., 2019).

It is fairseq's own Transformer decoder with GPT-2's settings: learned positions, the norm in front
of every block and after the last one, input and output embeddings that are one matrix.  What is new
is how the symbols that fairseq adds to GPT-2's vocabulary are kept from being predicted.
"""

from dataclasses import dataclass, field
from typing import Any, Optional

import torch
from fairseq.dataclass import ChoiceEnum
from fairseq.models import ARCH_MODEL_REGISTRY, register_model, register_model_architecture
from fairseq.models.transformer_lm import (
    TransformerLanguageModel,
    TransformerLanguageModelConfig,
)
from fairseq.utils import get_available_activation_fns, safe_getattr
from torch import Tensor

from genft_fairseq.errors import UserError
from genft_fairseq.models.output_layer import NEVER, FixedBiasLinear

# Layers, width and attention heads.
SIZES = {
    "gpt2": (12, 768, 12),
    "gpt2_medium": (24, 1024, 16),
    "gpt2_large": (36, 1280, 20),
    "gpt2_xl": (48, 1600, 25),
    "distilgpt2": (6, 768, 12),
}
POSITIONS = 1024

# What is added to the logit of </s>.
LINE_END = -1.0

_ALWAYS = (
    *("decoder_normalize_before", "decoder_learned_pos"),
    *("share_decoder_input_output_embed", "no_scale_embedding"),
)
_NEVER = (
    *("adaptive_input", "adaptive_softmax_cutoff", "character_embeddings", "layernorm_embedding"),
    *("no_decoder_final_norm", "no_token_positional_embeddings", "base_layers", "quant_noise_pq"),
    *("scale_fc", "scale_attn", "scale_heads", "scale_resids"),
)


# fairseq reads the types to make a parser, and knows Optional[int], not int | None.
@dataclass
class GPT2Config(TransformerLanguageModelConfig):
    activation_fn: ChoiceEnum(get_available_activation_fns()) = field(  # type: ignore[valid-type]
        default="gelu_accurate", metadata={"help": "activation function to use"}
    )
    attention_dropout: float = field(
        default=0.1, metadata={"help": "dropout probability for attention weights"}
    )
    decoder_layers: int = field(default=12, metadata={"help": "number of layers"})
    decoder_embed_dim: int = field(default=768, metadata={"help": "width"})
    decoder_attention_heads: int = field(default=12, metadata={"help": "number of heads"})
    decoder_ffn_embed_dim: Optional[int] = field(  # noqa: UP045
        default=None, metadata={"help": "inner width of the feed-forward part (4 times the width)"}
    )
    decoder_input_dim: Optional[int] = field(  # noqa: UP045
        default=None, metadata={"help": "the width, which is all that it can be"}
    )
    decoder_output_dim: Optional[int] = field(  # noqa: UP045
        default=None, metadata={"help": "the width, which is all that it can be"}
    )


def symbol_bias(dictionary: Any, size: int) -> Tensor:
    """Return what is added to the logits: 0 for GPT-2's own tokens.

    ``<s>``, ``<pad>`` and ``<unk>``, which GPT-2 does not have, are never predicted.  ``</s>``
    ends a line in fairseq's data, and an imported model starts with its row equal to
    ``<|endoftext|>``'s: one less keeps the two from being equally likely, and leaves ``</s>`` to be
    learned.  A freshly imported model's softmax therefore differs from the original's by the factor
    1 / (1 + p / e), where p is the original's probability of ``<|endoftext|>``.

    On another dictionary than GPT-2's numbers (a model that is trained from scratch), only ``<s>``
    and ``<pad>`` are kept back: text may hold what that dictionary does not know.

    Args:
        dictionary: fairseq's.
        size: V, the number of rows.

    Returns:
        (V,), nats.
    """
    bias = torch.zeros(size)
    bias[[dictionary.bos(), dictionary.pad()]] = NEVER
    if _is_of_gpt2(dictionary):
        bias[dictionary.unk()] = NEVER
        bias[dictionary.eos()] = LINE_END
    return bias


def _is_of_gpt2(dictionary: Any) -> bool:
    tokens = dictionary.symbols[dictionary.nspecial :]
    return bool(tokens) and tokens == [str(number) for number in range(len(tokens))]


def require_gpt2(settings: Any) -> None:
    """Refuse settings of fairseq's Transformer that make it another model than GPT-2.

    Args:
        settings: of the model, as attributes.

    Raises:
        UserError: a setting that GPT-2 does not have.
    """
    for name in _NEVER:
        if safe_getattr(settings, name):
            raise UserError(f"{_flag(name)} makes no GPT-2: use --arch transformer_lm")
    width, heads = settings.decoder_embed_dim, settings.decoder_attention_heads
    for name in ("decoder_input_dim", "decoder_output_dim"):
        value = safe_getattr(settings, name)
        if value not in (None, width):
            raise UserError(
                f"{_flag(name)} must be --decoder-embed-dim, which is {width}, for GPT-2, but is "
                f"{value}: use --arch transformer_lm"
            )
    if width % heads:
        raise UserError(
            f"--decoder-embed-dim must be a multiple of --decoder-attention-heads, but is {width}, "
            f"and they are {heads}"
        )


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


@register_model("gpt2", dataclass=GPT2Config)
class GPT2Model(TransformerLanguageModel):
    """GPT-2 on fairseq's dictionary: its own four symbols, then GPT-2's tokens."""

    @classmethod
    def build_model(cls, args: Any, task: Any) -> "GPT2Model":
        """Build the model; sizes that are not given are GPT-2's.

        Raises:
            UserError: a setting that GPT-2 does not have.
        """
        require_gpt2(args)
        for name in _ALWAYS:
            setattr(args, name, True)
        args.decoder_input_dim = args.decoder_output_dim = args.decoder_embed_dim
        if args.decoder_ffn_embed_dim is None:
            args.decoder_ffn_embed_dim = 4 * args.decoder_embed_dim
        # fairseq would take --tokens-per-sample, the length that happens to be trained on.
        if args.max_target_positions is None:
            args.max_target_positions = POSITIONS
        model = super().build_model(args, task)
        embedding = model.decoder.embed_tokens.weight
        bias = symbol_bias(task.source_dictionary, len(embedding))
        model.decoder.output_projection = FixedBiasLinear(embedding, bias)
        return model

    def load_state_dict(self, state_dict: Any, *args: Any, **keywords: Any) -> Any:
        """Load parameters, which say what dictionary they are for.

        Raises:
            UserError: they are for GPT-2's numbers and the data is not, or the reverse.
        """
        saved = state_dict.get("decoder.output_projection.bias")
        own = self.decoder.output_projection.bias
        if saved is not None and saved.shape == own.shape and not torch.equal(saved.to(own), own):
            raise UserError(
                "the checkpoint and the data disagree about the dictionary: one has GPT-2's "
                "numbers 0, 1, 2, ... in order, the other has not; give data made with the model's "
                "dict.txt"
            )
        return super().load_state_dict(state_dict, *args, **keywords)


def _register_size(name: str) -> None:
    layers, width, heads = SIZES[name]

    def architecture(args: Any) -> None:
        args.decoder_layers = safe_getattr(args, "decoder_layers", layers)
        args.decoder_embed_dim = safe_getattr(args, "decoder_embed_dim", width)
        args.decoder_attention_heads = safe_getattr(args, "decoder_attention_heads", heads)

    register_model_architecture("gpt2", name)(architecture)


for _name in SIZES:
    # fairseq has registered the one that is named as the model, and all where this is run again.
    if _name not in ARCH_MODEL_REGISTRY:
        _register_size(_name)
