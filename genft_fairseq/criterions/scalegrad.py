"""``--criterion scalegrad``: the token loss with ScaleGrad's gamma turned on."""

from dataclasses import dataclass, field

from fairseq.criterions import register_criterion

from genft_fairseq.criterions.token_criterion import TokenCriterion, TokenCriterionConfig


@dataclass
class ScaleGradCriterionConfig(TokenCriterionConfig):
    gamma: float = field(
        default=0.2,
        metadata={
            "help": "weight of novel tokens, in (0, 1]: the smaller, the stronger the push towards "
            "tokens not yet seen; 1 is plain likelihood"
        },
    )


@register_criterion("scalegrad", dataclass=ScaleGradCriterionConfig)
class ScaleGradCriterion(TokenCriterion):
    """ScaleGrad (Lin, Han and Joty, ICML 2021, arXiv:2106.07207); see ``functional/scalegrad.py``.

    Logs ``seen_mass``, the mean probability that the model gives to tokens it has already seen.
    """

    registered_name = "scalegrad"
    metrics = ("seen_mass",)
