"""An output layer with a constant for every symbol."""

from torch import Tensor, nn

# What is added to the logits of symbols that a model does not have.  Its own logits may lie around
# -30 to -100 (GPT-2's do), so that a symbol of no meaning, whose row is zero, would win with its 0.
NEVER = -1e4  # finite in half precision; the probability is exactly 0


class FixedBiasLinear(nn.Linear):
    """A matrix, often the embedding's own, and a constant for each symbol.

    The constants are what ``nn.Linear`` calls its bias, but a buffer: they are kept in checkpoints,
    follow the model to its device and dtype, and are never trained.

    Args:
        weight: (V, D), which may be shared.
        bias: (V,).
    """

    def __init__(self, weight: nn.Parameter, bias: Tensor):
        V, D = weight.shape
        # On no device: the weight is replaced at once, and drawing it takes seconds.
        super().__init__(D, V, bias=False, device="meta")
        self.weight = weight
        del self.bias
        self.register_buffer("bias", bias)
