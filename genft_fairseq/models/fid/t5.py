"""``--arch fid_t5``: Fusion-in-Decoder with a pretrained T5.

Izacard & Grave (2021, arXiv:2007.01282) fine-tune T5; FiD-Light (Hofstätter et al., 2022,
arXiv:2209.14290) keeps the first vectors of each passage; FiDO (de Jong et al., 2022,
arXiv:2212.08153) has cross-attention in some decoder layers only, and shared key and value heads.
"""

from argparse import ArgumentParser, Namespace
from typing import Any

from fairseq.models import register_model, register_model_architecture
from torch import Tensor, nn

from genft_fairseq.errors import UserError
from genft_fairseq.models.fid.attention import fitted_heads, pooled_heads
from genft_fairseq.models.fid.transformer import FID_OPTIONS, add_options, check_options
from genft_fairseq.models.huggingface.model import HuggingFaceModel, description, hugging_face


@register_model("fid_t5")
class FiDT5Model(HuggingFaceModel):
    """A T5 that encodes passages one by one and decodes from all of them."""

    @classmethod
    def add_args(cls, parser: ArgumentParser) -> None:
        """Add the flags of an imported model, and those of Fusion-in-Decoder."""
        super().add_args(parser)
        add_options(parser)

    @classmethod
    def build_model(cls, args: Any, task: Any) -> "FiDT5Model":
        """Build the model, without the cross-attention and the heads that its flags leave out.

        Raises:
            UserError: it is not a T5, or a flag is out of range.
        """
        fid_t5(args)
        described = description(args)
        if described.model_type != "t5":
            raise UserError(
                f"--arch fid_t5 needs a T5, but --hugging-face names a {described.model_type}"
            )
        chosen = {name: getattr(args, name) for name in FID_OPTIONS}
        sizes = described.config
        layers = sizes.get("num_decoder_layers") or sizes["num_layers"]
        heads = sizes["num_heads"]
        check_options(Namespace(**chosen, decoder_layers=layers, decoder_attention_heads=heads))
        model = super().build_model(args, task)
        assert isinstance(model, cls)
        model.encoder.fusion.first_k = args.first_k
        model.encoder.fusion.at_once = args.passages_at_once
        for number, block in enumerate(model.decoder.stack.block, start=1):
            attention = [block.layer[0].SelfAttention, block.layer[1].EncDecAttention]
            if number % args.cross_attention_interval:
                block.layer[1] = NoCrossAttention()
                attention.pop()
            for module in attention if args.decoder_kv_heads else ():
                _share_heads(module, args.decoder_kv_heads)
        return model

    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> None:
        """Adapt a checkpoint of a model with more cross-attention or more heads.

        Args:
            state_dict: of the whole model; changed in place.
            name: of this module in it.
        """
        super().upgrade_state_dict_named(state_dict, name)
        prefix = f"{name}." if name else ""
        own = self.state_dict()
        head_dim = int(self.decoder.stack.config.d_kv)
        for key in [k for k in state_dict if k.startswith(f"{prefix}decoder.stack.block.")]:
            wanted = own.get(key.removeprefix(prefix))
            if wanted is None and ".layer.1." in key:
                del state_dict[key]  # of a layer that does not read the passages
            elif wanted is not None and key.endswith((".k.weight", ".v.weight")):
                state_dict[key] = fitted_heads(key, state_dict[key], wanted, head_dim)

    @staticmethod
    def unchanged_on_resume(args: Any) -> dict[str, Any]:
        """Return the settings that a resumed run cannot change, by their flags."""
        return {
            **HuggingFaceModel.unchanged_on_resume(args),
            "--decoder-kv-heads": getattr(args, "decoder_kv_heads", None)
            or description(args).config["num_heads"],
            "--cross-attention-interval": getattr(args, "cross_attention_interval", 1),
            "--first-k": getattr(args, "first_k", None),
        }


class NoCrossAttention(nn.Module):
    """Replaces cross-attention in a decoder layer without it."""

    def forward(
        self, hidden_states: Tensor, position_bias: Any = None, **_: Any
    ) -> tuple[Tensor, Any, None]:
        """Return the hidden states unchanged."""
        return hidden_states, position_bias, None


def _share_heads(attention: Any, kv_heads: int) -> None:
    """Reduce the key and value heads of an attention; groups of query heads share one."""
    for name in ("k", "v"):
        before: nn.Linear = getattr(attention, name)
        after = nn.Linear(before.in_features, kv_heads * attention.key_value_proj_dim, bias=False)
        after.weight.data = pooled_heads(
            before.weight.data, after.out_features, attention.key_value_proj_dim
        )
        setattr(attention, name, after)


@register_model_architecture("fid_t5", "fid_t5")
def fid_t5(args: Any) -> None:
    """The imported T5, unchanged."""
    for name, (default, _) in FID_OPTIONS.items():
        setattr(args, name, getattr(args, name, default))
    hugging_face(args)
