"""``--arch bi_encoder`` and its sizes: questions and passages as vectors whose product is a score.

A tower is fairseq's own Transformer encoder, one for questions and one for passages (Karpukhin et
al., 2020), or one for both; with ``--hugging-face DIR`` it is a pretrained BERT or RoBERTa that
``genft import-hf`` has imported.
"""

from dataclasses import dataclass, field, fields
from typing import Any, Optional

import torch
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.models import (
    ARCH_MODEL_REGISTRY,
    BaseFairseqModel,
    register_model,
    register_model_architecture,
)
from fairseq.models.transformer import TransformerConfig
from fairseq.models.transformer.transformer_encoder import TransformerEncoderBase
from fairseq.utils import get_available_activation_fns, safe_getattr
from torch import Tensor, nn
from torch.nn.functional import normalize

from genft_fairseq.data.encoder_texts import POOLING
from genft_fairseq.errors import UnsuitableModel, UserError, check_range
from genft_fairseq.models.huggingface import architectures, description
from genft_fairseq.models.huggingface.description import Description
from genft_fairseq.models.huggingface.encoder import HuggingFaceEncoder

# Layers, width, inner width and attention heads of a tower.
SIZES = {
    "bi_encoder": (6, 512, 2048, 8),
    "bi_encoder_tiny": (2, 128, 512, 4),
    "bi_encoder_base": (12, 768, 3072, 12),
}


# What an imported encoder is; a flag that says otherwise would have no effect.
_OF_TRANSFORMERS = (
    *("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads"),
    *("encoder_normalize_before", "encoder_learned_pos", "activation_fn", "activation_dropout"),
    "max_source_positions",
)


@dataclass
class BiEncoderConfig(FairseqDataclass):
    hugging_face: Optional[str] = field(  # noqa: UP045 (fairseq reads this type)
        default=None,
        metadata={
            "help": "encoder: a BERT or RoBERTa in a folder that genft import-hf has written. Only "
            "the architecture is read; load the parameters by --finetune-from-model DIR/model.pt "
            "(in a checkpoint, this setting holds the model's description)"
        },
    )
    encoder_layers: int = field(default=6, metadata={"help": "layers of a tower"})
    encoder_embed_dim: int = field(
        default=512, metadata={"help": "width, and length of the vectors"}
    )
    encoder_ffn_embed_dim: int = field(default=2048, metadata={"help": "inner width"})
    encoder_attention_heads: int = field(default=8, metadata={"help": "attention heads"})
    encoder_normalize_before: bool = field(
        default=False, metadata={"help": "layer norm in front of every block"}
    )
    encoder_learned_pos: bool = field(default=False, metadata={"help": "learned positions"})
    activation_fn: ChoiceEnum(get_available_activation_fns()) = field(  # type: ignore[valid-type]
        default="relu", metadata={"help": "activation function to use"}
    )
    dropout: float = field(default=0.1, metadata={"help": "dropout probability"})
    attention_dropout: float = field(default=0.0, metadata={"help": "of attention weights"})
    activation_dropout: float = field(default=0.0, metadata={"help": "after the activation"})
    checkpoint_activations: bool = field(
        default=False, metadata={"help": "compute activations twice instead of keeping them"}
    )
    max_source_positions: Optional[int] = field(  # noqa: UP045 (fairseq reads this type)
        default=None,
        metadata={"help": "the longest text a tower reads (default: what the task lets through)"},
    )
    share_encoders: bool = field(
        default=False, metadata={"help": "one tower for questions and passages"}
    )
    pooling: Optional[ChoiceEnum(POOLING)] = field(  # type: ignore[valid-type]  # noqa: UP045
        default=None,
        metadata={
            "help": "vector of a text: mean over its tokens, or the first token's (default: as the "
            "imported encoder's configuration says, else mean)"
        },
    )
    l2_normalize: bool = field(
        default=False,
        metadata={
            "help": "normalise vectors to length 1, so that scores are cosines (always on if the "
            "imported encoder's configuration says so)"
        },
    )
    score_scale: float = field(
        default=1.0,
        metadata={"help": "what scores are multiplied with: the inverse of a temperature"},
    )


