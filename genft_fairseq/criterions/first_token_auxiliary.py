"""``--criterion first_token_auxiliary``: the token loss plus the first token's own."""

import math
from dataclasses import dataclass, field
from typing import Any

from fairseq.criterions import register_criterion
from torch import Tensor

from genft_fairseq.criterions.token_criterion import (
    TokenCriterion,
    TokenCriterionConfig,
    TokenTerms,
    log_mean,
)
from genft_fairseq.errors import check_range
from genft_fairseq.functional.first_token import first_token_loss, first_token_mask


@dataclass
class FirstTokenAuxiliaryCriterionConfig(TokenCriterionConfig):
    first_token_weight: float = field(
        default=0.1,
        metadata={"help": "share of the first token's loss in the whole, in [0, 1]"},
    )


@register_criterion("first_token_auxiliary", dataclass=FirstTokenAuxiliaryCriterionConfig)
class FirstTokenAuxiliaryCriterion(TokenCriterion):
    """``(1 - w) * token loss + w * first-token loss``, both means (``functional/first_token.py``).

    fairseq divides the sums returned here by the sample size (tokens, or sentences with
    ``--sentence-avg``), so the sum of first-token losses is multiplied by tokens per sentence to
    become a mean over sentences.  That ratio is each micro-batch's own.

    Logs ``first_token_nll``, the mean over sentences in bits.
    """

    registered_name = "first_token_auxiliary"

    def __init__(self, cfg: FirstTokenAuxiliaryCriterionConfig, task: Any):
        super().__init__(cfg, task)
        self.weight = cfg.first_token_weight
        check_range("--first-token-weight", self.weight, 0 <= self.weight <= 1, "[0, 1]")

    def position_loss(self, terms: TokenTerms, sample: dict[str, Any]) -> Tensor:
        nsentences = sample["target"].size(0)
        ratio = 1.0 if self.sentence_avg else sample["ntokens"] / max(1, nsentences)
        first = first_token_mask(terms.target, self.padding_idx)
        first_nll = terms.nll.masked_fill(~first, 0.0)
        return (1 - self.weight) * terms.loss + self.weight * ratio * first_nll

    def method_figures(self, terms: TokenTerms) -> dict[str, Any]:
        first_nll = first_token_loss(terms.nll.detach(), terms.target, self.padding_idx)
        return {
            **super().method_figures(terms),
            "first_token_nll": first_nll.sum(),
            "first_tokens": terms.target.ne(self.padding_idx).any(dim=-1).sum(),
        }

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        super().reduce_metrics(logging_outputs)
        log_mean(logging_outputs, "first_token_nll", "first_tokens", unit=math.log(2))
