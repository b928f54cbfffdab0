"""The base of all criterions: the shared token loss inside fairseq.

The loss is ``functional/token_loss.py``.  With gamma = 1 and alpha = 0 it is fairseq's
``label_smoothed_cross_entropy``, which this criterion extends.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from fairseq.logging import metrics
from fairseq.tasks.language_modeling import LanguageModelingTask
from fairseq.tasks.translation import TranslationTask
from torch import Tensor

from genft_fairseq.errors import UserError, check_range
from genft_fairseq.functional.linear_loss import Wanted
from genft_fairseq.functional.token_loss import Targets, TokenLoss, TokenTerms
from genft_fairseq.generation.decoder_input import require_left_to_right
from genft_fairseq.generation.decoder_output import decoder_output


@dataclass
class TokenCriterionConfig(LabelSmoothedCrossEntropyCriterionConfig):
    gamma: float = field(
        default=1.0,
        metadata={"help": "ScaleGrad: weight of novel tokens, in (0, 1]; 1 means no rescaling"},
    )
    unlikelihood_alpha: float = field(
        default=0.0,
        metadata={"help": "weight of the token-level unlikelihood, at least 0; 0 means none"},
    )
    loss_chunk_size: int = field(
        default=0,
        metadata={
            "help": "project and score this many positions at a time, so that the logits of a "
            "batch are never held; some hundred are fast; 0: all at once"
        },
    )


class TokenCriterion(LabelSmoothedCrossEntropyCriterion):
    """Label-smoothed likelihood, rescaled by ScaleGrad, plus unlikelihood.

    Subclasses name in ``metrics`` which of ``seen_mass`` and ``unlikelihood`` they always log;
    others are logged where their flag has an effect.
    """

    registered_name: str
    metrics: tuple[str, ...] = ()

    def __init__(self, cfg: TokenCriterionConfig, task: Any):
        _check_task(self, task)
        check_range(
            "--label-smoothing", cfg.label_smoothing, 0 <= cfg.label_smoothing < 1, "[0, 1)"
        )
        check_range("--gamma", cfg.gamma, 0 < cfg.gamma <= 1, "(0, 1]")
        alpha = cfg.unlikelihood_alpha
        check_range("--unlikelihood-alpha", alpha, 0 <= alpha < math.inf, "[0, inf)")
        prefix = cfg.ignore_prefix_size
        check_range("--ignore-prefix-size", prefix, prefix >= 0, "[0, inf)")
        super().__init__(task, cfg.sentence_avg, cfg.label_smoothing, prefix, cfg.report_accuracy)
        chunk = cfg.loss_chunk_size
        check_range("--loss-chunk-size", chunk, chunk >= 0, "[0, inf)")
        self.loss_chunk_size = chunk
        # Tasks whose ntokens counts the targets.
        self.counted = isinstance(task, TranslationTask | LanguageModelingTask)
        self.token_loss = TokenLoss(
            smoothing=cfg.label_smoothing,
            gamma=cfg.gamma,
            alpha=alpha,
            with_seen_mass="seen_mass" in self.metrics,
            with_unlikelihood="unlikelihood" in self.metrics,
            with_correct=cfg.report_accuracy,
        )

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple:
        """Compute the loss of a sample.

        Returns:
            the loss (a sum in nats, or with ``reduce=False`` one number a position, (B*T', 1)), the
            sample size that divides its gradient, and what to log.

        Raises:
            UnsuitableModel: the model is non-autoregressive.
        """
        require_left_to_right(model, f"--criterion {self.registered_name}")
        output, net_output = decoder_output(
            model, lambda: model(**sample["net_input"]), self.loss_chunk_size
        )
        targets = self.targets(model.get_targets(sample, net_output), sample)
        wanted = Wanted(total=self.eps > 0, argmax=self.report_accuracy)
        # Of the model; it may be larger than the dictionary.
        token_loss = replace(self.token_loss, vocabulary=output.vocabulary)
        total, terms = output.after(self.ignore_prefix_size).loss(
            targets, token_loss, wanted, per_position=not reduce
        )
        ntokens = self.target_tokens(sample)
        sample_size = sample["target"].size(0) if self.sentence_avg else ntokens
        logging_output = {
            "loss": total.detach(),
            "nll_loss": terms.nll.detach().sum(),
            "ntokens": ntokens,
            "nsentences": sample["target"].size(0),
            "sample_size": sample_size,
            **self.method_metrics(terms, targets),
        }
        if terms.correct is not None:
            # Kept as tensors: fairseq's own criterion waits for the device here.
            scored = targets.scored.ne(self.padding_idx)
            logging_output.update(n_correct=terms.correct.sum(), total=scored.sum())
        return total if reduce else terms.loss.view(-1, 1), sample_size, logging_output

    def target_tokens(self, sample: dict[str, Any]) -> Any:
        """Count the targets, which divide the loss.

        A task's ``ntokens`` may count other tokens: all of a sentence of which some are masked
        (``masked_lm``), or those of the source (``denoising``).

        Returns:
            a number; on a GPU a tensor, because a number would wait for the device.
        """
        target = sample["target"]
        if target.device.type == "cpu":
            return int(target.ne(self.padding_idx).sum())
        return sample["ntokens"] if self.counted else target.ne(self.padding_idx).sum()

    def targets(self, sequence: Tensor, sample: dict[str, Any]) -> Targets:
        """Return the targets, (B, T); a criterion that weights positions does it here."""
        prefix = self.ignore_prefix_size
        return Targets(sequence, self.padding_idx, prefix, self.token_loss.needs_seen)

    def method_metrics(self, terms: TokenTerms, targets: Targets) -> dict[str, Any]:
        """Return the sums behind the method's own metrics, the same keys on every rank."""
        found = {"seen_mass": terms.seen_mass, "unlikelihood": terms.unlikelihood}
        sums = {name: value.detach().sum() for name, value in found.items() if value is not None}
        if sums:
            sums["scored"] = targets.scored.ne(self.padding_idx).sum()
        return sums

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log fairseq's metrics, then the method's own as means over all scored tokens."""
        super().reduce_metrics(logging_outputs)
        log_mean(logging_outputs, "seen_mass", "scored", unit=1.0)
        log_mean(logging_outputs, "unlikelihood", "scored", unit=math.log(2))


def log_mean(logging_outputs: list[dict[str, Any]], name: str, count: str, unit: float) -> None:
    """Log ``sum(name) / sum(count) / unit`` over all updates, if the outputs have that metric.

    The sums are divided when they are shown, so that updates of any sizes are weighted rightly.
    """
    if any(name in log for log in logging_outputs):
        total, number = f"_{name}_sum", f"_{name}_count"  # fairseq shows no name that begins so
        metrics.log_scalar_sum(total, sum(log.get(name, 0) for log in logging_outputs))
        metrics.log_scalar_sum(number, sum(log.get(count, 0) for log in logging_outputs))
        metrics.log_derived(name, lambda meters: _mean(meters[total].sum, meters[number].sum, unit))


def _mean(total: Any, number: Any, unit: float) -> Any:
    # fairseq's trainer reads every metric in every update, shown or not: a Python number would
    # wait for the device.
    if torch.is_tensor(number) and number.device.type != "cpu":
        return (total / number.double() / unit).round(decimals=4)
    # As fairseq shows a meter without values.
    return round(float(total) / float(number) / unit, 4) if number > 0 else None


def _check_task(criterion: TokenCriterion, task: Any) -> None:
    if getattr(task, "target_dictionary", None) is None:
        raise UserError(
            f"--criterion {criterion.registered_name} needs a task with a target dictionary "
            f"(translation or language_modeling, say), but {type(task).__name__} has none"
        )
