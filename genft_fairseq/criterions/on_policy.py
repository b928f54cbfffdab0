"""What criterions share that train on text the model has generated.

What criterions share that train on the model's own text in some of their updates.

How a model chooses its tokens, from the flags of the criterion that lets it.
"""

import math
from typing import Any

import torch
from fairseq.logging import metrics
from fairseq.tasks.translation_lev import TranslationLevenshteinTask

from genft_fairseq.criterions.token_criterion import (
    TokenCriterion,
    TokenCriterionConfig,
    log_mean,
)
from genft_fairseq.errors import UserError, check_range
from genft_fairseq.generation.decoder_input import require_autoregressive
from genft_fairseq.generation.sampling import Search
from genft_fairseq.generation.stateless_rng import happens


class OnPolicyCriterion(TokenCriterion):
    """The token loss in most updates, a loss on the model's own text in the others.

    Which kind an update is, is the same for all processes and micro-batches
    (``generation.draws.happens``).  Validation is always teacher-forced.

    Subclasses name in ``own_metrics`` what the other updates log: a sum and the count that divides
    it, each shown as a mean in the given unit.
    """

    own_metrics: tuple[tuple[str, str, float], ...] = ()

    def __init__(self, cfg: TokenCriterionConfig, task: Any, rate_flag: str, rate: float):
        super().__init__(cfg, task)
        check_range(rate_flag, rate, 0 <= rate <= 1, "[0, 1]")
        check_left_to_right(self, task)
        self.rate = rate

    def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> tuple:
        """Compute the loss of a sample; see ``TokenCriterion.forward``."""
        require_autoregressive(model, f"--criterion {self.registered_name}")
        if self.training and happens(self.rate):
            loss, sample_size, logging_output = self.on_policy_loss(model, sample, reduce)
            # fairseq sums what the processes log by their keys, which are the same in all of them.
            return loss, sample_size, {**logging_output, "own_text": 1}
        return super().forward(model, sample, reduce)

    def on_policy_loss(self, model: Any, sample: dict[str, Any], reduce: bool) -> tuple:
        """Compute what ``forward`` returns, on the model's own text."""
        raise NotImplementedError

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log the loss of every update; nll_loss of the teacher-forced ones alone."""
        # By the key and not by its value, which on several GPUs would have to be waited for.
        if not any("own_text" in log for log in logging_outputs):
            return super().reduce_metrics(logging_outputs)
        loss = sum(log.get("loss", 0) for log in logging_outputs)
        size = sum(log.get("sample_size", 0) for log in logging_outputs)
        divisor = size.clamp(min=1) if torch.is_tensor(size) else max(size, 1)
        metrics.log_scalar("loss", loss / divisor / math.log(2), size, round=3)
        for name, count, unit in cls.own_metrics:
            log_mean(logging_outputs, name, count, unit)


def check_left_to_right(criterion: TokenCriterion, task: Any) -> None:
    """Refuse, where the task already tells, what no left-to-right decoder could continue.

    Raises:
        UserError: a task of non-autoregressive models, or targets that are padded on the left.
    """
    name = criterion.registered_name
    if isinstance(task, TranslationLevenshteinTask):
        raise UserError(
            f"--criterion {name} needs a model that writes from left to right, but the models of "
            "--task translation_lev are non-autoregressive"
        )
    if str(getattr(task_settings(task), "left_pad_target", False)) == "True":
        raise UserError(
            f"--criterion {name} continues targets on their right: leave out --left-pad-target"
        )


def check_prefix(flag: str, length: int, task: Any) -> None:
    """Refuse a prefix that leaves nothing of a language model's block.

    Raises:
        UserError: it is as long as a block, or longer.
    """
    block = getattr(task_settings(task), "tokens_per_sample", None)
    if block is not None and length >= block:
        raise UserError(
            f"{flag} must be smaller than the block, --tokens-per-sample {block}, but is {length}"
        )


def task_settings(task: Any) -> Any:
    """Return a task's flags, wherever it keeps them (some tasks of fairseq still as ``args``)."""
    return getattr(task, "cfg", None) or getattr(task, "args", None)


def search(prefix: str, cfg: Any) -> Search:
    """Make a ``Search`` of ``--PREFIX-search``, ``-temperature``, ``-top-k`` and ``-top-p``.

    Raises:
        UserError: a value out of range, or a flag of sampling without sampling.
    """
    kind = str(getattr(cfg, f"{prefix}_search"))
    values = {name: getattr(cfg, f"{prefix}_{name}") for name in ("temperature", "top_k", "top_p")}
    try:
        chosen = Search(sampling=kind == "sampling", **values)
    except ValueError as error:
        name = str(error).split()[0]
        flag = f"--{prefix}-{name.replace('_', '-')}"
        raise UserError(str(error).replace(name, flag, 1)) from None
    for name, value in values.items():
        if not chosen.sampling and value != getattr(Search, name):
            flag = f"--{prefix}-{name.replace('_', '-')}"
            raise UserError(f"{flag} {value} needs --{prefix}-search sampling, but it is {kind}")
    return chosen