@register_model("bi_encoder", dataclass=BiEncoderConfig)
class BiEncoderModel(BaseFairseqModel):
    """Two towers, or one; ``forward`` goes through both in one call.

    Args:
        cfg: settings.
        question_encoder: a Transformer encoder.
        passage_encoder: another, or the same.
        described: the imported model that they are; None: they are fairseq's own.
    """

    def __init__(
        self,
        cfg: BiEncoderConfig,
        question_encoder: Any,
        passage_encoder: Any,
        described: Description | None = None,
    ):
        super().__init__()
        self.question_encoder, self.passage_encoder = question_encoder, passage_encoder
        texts = described.texts if described else None
        self.pooling = str(cfg.pooling or (texts.pooling if texts else POOLING[0]))
        self.l2_normalize = cfg.l2_normalize or (texts is not None and texts.normalize)
        self.score_scale = cfg.score_scale

    @classmethod
    def build_model(cls, cfg: BiEncoderConfig, task: Any) -> "BiEncoderModel":
        """Build the model for the longest text of the task.

        Raises:
            UserError: settings that make no model.
            UnsuitableModel: the task ranks no passages.
        """
        if not getattr(task, "ranks_passages", False):
            raise UnsuitableModel(
                "--arch bi_encoder has no decoder: it needs --task retrieval, but the task is "
                f"{type(task).__name__}"
            )
        if cfg.hugging_face:
            return cls._pretrained(cfg, task)
        _check(cfg)
        longest = max(task.max_question_positions, task.max_passage_positions)
        positions = cfg.max_source_positions or longest
        if positions < longest:
            raise UserError(
                f"--max-source-positions {positions} is less than the {longest} that "
                "--max-question-positions and --max-passage-positions let through"
            )
        question_encoder = _tower(cfg, task.source_dictionary, positions)
        if cfg.share_encoders:
            return cls(cfg, question_encoder, question_encoder)
        return cls(cfg, question_encoder, _tower(cfg, task.source_dictionary, positions))

    @classmethod
    def _pretrained(cls, cfg: BiEncoderConfig, task: Any) -> "BiEncoderModel":
        for setting in fields(BiEncoderConfig):
            given = getattr(cfg, setting.name)
            if setting.name in _OF_TRANSFORMERS and str(given) != str(setting.default):
                raise UserError(
                    f"--{setting.name.replace('_', '-')} {given} has no effect with "
                    "--hugging-face: the imported model defines it"
                )
        _check_scale(cfg)
        described = described_encoder(str(cfg.hugging_face))
        described.source.require_dictionary(task.source_dictionary, "the questions")
        if task.encoder_texts != described.texts:
            raise UserError(
                f"{task.cfg.data} does not say how the imported encoder reads texts: prepare the "
                "data with data-prep/prepare-fid.sh --model, of the same model"
            )
        positions = described.source_positions
        for text in ("question", "passage"):
            most = getattr(task, f"max_{text}_positions")
            if positions is not None and most > positions:
                raise UserError(
                    f"--max-{text}-positions must be at most {positions}, the positions of the "
                    f"imported encoder, but is {most}"
                )
        towers = [_imported_tower(cfg, described, task.source_dictionary)]
        if not cfg.share_encoders:
            towers.append(_imported_tower(cfg, described, task.source_dictionary))
        return cls(cfg, towers[0], towers[-1], described)

    def forward(self, question_tokens: Tensor, passage_tokens: Tensor) -> Tensor:
        """Score every question with every passage.

        Args:
            question_tokens: (B, S), padded.
            passage_tokens: (P, S'), padded.

        Returns:
            (B, P), in float32 or better: the scores of long vectors differ by little of what they
            are.
        """
        questions = self.embed_questions(question_tokens)
        passages = self.embed_passages(passage_tokens)
        with torch.autocast(questions.device.type, enabled=False):
            return questions @ passages.T

    def embed_questions(self, tokens: Tensor) -> Tensor:
        """Return (B, D), in float32 or better, for (B, S); ``--score-scale`` is in them."""
        return self._embed(self.question_encoder, tokens) * self.score_scale

    def embed_passages(self, tokens: Tensor) -> Tensor:
        """Return (P, D), in float32 or better, for (P, S)."""
        return self._embed(self.passage_encoder, tokens)

    def _embed(self, encoder: Any, tokens: Tensor) -> Tensor:
        found = encoder(tokens)
        encoded = found["encoder_out"][0].transpose(0, 1)  # (S, B, D) -> (B, S, D)
        if encoded.dtype != torch.float64:
            encoded = encoded.float()
        kept = ~found["encoder_padding_mask"][0]
        if self.pooling == "first":
            first = kept.int().argmax(dim=1)
            vectors = encoded[torch.arange(len(tokens), device=tokens.device), first]
        else:
            total = encoded.masked_fill(~kept[:, :, None], 0).sum(dim=1)
            vectors = total / kept.sum(dim=1, keepdim=True).clamp(min=1)
        return normalize(vectors, dim=1) if self.l2_normalize else vectors

    def max_positions(self) -> None:
        """Return nothing: the task cuts texts to what the towers read."""
        return None


