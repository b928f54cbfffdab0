"""``--criterion minimum_risk``: the expected cost of candidate translations."""

import math
from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.criterions import register_criterion
from fairseq.dataclass import ChoiceEnum
from fairseq.tasks.language_modeling import LanguageModelingTask
from torch import Tensor

from genft_fairseq.criterions.on_policy import check_left_to_right, search
from genft_fairseq.criterions.token_criterion import (
    TokenCriterion,
    TokenCriterionConfig,
    log_mean,
)
from genft_fairseq.errors import UnsuitableModel, UserError, check_range
from genft_fairseq.functional.risk import expected_risk, first_of_equal
from genft_fairseq.generation.candidates import (
    beam_candidates,
    sample_candidates,
    sequence_lprobs,
)
from genft_fairseq.generation.decoder_input import (
    recorded_encoder_out,
    require_autoregressive,
    require_two_readings,
)
from genft_fairseq.generation.rewards import REWARDS, rewards


@dataclass
class MinimumRiskCriterionConfig(TokenCriterionConfig):
    risk_candidates: int = field(default=5, metadata={"help": "candidates for each source"})
    risk_search: ChoiceEnum(("sampling", "beam")) = field(  # type: ignore[valid-type]
        default="sampling", metadata={"help": "where the candidates come from"}
    )
    risk_temperature: float = field(default=1.0, metadata={"help": "of sampling"})
    risk_top_k: int = field(
        default=0, metadata={"help": "sample among the k likeliest tokens; 0: all"}
    )
    risk_top_p: float = field(
        default=1.0,
        metadata={"help": "sample among the likeliest that together have this probability"},
    )
    risk_max_len_a: float = field(
        default=1.5, metadata={"help": "a candidate has at most a * source length + b tokens"}
    )
    risk_max_len_b: int = field(default=10, metadata={"help": "see --risk-max-len-a"})
    risk_include_gold: bool = field(
        default=False, metadata={"help": "count the gold translation among the candidates"}
    )
    risk_reward: ChoiceEnum(REWARDS) = field(  # type: ignore[valid-type]
        default="bleu", metadata={"help": "what makes a candidate good"}
    )
    risk_remove_bpe: Optional[str] = field(  # noqa: UP045 (fairseq reads this type)
        default="@@ ", metadata={"help": "subword marks to undo before scoring"}
    )
    risk_alpha: float = field(
        default=0.005, metadata={"help": "sharpness of the distribution over candidates"}
    )
    risk_weight: float = field(
        default=0.7, metadata={"help": "share of the risk in the whole loss, in [0, 1]"}
    )
    risk_chunk_size: int = field(
        default=0,
        metadata={
            "help": "candidates whose activations are held at a time, at the price of computing "
            "them twice; 0: those of the whole batch"
        },
    )


