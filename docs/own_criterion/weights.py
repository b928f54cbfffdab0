"""TaiLr's weight of a token: tensors in, tensors out, no fairseq."""

from torch import Tensor

# exp(80) in float32: such an improbable token has weight 0 all the same.
LARGEST_NLL = 80.0


def tailr_weight(nll: Tensor, gamma: float, least: float = 0.0) -> Tensor:
    """Compute by how much each token counts, from its negative log-likelihood.

    H. Ji et al., ICLR 2023, arXiv:2302.13344.  With p the probability that the model gives to the
    token, naively::

        weight = p / (gamma + (1 - gamma) * p)

    Args:
        nll: any shape, nats, at least 0.
        gamma: in [0, 1]; 0 is maximum likelihood, where every weight is 1.
        least: no weight is smaller, in [0, 1].

    Returns:
        Of the shape of ``nll``, in [least, 1], a constant for the gradient.
    """
    inverse = 1 + gamma * nll.detach().clamp(max=LARGEST_NLL).expm1()
    return (1 / inverse).clamp(min=least)
