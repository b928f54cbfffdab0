"""The base of criterions that train on on-policy text in some of their updates, and its checks.

Also ``search``: how the model chooses its tokens, from a criterion's flags.
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
    """The token loss in most updates, a loss on on-policy text in the others.

    The kind of an update is the same on all processes and in all micro-batches
    (``generation.stateless_rng.happens``).  Validation is always teacher-forced.

    Subclasses name in ``own_metrics`` the metrics of on-policy updates: a sum, the count that
    divides it, and the unit of the mean.
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
            # fairseq sums logs by key over the processes: all have the same keys in an update.
            return loss, sample_size, {**logging_output, "own_text": 1}
        return super().forward(model, sample, reduce)

    def on_policy_loss(self, model: Any, sample: dict[str, Any], reduce: bool) -> tuple:
        """Return what ``forward`` returns, on on-policy text."""
        raise NotImplementedError

    @classmethod
    def reduce_metrics(cls, logging_outputs: list[dict[str, Any]]) -> None:
        """Log the loss of every update; nll_loss of the teacher-forced ones alone."""
        # By the key, not by its value, for which several GPUs would have to wait.
        if not any("own_text" in log for log in logging_outputs):
            return super().reduce_metrics(logging_outputs)
        loss = sum(log.get("loss", 0) for log in logging_outputs)
        size = sum(log.get("sample_size", 0) for log in logging_outputs)
        divisor = size.clamp(min=1) if torch.is_tensor(size) else max(size, 1)
        metrics.log_scalar("loss", loss / divisor / math.log(2), size, round=3)
        for name, count, unit in cls.own_metrics:
            log_mean(logging_outputs, name, count, unit)


def check_left_to_right(criterion: TokenCriterion, task: Any) -> None:
    """Refuse a task whose targets a left-to-right decoder cannot continue.

    Raises:
        UserError: the task is of non-autoregressive models, or pads targets on the left.
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
    """Refuse a prefix that is as long as a language model's block, or longer.

    Raises:
        UserError: naming the flag.
    """
    block = getattr(task_settings(task), "tokens_per_sample", None)
    if block is not None and length >= block:
        raise UserError(
            f"{flag} must be smaller than the block, --tokens-per-sample {block}, but is {length}"
        )


def task_settings(task: Any) -> Any:
    """Return a task's settings, which some tasks of fairseq keep as ``args``."""
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
