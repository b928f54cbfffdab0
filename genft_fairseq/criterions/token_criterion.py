"""The token-level loss that every criterion of this package shares.

At each scored position, in nats, with the model's own distribution p,

    (1 - eps - eps_i) * (-log p(y) + scalegrad correction(gamma))  +  eps_i * (-sum_v log p(v))
        + alpha * unlikelihood,                                       eps_i = eps / (V - 1)

where eps is ``--label-smoothing``.  With gamma = 1 and alpha = 0 it is fairseq's
``label_smoothed_cross_entropy``, which this criterion extends.
"""

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from fairseq.logging import metrics
from torch import Tensor

from genft_fairseq.errors import UserError, check_range
from genft_fairseq.functional.scalegrad import scalegrad_correction
from genft_fairseq.functional.seen_tokens import first_occurrence_mask, seen_mask, seen_mass
from genft_fairseq.functional.selective_log_softmax import selective_log_softmax
from genft_fairseq.functional.unlikelihood import negative_candidates_loss
from genft_fairseq.generation.model_logits import model_logits


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


class TokenTerms(NamedTuple):
    """The parts of the token loss, each (B, T') over the positions after the ignored prefix.

    In nats and 0 at padding; ``seen_mass`` is a probability.  ``seen_mass`` and ``unlikelihood``
    are None where no knob and no figure asks for them.
    """

    loss: Tensor
    nll: Tensor
    seen_mass: Tensor | None
    unlikelihood: Tensor | None
    target: Tensor
    logits: Tensor


class TokenCriterion(LabelSmoothedCrossEntropyCriterion):
    """Label-smoothed likelihood, rescaled by ScaleGrad, plus unlikelihood.

    Subclasses name in ``figures`` which of ``seen_mass`` and ``unlikelihood`` they always log; one
    whose knob is turned is logged as well.
    """

    registered_name: str
    figures: tuple[str, ...] = ()

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
        self.gamma = cfg.gamma
        self.alpha = alpha
        self.needs_seen_mass = self.gamma < 1 or "seen_mass" in self.figures
        self.needs_unlikelihood = self.alpha > 0 or "unlikelihood" in self.figures

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple:
        """Compute the loss of a sample.

        Returns:
            the loss (a sum in nats, or with ``reduce=False`` one number a position, (B*T', 1)), the
            sample size that divides its gradient, and what to log.
        """
        net_output = model(**sample["net_input"])
        terms = self.token_terms(model, net_output, sample)
        loss = self.position_loss(terms, sample)
        total = loss.sum()
        sample_size = sample["target"].size(0) if self.sentence_avg else sample["ntokens"]
        logging_output = {
            "loss": total.detach(),
            "nll_loss": terms.nll.detach().sum(),
            "ntokens": sample["ntokens"],
            "nsentences": sample["target"].size(0),
            "sample_size": sample_size,
            **self.method_figures(terms),
        }
        if self.report_accuracy:
            logging_output.update(_accuracy(terms, self.padding_idx))
        return total if reduce else loss.view(-1, 1), sample_size, logging_output

    def token_terms(self, model: Any, net_output: Any, sample: dict[str, Any]) -> TokenTerms:
        """Compute the parts of the token loss from the model's output."""
        sequence = model.get_targets(sample, net_output)  # (B, T)
        prefix = self.ignore_prefix_size
        logits = model_logits(model, net_output)[:, prefix:]  # (B, T', V)
        target = sequence[:, prefix:]  # the prefix is seen, but not scored

        mask = None
        if self.needs_seen_mass or self.needs_unlikelihood:
            mask = seen_mask(sequence, self.padding_idx)[:, prefix:]  # (B, T', T)
        lprobs = selective_log_softmax(
            logits, target, None if mask is None else sequence, mask, with_total=self.eps > 0
        )
        padding = target.eq(self.padding_idx)

        nll = (-lprobs.target).masked_fill(padding, 0.0)
        loss, mass, unlikelihood = nll, None, None
        if self.needs_seen_mass:
            mass = seen_mass(lprobs.candidates).masked_fill(padding, 0.0)
            if self.gamma < 1:
                novel = first_occurrence_mask(sequence, self.padding_idx)[:, prefix:]
                correction = scalegrad_correction(mass, novel, self.gamma)
                loss = loss + correction.masked_fill(padding, 0.0)
        if self.eps > 0:
            eps_i = self.eps / (logits.size(-1) - 1)
            assert lprobs.total is not None
            smooth = (-lprobs.total).masked_fill(padding, 0.0)
            loss = (1 - self.eps - eps_i) * loss + eps_i * smooth
        if self.needs_unlikelihood:
            unlikelihood = negative_candidates_loss(lprobs.candidates, sequence, target)
            unlikelihood = unlikelihood.masked_fill(padding, 0.0)
            if self.alpha > 0:
                loss = loss + self.alpha * unlikelihood
        return TokenTerms(loss, nll, mass, unlikelihood, target, logits)

    def position_loss(self, terms: TokenTerms, sample: dict[str, Any]) -> Tensor:
        """Return the loss of each position, (B, T'); a criterion that adds a term does it here."""
        return terms.loss

    def method_figures(self, terms: TokenTerms) -> dict[str, Any]:
        """Return the sums behind the method's own figures, the same keys on every rank."""
        sums = {"seen_mass": terms.seen_mass, "unlikelihood": terms.unlikelihood}
        figures = {name: value.detach().sum() for name, value in sums.items() if value is not None}
        if figures:
            figures["scored"] = terms.target.ne(self.padding_idx).sum()
        return figures

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log fairseq's figures, then the method's own as means over all scored tokens."""
        super().reduce_metrics(logging_outputs)
        log_mean(logging_outputs, "seen_mass", "scored", unit=1.0)
        log_mean(logging_outputs, "unlikelihood", "scored", unit=math.log(2))


def log_mean(logging_outputs: list[dict[str, Any]], name: str, count: str, unit: float) -> None:
    """Log ``sum(name) / sum(count) / unit`` over all updates, where the outputs carry that figure.

    Two sums that are divided when they are shown: the mean is right whatever the sizes of the
    updates, and no update waits for the device.
    """
    if any(name in log for log in logging_outputs):
        total, number = f"_{name}_sum", f"_{name}_count"  # fairseq shows no name that begins so
        metrics.log_scalar_sum(total, sum(log.get(name, 0) for log in logging_outputs))
        metrics.log_scalar_sum(number, sum(log.get(count, 0) for log in logging_outputs))
        metrics.log_derived(name, lambda meters: _mean(meters[total].sum, meters[number].sum, unit))


def _mean(total: Any, number: Any, unit: float) -> float | None:
    # None is what fairseq shows of a meter that has seen nothing yet.
    return round(float(total) / float(number) / unit, 4) if number > 0 else None


def _check_task(criterion: TokenCriterion, task: Any) -> None:
    if getattr(task, "target_dictionary", None) is None:
        raise UserError(
            f"--criterion {criterion.registered_name} needs a task with a target dictionary "
            f"(translation or language_modeling, say), but {type(task).__name__} has none"
        )


def _accuracy(terms: TokenTerms, padding_idx: int) -> dict[str, Tensor]:
    # Kept as tensors: fairseq's own criterion waits for the device here.
    scored = terms.target.ne(padding_idx)
    correct = terms.logits.detach().argmax(dim=-1).eq(terms.target) & scored
    return {"n_correct": correct.sum(), "total": scored.sum()}
