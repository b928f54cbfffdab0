"""``--criterion in_batch_negatives``: train a bi-encoder to pick each question's passage."""

import math
from dataclasses import dataclass
from typing import Any

from fairseq.criterions import FairseqCriterion, register_criterion
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics

from genft_fairseq.criterions.token_criterion import log_mean
from genft_fairseq.errors import UserError
from genft_fairseq.functional.in_batch_negatives import in_batch_negatives_loss


@dataclass
class InBatchNegativesCriterionConfig(FairseqDataclass):
    pass


@register_criterion("in_batch_negatives", dataclass=InBatchNegativesCriterionConfig)
class InBatchNegativesCriterion(FairseqCriterion):
    """The likelihood of a question's passage among all of the batch (``functional``).

    The other passages are the positives and hard negatives of the batch's other questions, and the
    question's own hard negatives.  On several processes each has the passages of its own batch
    alone: more questions a batch make the choice harder, more processes do not.

    Logs ``accuracy``, the share of questions whose own passage scores highest, and ``passages``,
    the number of passages that a question chooses from.
    """

    def __init__(self, cfg: InBatchNegativesCriterionConfig, task: Any):
        super().__init__(task)
        if not getattr(task, "ranks_passages", False):
            raise UserError(
                "--criterion in_batch_negatives needs questions with passages to rank: "
                f"--task retrieval, but the task is {type(task).__name__}"
            )

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple:
        """Compute the loss of a batch of questions.

        Returns:
            the loss (a sum in nats, or with ``reduce=False`` one number a question), the number of
            questions, and what to log.
        """
        scores = model(**sample["net_input"])  # (B, P)
        ignored = sample["ignored"]
        loss, correct = in_batch_negatives_loss(scores, sample["target"], ignored)
        questions = sample["target"].size(0)
        logging_output = {
            "loss": loss.detach().sum(),
            "ntokens": sample["ntokens"],
            "nsentences": questions,
            "sample_size": questions,
            "correct": correct.sum(),
            "choices": (~ignored).sum(),
        }
        return loss.sum() if reduce else loss, questions, logging_output

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log the loss in bits, the accuracy, and how many passages there were to choose from."""
        size = sum(log.get("sample_size", 0) for log in logging_outputs)
        loss = sum(log.get("loss", 0) for log in logging_outputs) / size / math.log(2)
        metrics.log_scalar("loss", loss, size, round=3)
        shown = [
            {**log, "accuracy": log.get("correct", 0), "passages": log.get("choices", 0)}
            for log in logging_outputs
        ]
        log_mean(shown, "accuracy", "nsentences", unit=1.0)
        log_mean(shown, "passages", "nsentences", unit=1.0)

    @staticmethod
    def logging_outputs_can_be_summed() -> bool:
        """Tell that all processes log sums under the same names."""
        return True
