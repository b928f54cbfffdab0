"""Reading a prefix before continuing it: all of it at once where the decoder allows."""

from contextlib import ExitStack
from typing import Any

from fairseq.models.transformer import TransformerDecoderBase
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn

from genft_fairseq.generation.decoder_input import unreplaced_decoder_input


def read_prefix(model: Any, prefix: Tensor, encoder_out: Any = None) -> dict[str, Any]:
    """Return the decoder's incremental state after a prefix, as if it had been read step by step.

    fairseq decodes one position a call.  A Transformer's state is the keys and values of what it
    has read, and one parallel pass computes those of a whole prefix: its attention modules, given
    the state that the decoder itself keeps back in such a pass, fill it.  What they predict after
    each token is not computed.  Decoders that say so (``reads_several``) read several tokens in an
    incremental step; others (recurrent, convolutional) step through the prefix.

    Args:
        model: a fairseq model with an incremental decoder.
        prefix: (B, P), token ids without padding; P may be 0.
        encoder_out: what the encoder returned for the B rows, if there is one.

    Returns:
        the state, to be given to ``model.decoder`` with the next token.
    """
    state: dict[str, Any] = {}
    keywords = {} if encoder_out is None else {"encoder_out": encoder_out}
    with unreplaced_decoder_input(model):
        if prefix.size(1) and getattr(model.decoder, "reads_several", False):
            model.decoder(prefix, incremental_state=state, features_only=True, **keywords)
        elif prefix.size(1) > 1 and _reads_at_once(model.decoder):
            with _attention_fills(state, model.decoder):
                model.decoder(prefix, features_only=True, **keywords)
        else:
            for position in range(1, prefix.size(1) + 1):
                model.decoder(prefix[:, :position], incremental_state=state, **keywords)
    return state


def _reads_at_once(decoder: nn.Module) -> bool:
    """Tell whether the state is what the attention of every layer keeps, and nothing else."""
    return (
        isinstance(decoder, TransformerDecoderBase)
        and not decoder.cross_self_attention
        # A layer that is dropped in this pass would lack the prefix in the next.
        and not (decoder.training and decoder.decoder_layerdrop)
        and all(isinstance(a, MultiheadAttention) for a in _attention(decoder))
    )


def _attention(decoder: Any) -> list[nn.Module]:
    layers = list(decoder.layers)
    both = [layer.self_attn for layer in layers] + [layer.encoder_attn for layer in layers]
    return [module for module in both if module is not None]


def _attention_fills(state: dict[str, Any], decoder: Any) -> ExitStack:
    def give(module: nn.Module, args: tuple, keywords: dict[str, Any]) -> Any:
        return args, {**keywords, "incremental_state": state}

    hooks = ExitStack()
    for module in _attention(decoder):
        hooks.callback(module.register_forward_pre_hook(give, with_kwargs=True).remove)
    return hooks
