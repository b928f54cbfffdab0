"""``--best-checkpoint-metric``: one that validation logs, which is found out before training.

fairseq looks the metric up at the end of the first validation, after a whole epoch, and stops with
nothing saved where there is none of that name.  Which metrics there are depends on the criterion
and the task, so a batch of the validation set is scored before the first update.
"""

from functools import wraps
from typing import Any

from fairseq import checkpoint_utils
from fairseq.logging import metrics
from fairseq_cli import train as training

from genft_fairseq.errors import UserError


def apply() -> None:
    """Check the metric before training, and in each validation; a second call changes nothing."""
    if getattr(training.get_valid_stats, "genft", False):
        return
    train, validate, complete = training.train, training.validate, training.get_valid_stats

    @wraps(train)
    def train_checked(cfg: Any, trainer: Any, task: Any, epoch_itr: Any) -> Any:
        asked = cfg.checkpoint.best_checkpoint_metric != "loss"  # which every criterion logs
        if asked and not cfg.dataset.disable_validation and not vars(trainer).get("_genft_metric"):
            _try_first_batch(cfg, trainer, task)
            trainer._genft_metric = True
        return train(cfg, trainer, task, epoch_itr)

    @wraps(validate)
    def validate_or_save(cfg: Any, trainer: Any, task: Any, epoch_itr: Any, *rest: Any) -> Any:
        try:
            return validate(cfg, trainer, task, epoch_itr, *rest)
        except _MissingMetric:
            checkpoint_utils.save_checkpoint(cfg.checkpoint, trainer, epoch_itr, None)
            raise

    @wraps(complete)
    def get_valid_stats(cfg: Any, trainer: Any, stats: dict[str, Any], *rest: Any) -> Any:
        _require_metric(cfg, trainer.task, stats)
        return complete(cfg, trainer, stats, *rest)

    get_valid_stats.genft = True  # type: ignore[attr-defined]
    training.train, training.validate = train_checked, validate_or_save
    training.get_valid_stats = get_valid_stats


class _MissingMetric(UserError):
    """Validation logs no metric of the name that was asked for."""


def _try_first_batch(cfg: Any, trainer: Any, task: Any) -> None:
    subset = cfg.dataset.valid_subset.split(",")[0]
    batches = trainer.get_valid_iterator(subset).next_epoch_itr(
        shuffle=False, set_dataset_epoch=False
    )
    trainer.begin_valid_epoch(1)
    with metrics.aggregate(new_root=True) as logged:
        for sample in batches:
            trainer.valid_step(sample)
            _require_metric(cfg, task, logged.get_smoothed_values())
            break
    metrics.reset_meters("valid")  # which the step has logged to as well


def _require_metric(cfg: Any, task: Any, stats: dict[str, Any]) -> None:
    """Refuse a metric that is not logged.

    Args:
        cfg: of the run.
        task: that validates.
        stats: what a validation has logged; BLEU is added to it where no text has a word.

    Raises:
        _MissingMetric: it is not among them.
    """
    metric = cfg.checkpoint.best_checkpoint_metric
    known = {*stats, "num_updates"}
    if metric in known or hasattr(task, "post_validate"):  # which may add to them
        return
    if metric == "bleu" and getattr(getattr(task, "cfg", None), "eval_bleu", False):
        stats["bleu"] = 0.0
        return
    names = ", ".join(sorted(name for name in stats if not name.startswith("_")))
    hint = "; bleu needs --eval-bleu" if metric == "bleu" else ""
    raise _MissingMetric(
        f"--best-checkpoint-metric {metric} is not among what validation logs: {names}{hint}"
    )
