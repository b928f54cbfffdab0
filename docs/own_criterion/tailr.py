"""``--criterion tailr``: the shared token loss with TaiLr's weights on the likelihood."""

from dataclasses import asdict, dataclass, field
from typing import Any

from fairseq.criterions import register_criterion

from genft_fairseq.criterions.token_criterion import (
    TokenCriterion,
    TokenCriterionConfig,
    log_mean,
)
from genft_fairseq.errors import check_range
from genft_fairseq.functional.selective_log_softmax import SelectedLprobs
from genft_fairseq.functional.token_loss import Positions, Targets, TokenLoss, TokenTerms
from own_criterion.weights import tailr_weight


@dataclass
class TaiLrCriterionConfig(TokenCriterionConfig):
    tailr_gamma: float = field(
        default=1.0,
        metadata={"help": "how little improbable tokens count, in [0, 1]; 0 is plain likelihood"},
    )
    tailr_least: float = field(
        default=0.0, metadata={"help": "the least weight of a token, in [0, 1]"}
    )


@dataclass(frozen=True)
class TaiLrLoss(TokenLoss):
    """The token loss, the negative log-likelihood in it weighed; its other terms stay."""

    tailr_gamma: float = 0.0
    tailr_least: float = 0.0

    def __call__(self, lprobs: SelectedLprobs, at: Positions) -> TokenTerms:
        """Compute the loss of each position."""
        terms = super().__call__(lprobs, at)
        weight = tailr_weight(terms.nll, self.tailr_gamma, self.tailr_least)
        eps_i = self.smoothing / (self.vocabulary - 1)
        share = self.share * (1 - self.smoothing - eps_i)  # of the likelihood in the loss
        return terms._replace(loss=terms.loss - share * (1 - weight) * terms.nll)


@register_criterion("tailr", dataclass=TaiLrCriterionConfig)
class TaiLrCriterion(TokenCriterion):
    """Logs ``tailr_weight``, the mean weight of a token."""

    registered_name = "tailr"

    def __init__(self, cfg: TaiLrCriterionConfig, task: Any):
        super().__init__(cfg, task)
        gamma, least = cfg.tailr_gamma, cfg.tailr_least
        check_range("--tailr-gamma", gamma, 0 <= gamma <= 1, "[0, 1]")
        check_range("--tailr-least", least, 0 <= least <= 1, "[0, 1]")
        own = {"tailr_gamma": gamma, "tailr_least": least}
        self.token_loss = TaiLrLoss(**asdict(self.token_loss), **own)

    def method_metrics(self, terms: TokenTerms, targets: Targets) -> dict[str, Any]:
        """Add the sum of the weights, and of how many tokens it is."""
        loss = self.token_loss
        weight = tailr_weight(terms.nll, loss.tailr_gamma, loss.tailr_least)
        scored = targets.scored.ne(self.padding_idx)
        metrics = {"tailr_weight": weight[scored].sum(), "scored": scored.sum()}
        return {**super().method_metrics(terms, targets), **metrics}

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log the mean weight beside the metrics of every criterion."""
        super().reduce_metrics(logging_outputs)
        log_mean(logging_outputs, "tailr_weight", "scored", unit=1.0)
