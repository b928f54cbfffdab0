"""``--arch fid_transformer`` and its sizes: Fusion-in-Decoder with fairseq's own Transformer.

With one passage and none of its own flags it is fairseq's ``transformer``, and loads its
checkpoints (``--finetune-from-model``).
"""

from argparse import SUPPRESS, ArgumentParser
from typing import Any

from fairseq.models import register_model, register_model_architecture
from fairseq.models.transformer import TransformerConfig, TransformerModel, base_architecture
from torch import nn

from genft_fairseq.errors import UserError, check_range
from genft_fairseq.models.fid.decoder import FiDDecoder
from genft_fairseq.models.fid.encoder import FiDEncoder

# Name of each option: its default and its help.
FID_OPTIONS: dict[str, tuple[Any, str]] = {
    "first_k": (None, "keep the first K encoder vectors of each passage (default: all)"),
    "cross_attention_interval": (1, "cross-attention in every n-th decoder layer only"),
    "decoder_kv_heads": (
        None,
        "key and value heads of the decoder, shared by groups of heads (default: one a head)",
    ),
    "passages_at_once": (
        0,
        "encode so many passages at a time, and in training again in the backward pass, so that "
        "the activations of so many are held; 0: all of a batch",
    ),
}


def add_options(parser: ArgumentParser) -> None:
    """Add the flags of Fusion-in-Decoder, ``FID_OPTIONS``."""
    for name, (_, text) in FID_OPTIONS.items():
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=int, metavar="N", default=SUPPRESS, help=text)


@register_model("fid_transformer")
class FiDTransformerModel(TransformerModel):
    """A Transformer that encodes passages one by one and decodes from all of them."""

    @classmethod
    def hub_models(cls) -> dict[str, Any]:
        """Return none: fairseq's published models are its own."""
        return {}

    @classmethod
    def add_args(cls, parser: ArgumentParser) -> None:
        """Add the Transformer's flags, and those of Fusion-in-Decoder."""
        super().add_args(parser)
        add_options(parser)

    @classmethod
    def build_model(cls, args: Any, task: Any) -> "FiDTransformerModel":
        """Check the flags and build the model.

        Raises:
            UserError: a flag is out of range.
        """
        fid_transformer(args)
        check_options(args)
        if args.decoder_layers_to_keep and args.cross_attention_interval > 1:
            raise UserError(
                "--decoder-layers-to-keep numbers the layers anew, which "
                f"--cross-attention-interval {args.cross_attention_interval} counts: leave one out"
            )
        model = super().build_model(args, task)
        model.encoder.fusion.left_pad = getattr(getattr(task, "cfg", None), "left_pad_source", True)
        return model

    @staticmethod
    def unchanged_on_resume(args: Any) -> dict[str, Any]:
        """Return the settings that a resumed run cannot change, by their flags."""
        heads = getattr(args, "decoder_kv_heads", None) or args.decoder_attention_heads
        return {
            "--decoder-kv-heads": heads,
            "--cross-attention-interval": getattr(args, "cross_attention_interval", 1),
            "--first-k": getattr(args, "first_k", None),
        }

    @classmethod
    def build_encoder(cls, args: Any, src_dict: Any, embed_tokens: nn.Embedding) -> FiDEncoder:
        """Build the encoder."""
        return FiDEncoder(TransformerConfig.from_namespace(args), src_dict, embed_tokens)

    @classmethod
    def build_decoder(cls, args: Any, tgt_dict: Any, embed_tokens: nn.Embedding) -> FiDDecoder:
        """Build the decoder."""
        return FiDDecoder(TransformerConfig.from_namespace(args), tgt_dict, embed_tokens)


def check_options(args: Any) -> None:
    """Refuse flags that are out of range, or leave no layer that reads the passages.

    Raises:
        UserError: naming the flag.
    """
    for name in FID_OPTIONS:
        value = getattr(args, name)
        if value is not None and type(value) is not int:
            raise UserError(f"--{name.replace('_', '-')} must be a whole number, but is {value!r}")
    if args.first_k is not None:
        check_range("--first-k", args.first_k, args.first_k >= 1, "[1, inf)")
    layers, interval = args.decoder_layers, args.cross_attention_interval
    if not 1 <= interval <= layers:
        raise UserError(
            f"--cross-attention-interval must lie in [1, {layers}], --decoder-layers, but is "
            f"{interval}" + (": no layer would read the passages" if interval > layers else "")
        )
    heads, kv_heads = args.decoder_attention_heads, args.decoder_kv_heads
    if kv_heads is not None and (kv_heads < 1 or heads % kv_heads):
        allowed = ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0)
        raise UserError(
            f"--decoder-kv-heads must divide --decoder-attention-heads {heads} ({allowed}), but is "
            f"{kv_heads}"
        )
    at_once = args.passages_at_once
    check_range("--passages-at-once", at_once, at_once >= 0, "[0, inf)")
    for flag in ("no_cross_attention", "cross_self_attention"):
        if getattr(args, flag, False):
            raise UserError(
                f"--{flag.replace('_', '-')} does not go with Fusion-in-Decoder, whose decoder "
                "reads the passages by cross-attention"
            )


@register_model_architecture("fid_transformer", "fid_transformer")
def fid_transformer(args: Any) -> None:
    """The size of fairseq's ``transformer``: 6 and 6 layers, 512 wide, 8 heads."""
    for name, (default, _) in FID_OPTIONS.items():
        setattr(args, name, getattr(args, name, default))
    base_architecture(args)


def _sized(args: Any, layers: int, width: int, heads: int) -> None:
    defaults = {
        "layers": layers,
        "embed_dim": width,
        "ffn_embed_dim": 4 * width,
        "attention_heads": heads,
        "normalize_before": True,
    }
    for name, default in defaults.items():
        for side in ("encoder", "decoder"):
            flag = f"{side}_{name}"
            setattr(args, flag, getattr(args, flag, default))
    fid_transformer(args)


@register_model_architecture("fid_transformer", "fid_transformer_base")
def fid_transformer_base(args: Any) -> None:
    """The size of T5 base: 12 and 12 layers, 768 wide, 12 heads; layer norms come first."""
    _sized(args, 12, 768, 12)


@register_model_architecture("fid_transformer", "fid_transformer_large")
def fid_transformer_large(args: Any) -> None:
    """The size of T5 large: 24 and 24 layers, 1024 wide, 16 heads; layer norms come first."""
    _sized(args, 24, 1024, 16)
