"""The training strategies: the names people type, and the fairseq flags that each stands for."""

from dataclasses import dataclass
from pathlib import Path

import genft_fairseq
from genft_fairseq.errors import UserError

USER_DIR = str(Path(genft_fairseq.__file__).resolve().parent)  # of every command

TASKS = ("translation", "language_modeling")

STANDARD = "standard"  # maximum likelihood, which the others are compared with


@dataclass(frozen=True)
class Strategy:
    """A way of training, as fairseq flags.

    Attributes:
        name: what folders, results and tables call it.
        summary: one line for help texts and tables.
        criterion: ``--criterion`` and its flags.
        alias: another name for it that people type; empty where there is none.
        task_prefix: put before the task's name (the tasks of this package have fairseq's names).
        task_flags: the task's own flags.
        tasks: the fairseq tasks that it is for.
    """

    name: str
    summary: str
    criterion: tuple[str, ...]
    alias: str = ""
    task_prefix: str = ""
    task_flags: tuple[str, ...] = ()
    tasks: tuple[str, ...] = TASKS


STRATEGIES = {
    strategy.name: strategy
    for strategy in (
        Strategy(
            STANDARD,
            "maximum likelihood on gold prefixes",
            ("label_smoothed_cross_entropy",),
        ),
        Strategy(
            "auxiliary",
            "plus the loss of the first token",
            ("first_token_auxiliary",),
            alias="first-token",
        ),
        Strategy(
            "recurrent",
            "every input is the decoder's own prediction from a first pass",
            ("label_smoothed_cross_entropy",),
            alias="scheduled-sampling",
            task_prefix="scheduled_sampling_",
            task_flags=("--gold-schedule", "constant"),  # of probability 0, its default
        ),
        Strategy(
            "generative",
            "some updates on the model's own free-running continuation",
            ("generative_rollout",),
            alias="rollout",
        ),
        Strategy("scalegrad", "novel tokens rescaled by gamma", ("scalegrad",)),
        Strategy("unlikelihood", "tokens already seen made unlikely", ("unlikelihood",)),
        Strategy(
            "sequence-unlikelihood",
            "repeated n-grams of the model's own continuations made unlikely",
            ("sequence_unlikelihood",),
        ),
        Strategy(
            "minimum-risk",
            "expected score of sampled translations",
            ("minimum_risk",),
            tasks=("translation",),
        ),
    )
}

ALIASES = {strategy.alias: name for name, strategy in STRATEGIES.items() if strategy.alias}

# By every name that people type, the name that folders, results and tables have.
NAMES = {name: name for name in STRATEGIES} | ALIASES


def strategy_flags(name: str, task: str) -> list[str]:
    """Return the flags of ``fairseq-train`` that a strategy stands for.

    Args:
        name: a key of ``STRATEGIES``.
        task: ``translation`` or ``language_modeling``.

    Returns:
        ``--task`` and ``--criterion``, with their own flags; what follows them on a command line
        wins.

    Raises:
        UserError: the strategy is not for this task.
    """
    strategy = STRATEGIES[name]
    if task not in strategy.tasks:
        raise UserError(f"strategy {name} is for {', '.join(strategy.tasks)}, but not for {task}")
    return [
        *("--task", strategy.task_prefix + task, *strategy.task_flags),
        *("--criterion", *strategy.criterion),
    ]
