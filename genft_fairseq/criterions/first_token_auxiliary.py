"""``--criterion first_token_auxiliary``: the token loss plus the first token's own."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

from fairseq.criterions import register_criterion
from torch import Tensor

from genft_fairseq.criterions.token_criterion import (
    TokenCriterion,
    TokenCriterionConfig,
    log_mean,
)
from genft_fairseq.errors import check_range
from genft_fairseq.functional.first_token import first_token_loss, first_token_mask
from genft_fairseq.functional.token_loss import Targets, TokenTerms


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
        self.token_loss = replace(self.token_loss, share=1 - self.weight)

    def targets(self, sequence: Tensor, sample: dict[str, Any]) -> Targets:
        """Weigh the first scored position of every row."""
        targets = super().targets(sequence, sample)
        nsentences = sample["target"].size(0)
        ratio = 1.0 if self.sentence_avg else self.target_tokens(sample) / max(1, nsentences)
        first = first_token_mask(targets.scored, self.padding_idx)
        return replace(targets, nll_weight=self.weight * ratio * first.double())

    def method_metrics(self, terms: TokenTerms, targets: Targets) -> dict[str, Any]:
        """Add the first token's own loss."""
        first_nll = first_token_loss(terms.nll.detach(), targets.scored, self.padding_idx)
        return {
            **super().method_metrics(terms, targets),
            "first_token_nll": first_nll.sum(),
            "first_tokens": targets.scored.ne(self.padding_idx).any(dim=-1).sum(),
        }

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        super().reduce_metrics(logging_outputs)
        log_mean(logging_outputs, "first_token_nll", "first_tokens", unit=math.log(2))