def _check(cfg: BiEncoderConfig) -> None:
    width, heads = cfg.encoder_embed_dim, cfg.encoder_attention_heads
    if heads < 1 or width % heads:
        raise UserError(
            f"--encoder-embed-dim must be a multiple of --encoder-attention-heads, but is {width}, "
            f"and they are {heads}"
        )
    _check_scale(cfg)


def _check_scale(cfg: BiEncoderConfig) -> None:
    scale = cfg.score_scale
    check_range("--score-scale", scale, 0 < scale < float("inf"), "(0, inf)")


def described_encoder(given: str) -> Description:
    """Read the description that ``--task retrieval`` leaves in the place of a folder's name.

    Raises:
        UserError: it is broken, or of a model that is no encoder.
    """
    described = description.loads(given, "the checkpoint")
    if described.texts is None:
        raise UserError(
            f"--arch bi_encoder needs an encoder, but --hugging-face names a {described.model_type}"
        )
    return described


def imported_tower(stack: Any, described: Description, dictionary: Any) -> HuggingFaceEncoder:
    """Put an encoder of transformers', numbered as the dictionary, behind fairseq's interface."""
    return HuggingFaceEncoder(dictionary, stack, None, None, described.source_positions)


def _imported_tower(
    cfg: BiEncoderConfig, described: Description, dictionary: Any
) -> HuggingFaceEncoder:
    for name in ("dropout", "attention_dropout"):
        value = getattr(cfg, name)
        check_range(f"--{name.replace('_', '-')}", value, 0 <= value < 1, "[0, 1)")
    stack = architectures.build(described, cfg.dropout, cfg.attention_dropout)
    if cfg.checkpoint_activations:
        again = {"use_reentrant": False, "preserve_rng_state": True}
        stack.gradient_checkpointing_enable(again)
    return imported_tower(stack, described, dictionary)


def _tower(cfg: BiEncoderConfig, dictionary: Any, positions: int) -> TransformerEncoderBase:
    settings = TransformerConfig()
    for name in ("layers", "embed_dim", "ffn_embed_dim", "attention_heads", "normalize_before"):
        setattr(settings.encoder, name, getattr(cfg, f"encoder_{name}"))
    settings.encoder.learned_pos = cfg.encoder_learned_pos
    settings.max_source_positions = positions
    for name in ("dropout", "attention_dropout", "activation_dropout", "checkpoint_activations"):
        setattr(settings, name, getattr(cfg, name))
    settings.activation_fn = str(cfg.activation_fn)
    embedding = nn.Embedding(len(dictionary), cfg.encoder_embed_dim, dictionary.pad())
    nn.init.normal_(embedding.weight, std=cfg.encoder_embed_dim**-0.5)
    nn.init.zeros_(embedding.weight[dictionary.pad()])
    return TransformerEncoderBase(settings, dictionary, embedding)


def _register_size(name: str) -> None:
    layers, width, inner, heads = SIZES[name]

    def architecture(args: Any) -> None:
        args.encoder_layers = safe_getattr(args, "encoder_layers", layers)
        args.encoder_embed_dim = safe_getattr(args, "encoder_embed_dim", width)
        args.encoder_ffn_embed_dim = safe_getattr(args, "encoder_ffn_embed_dim", inner)
        args.encoder_attention_heads = safe_getattr(args, "encoder_attention_heads", heads)

    register_model_architecture("bi_encoder", name)(architecture)


for _name in SIZES:
    # fairseq has registered the one that is named as the model, and all where this is run again.
    if _name not in ARCH_MODEL_REGISTRY:
        _register_size(_name)
