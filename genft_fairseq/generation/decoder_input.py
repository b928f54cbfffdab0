"""Replacing the decoder's gold input inside the model's own forward.

Scheduled sampling, generative rollout and sequence-level training need the encoder's output, and
then a decoder that reads other tokens.  A hook on the decoder gives both: the encoder runs once,
and the gradient flows through the one forward of the (distributed) model; with a second forward the
processes of a distributed run would get out of step.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any
from weakref import WeakKeyDictionary

import torch
from fairseq.models import FairseqIncrementalDecoder
from fairseq.models.nat import FairseqNATDecoder
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from genft_fairseq.errors import UnsuitableModel
from genft_fairseq.generation.model_logits import model_logits

# Arguments of a decoder's forward that ask for another output.
_OTHER_OUTPUT = {
    *("features_only", "return_all_hiddens", "full_context_alignment"),
    *("alignment_layer", "alignment_heads"),
}


@dataclass(frozen=True)
class DecoderInput:
    """The input that a decoder reads in place of gold.

    Attributes:
        tokens: (B, T'), in place of the gold tokens; T' may differ from T.
        embeddings: (B, T', D), read in place of the tokens' own embeddings where ``kept`` is
            False; None to read tokens only.
        kept: (B, T'), bool.
    """

    tokens: Tensor
    embeddings: Tensor | None = None
    kept: Tensor | None = None


class DecoderCall:
    """A call of the decoder by its model, before it happens.

    Attributes:
        model: the model, or its distributed wrapper.
        tokens: (B, T), the input that it was called with.
        encoder_out: output of the encoder; None for a decoder alone.
    """

    def __init__(self, model: Any, tokens: Tensor, keywords: dict[str, Any]):
        self.model = model
        self.tokens = tokens
        self.encoder_out = keywords.get("encoder_out")
        self._keywords = {
            name: value for name, value in keywords.items() if name not in _OTHER_OUTPUT
        }

    @contextmanager
    def reading(self, given: DecoderInput) -> Iterator[Callable[[], Any]]:
        """Yield a function that calls the decoder on other input: one more pass."""
        with _replaced_embeddings(self.model.decoder, given), unreplaced_decoder_input(self.model):
            yield lambda: self.model.decoder(given.tokens, **self._keywords)

    def read(self, given: DecoderInput) -> Tensor:
        """Return the decoder's logits, (B, T', V), on other input."""
        with self.reading(given) as forward:
            return model_logits(self.model, forward())


Replace = Callable[[DecoderCall], DecoderInput]
# The replacements in force for each decoder; the innermost is the one that acts.
_in_force: WeakKeyDictionary[nn.Module, list[Replace | None]] = WeakKeyDictionary()


@contextmanager
def replaced_decoder_input(model: Any, replace: Replace) -> Iterator[None]:
    """Let ``replace`` decide what the decoder reads when the model calls it.

    Incremental decoding is unchanged.  Of nested replacements the innermost acts, so that a
    criterion that trains on on-policy text overrides a task that mixes inputs.

    Args:
        model: the model, or its distributed wrapper.
        replace: called with the decoder's call; returns the input that is read instead.

    Raises:
        UnsuitableModel: the model does not decode from left to right.
    """
    require_autoregressive(model)
    with _entered(model.decoder, replace):
        yield from _hooked(model, replace)


def _hooked(model: Any, replace: Replace) -> Iterator[None]:
    decoder = model.decoder
    during: list[Any] = []  # what must be undone after the decoder has run
    last: list[tuple[Tensor, DecoderInput]] = []

    def before(module: nn.Module, args: tuple, keywords: dict[str, Any]) -> Any:
        tokens, rest = _arguments(decoder, args, keywords)
        if _in_force[decoder][-1] is not replace or rest.get("incremental_state") is not None:
            return None
        if hasattr(model, "encoder") and rest.get("encoder_out") is None:
            raise UnsuitableModel("the model does not tell its decoder what the encoder returned")
        # Some models call the decoder twice, for an alignment: both times with the same input.
        if not last or last[0][0] is not tokens:
            last[:] = [(tokens, replace(DecoderCall(model, tokens, rest)))]
        given = last[0][1]
        entered = _replaced_embeddings(decoder, given)
        entered.__enter__()
        during.append(entered)
        return (given.tokens,), rest

    def after(module: nn.Module, args: tuple, output: Any) -> None:
        while during:
            during.pop().__exit__(None, None, None)

    handles = [
        decoder.register_forward_pre_hook(before, with_kwargs=True),
        decoder.register_forward_hook(after, always_call=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _arguments(decoder: Any, args: tuple, keywords: dict[str, Any]) -> tuple[Tensor, dict]:
    """The tokens of a call, and the other arguments by name, however it was written."""
    names = list(signature(decoder.forward).parameters)
    rest = {**dict(zip(names, args, strict=False)), **keywords}
    return rest.pop(names[0]), rest


@contextmanager
def unreplaced_decoder_input(model: Any) -> Iterator[None]:
    """Let the decoder read its arguments, whatever replacement is in force outside."""
    with _entered(model.decoder, None):
        yield


def replacements_in_force(decoder: nn.Module) -> int:
    """Count the replacements, and their suspensions, that are in force for a decoder."""
    return len(_in_force.get(decoder, ()))


def reads_plainly(decoder: nn.Module, since: int) -> bool:
    """Tell whether replacement is suspended, among those entered after the first ``since``."""
    return None in _in_force.get(decoder, [])[since:]


@contextmanager
def _entered(decoder: nn.Module, replace: Replace | None) -> Iterator[None]:
    stack = _in_force.setdefault(decoder, [])
    stack.append(replace)
    try:
        yield
    finally:
        stack.pop()


@contextmanager
def _replaced_embeddings(decoder: Any, given: DecoderInput) -> Iterator[None]:
    if given.embeddings is None:
        yield
        return
    embeddings, kept = given.embeddings, given.kept
    assert kept is not None

    def replaced(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        return torch.where(kept[..., None], output, embeddings.to(output))

    handle = decoder.embed_tokens.register_forward_hook(replaced)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def recorded_encoder_out(model: Any) -> Iterator[list[Any]]:
    """Collect the encoder's output that the decoder reads in the model's forward."""
    found: list[Any] = []

    def before(module: nn.Module, args: tuple, keywords: dict[str, Any]) -> None:
        _, rest = _arguments(model.decoder, args, keywords)
        if rest.get("incremental_state") is None and not found:
            found.append(rest.get("encoder_out"))

    handle = model.decoder.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield found
    finally:
        handle.remove()


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode, and restore the mode of every submodule in the end."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def require_autoregressive(model: Any, what: str = "training on a model's own output") -> None:
    """Refuse a model that is not autoregressive, or whose parameters are sharded.

    Args:
        model: the model, or its distributed wrapper.
        what: needs it; begins the message.

    Raises:
        UnsuitableModel: it has no incremental decoder, is non-autoregressive, or its parameters are
            spread over the processes.
    """
    if any(kind.__name__ == "FullyShardedDataParallel" for kind in type(model).__mro__):
        raise UnsuitableModel(
            f"{what} needs the model's parameters in one place, which "
            "--ddp-backend fully_sharded does not keep: use pytorch_ddp or legacy_ddp"
        )
    require_left_to_right(model, what)
    decoder = getattr(model, "decoder", None)
    if not isinstance(decoder, FairseqIncrementalDecoder):
        raise _not_autoregressive(what, decoder)


def require_left_to_right(model: Any, what: str) -> None:
    """Refuse a model that predicts all tokens at once.

    Args:
        model: the model, or its distributed wrapper.
        what: needs it; begins the message.

    Raises:
        UnsuitableModel: it is non-autoregressive.
    """
    # Not the model, which may be the wrapper of a distributed run: it forwards attributes only.
    decoder = getattr(model, "decoder", None)
    if isinstance(decoder, FairseqNATDecoder):
        raise _not_autoregressive(what, decoder)


def _not_autoregressive(what: str, decoder: Any) -> UnsuitableModel:
    return UnsuitableModel(
        f"{what} needs a model that writes from left to right, but this one is not autoregressive "
        f"(its decoder is {type(decoder).__name__})"
    )


def require_two_readings(model: Any, what: str) -> None:
    """Refuse to send gradients through two passes of the decoder where torch cannot follow.

    torch's distributed wrapper expects each parameter once in a backward pass, but activation
    checkpoints report it with every pass of their layer.

    Raises:
        UnsuitableModel: checkpointed layers under ``--ddp-backend pytorch_ddp``.
    """
    wrapped = isinstance(getattr(model, "module", None), DistributedDataParallel)
    if wrapped and getattr(getattr(model.decoder, "cfg", None), "checkpoint_activations", False):
        raise UnsuitableModel(
            f"{what} trains two passes of the decoder, which --checkpoint-activations does not "
            "allow under --ddp-backend pytorch_ddp: use --ddp-backend legacy_ddp"
        )
