"""``--criterion unlikelihood``: the token loss with token-level unlikelihood turned on."""

from dataclasses import dataclass, field

from fairseq.criterions import register_criterion

from genft_fairseq.criterions.token_criterion import TokenCriterion, TokenCriterionConfig


@dataclass
class UnlikelihoodCriterionConfig(TokenCriterionConfig):
    unlikelihood_alpha: float = field(
        default=1.0,
        metadata={"help": "weight of the token-level unlikelihood, at least 0; 0 means none"},
    )


@register_criterion("unlikelihood", dataclass=UnlikelihoodCriterionConfig)
class UnlikelihoodCriterion(TokenCriterion):
    """Unlikelihood (Welleck et al., ICLR 2020, arXiv:1908.04319; ``functional/unlikelihood.py``).

    Logs ``unlikelihood``, the mean of the unlikelihood term in bits, before alpha.
    """

    registered_name = "unlikelihood"
    metrics = ("unlikelihood",)