@register_criterion("minimum_risk", dataclass=MinimumRiskCriterionConfig)
class MinimumRiskCriterion(TokenCriterion):
    """``(1 - l) * token loss + l * risk`` (``functional/risk.py``), l = ``--risk-weight``.

    The token loss is a sum over tokens and the risk one over sentences: as in
    ``first_token_auxiliary`` the risk is multiplied by the tokens per sentence of the micro-batch.
    Candidates are drawn without gradient in evaluation mode, then read in parallel with gradient,
    from the encoding of the one forward that the token loss needs anyway.

    Logs ``risk``, ``reward`` (mean over candidates) and ``candidates`` (different ones a source).
    """

    registered_name = "minimum_risk"

    def __init__(self, cfg: MinimumRiskCriterionConfig, task: Any):
        super().__init__(cfg, task)
        check_left_to_right(self, task)
        if isinstance(task, LanguageModelingTask):
            raise UserError(
                "--criterion minimum_risk needs sources and targets: --task translation"
            )
        positive = {
            "--risk-candidates": cfg.risk_candidates,
            "--risk-max-len-b": cfg.risk_max_len_b,
        }
        for flag, value in positive.items():
            check_range(flag, value, value >= 1, "[1, inf)")
        check_range("--risk-alpha", cfg.risk_alpha, 0 < cfg.risk_alpha < math.inf, "(0, inf)")
        check_range("--risk-weight", cfg.risk_weight, 0 <= cfg.risk_weight <= 1, "[0, 1]")
        a, chunk = cfg.risk_max_len_a, cfg.risk_chunk_size
        check_range("--risk-max-len-a", a, 0 <= a < math.inf, "[0, inf)")
        check_range("--risk-chunk-size", chunk, chunk >= 0, "[0, inf)")
        self.risk = cfg
        self.search = search("risk", cfg)
        self.dictionary = task.target_dictionary

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple:
        """Compute the loss of a sample; see ``TokenCriterion.forward``."""
        require_autoregressive(model)
        require_two_readings(model, "--criterion minimum_risk")
        if not hasattr(model, "encoder"):
            raise UnsuitableModel("--criterion minimum_risk needs a model with an encoder")
        weight = self.risk.risk_weight
        if not self.training or weight == 0:
            return super().forward(model, sample, reduce)
        texts, owners, valid = self._candidates(model, sample)
        with recorded_encoder_out(model) as recorded:
            loss, sample_size, logging_output = super().forward(model, sample, reduce)
        lprobs = sequence_lprobs(
            *(model, recorded[0], sample["net_input"]["prev_output_tokens"][:, :1]),
            *(texts, owners, self.padding_idx, self.risk.risk_chunk_size, self.loss_chunk_size),
        )
        found = rewards(
            *(self.risk.risk_reward, texts, sample["target"], owners),
            *(self.dictionary, self.risk.risk_remove_bpe),
        )
        risk, _ = expected_risk(
            lprobs.new_zeros(valid.shape).masked_scatter(valid, lprobs),
            found.new_zeros(valid.shape).masked_scatter(valid, found),
            *(valid, self.risk.risk_alpha),
        )
        nsentences = sample["target"].size(0)
        ratio = 1.0 if self.sentence_avg else logging_output["ntokens"] / max(1, nsentences)
        loss = (1 - weight) * loss + weight * ratio * risk.sum()
        logging_output.update(
            loss=loss.detach(),
            risk=risk.detach().sum(),
            reward=found.sum(),
            candidates=valid.sum(),
            sources=nsentences,
        )
        return loss, sample_size, logging_output

    def _candidates(self, model: Any, sample: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """(N, L) different texts, (N,) the row of their source, and (B, K) which of K they are."""
        shared = (self.dictionary, self.risk.risk_max_len_a, self.risk.risk_max_len_b)
        K = self.risk.risk_candidates
        if self.risk.risk_search == "beam":
            found = beam_candidates(model, sample, K, *shared)
        else:
            found = sample_candidates(model, sample, K, self.search, *shared)
        if self.risk.risk_include_gold:
            found = _with_gold(found, sample["target"], self.padding_idx)
        valid = first_of_equal(found)
        return found[valid], valid.nonzero()[:, 0], valid

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log fairseq's metrics, and those of the candidates."""
        super().reduce_metrics(logging_outputs)
        log_mean(logging_outputs, "risk", "sources", unit=1.0)
        log_mean(logging_outputs, "reward", "candidates", unit=1.0)
        log_mean(logging_outputs, "candidates", "sources", unit=1.0)


def _with_gold(candidates: Tensor, target: Tensor, padding_idx: int) -> Tensor:
    """(B, K, L) and (B, T) -> (B, K + 1, max(L, T))."""
    B, K, L = candidates.shape
    T = target.size(1)
    joined = candidates.new_full((B, K + 1, max(L, T)), padding_idx)
    joined[:, :K, :L] = candidates
    joined[:, K, :T] = target
    return joined
