"""The command lines of the four modes: training, fine-tuning, testing and inference.

Pure functions: what is to be done goes in, the words of a command come out.  The flags that a
user adds (``extra``) stand last, where they win.
"""

from collections.abc import Sequence
from pathlib import Path

from genft_fairseq.errors import UserError
from genft_fairseq.experiments.data_folders import DataFolder, has_flag, text_flags
from genft_fairseq.experiments.strategies import USER_DIR, strategy_flags

BEAM = 5

# What a user may not add: genft looks after these itself, and must know them; and the strategy is
# what it is called by its criterion and task.
_ELSEWHERE = {
    "--save-dir": "give it to genft, before the --",
    "--finetune-from-model": "use genft finetune --baseline CKPT",
    **dict.fromkeys(
        ("--criterion", "--task"), "choose another --strategy, or use fairseq-train itself"
    ),
}


def train_command(
    data: DataFolder,
    strategy: str,
    save_dir: Path,
    extra: Sequence[str] = (),
    *,
    cpu: bool = False,
    start: Sequence[str] = (),
) -> list[str]:
    """Return the ``fairseq-train`` command of a strategy.

    Args:
        data: what to train on.
        strategy: a key of ``STRATEGIES``.
        save_dir: where the checkpoints go.
        extra: flags that are added untouched.
        cpu: train without a GPU.
        start: flags for where training starts from.

    Raises:
        UserError: the strategy is not for this task, or a flag of ``extra`` is genft's own.
    """
    for flag, advice in _ELSEWHERE.items():
        if has_flag(extra, flag):
            raise UserError(f"{flag} cannot stand after the --: {advice}")
    return [
        *_head("fairseq-train", data),
        *(*strategy_flags(strategy, data.task), *data.language_flags),
        *(*start, "--save-dir", str(save_dir)),
        *_tail(cpu, extra),
    ]


def finetune_command(
    data: DataFolder,
    strategy: str,
    baseline: Path,
    architecture: Sequence[str],
    save_dir: Path,
    extra: Sequence[str] = (),
    *,
    cpu: bool = False,
) -> list[str]:
    """Return the ``fairseq-train`` command that fine-tunes a baseline by a strategy.

    Args:
        data: what to train on.
        strategy: a key of ``STRATEGIES``.
        baseline: the checkpoint to start from.
        architecture: the flags of its architecture; none where ``extra`` has them.
        save_dir: where the checkpoints go.
        extra: flags that are added untouched.
        cpu: train without a GPU.

    Raises:
        UserError: as ``train_command``.
    """
    start = [*architecture, "--finetune-from-model", str(baseline)]
    return train_command(data, strategy, save_dir, extra, cpu=cpu, start=start)


def has_architecture(extra: Sequence[str]) -> bool:
    """Tell whether the flags name an architecture of their own."""
    return has_flag(extra, "--arch", "-a")


def beam_size(search: str | None, beam: int | None) -> int:
    """Return the hypotheses that a search keeps: 5 for ``beam``, one for ``greedy``.

    Raises:
        UserError: a greedy search with a beam.
    """
    if search == "greedy" and beam not in (None, 1):
        raise UserError(f"--search greedy keeps one hypothesis: leave out --beam {beam}")
    return 1 if search == "greedy" else beam or BEAM


def evaluation_command(
    data: DataFolder,
    checkpoint: str,
    split: str,
    search: str | None = None,
    beam: int | None = None,
    results: Path | None = None,
    extra: Sequence[str] = (),
    *,
    cpu: bool = False,
) -> list[str]:
    """Return the command that tests a checkpoint.

    That is ``fairseq-generate`` for translation, with the flags by which it writes text as people
    read it.  A language model has nothing to translate: ``genft evaluate-lm`` measures it, and has
    it continue prefixes, greedily unless told a beam.

    Raises:
        UserError: a greedy search with a beam.
    """
    if data.task == "language_modeling":
        size = 1 if search is None and beam is None else beam_size(search, beam)
        searched = ("--search", "beam", "--beam", str(size)) if size > 1 else ()
        output = () if results is None else ("--output", str(results / f"evaluation-{split}.json"))
        words = ["genft", "evaluate-lm", data.path, "--path", checkpoint, "--split", split]
        return [*words, *searched, *output, *_tail(cpu, extra)]
    return [
        *_head("fairseq-generate", data),
        *("--task", data.task, *data.language_flags),
        *("--path", checkpoint, "--gen-subset", split, "--beam", str(beam_size(search, beam))),
        *(() if results is None else ("--results-path", str(results))),
        *text_flags(Path(data.path), extra),
        *_tail(cpu, extra),
    ]


def inference_command(
    data: DataFolder,
    checkpoint: str,
    search: str | None = None,
    beam: int | None = None,
    source: str | None = None,
    extra: Sequence[str] = (),
    *,
    cpu: bool = False,
) -> list[str]:
    """Return the ``fairseq-interactive`` command: lines of text in, the model's lines out.

    Raises:
        UserError: a greedy search with a beam.
    """
    return [
        *_head("fairseq-interactive", data),
        *("--task", data.task, *data.language_flags),
        *("--path", checkpoint, "--beam", str(beam_size(search, beam))),
        *(() if source is None else ("--input", source)),
        *text_flags(Path(data.path), extra),
        *_tail(cpu, extra),
    ]


def _head(command: str, data: DataFolder) -> list[str]:
    return [command, data.path, "--user-dir", USER_DIR]


def _tail(cpu: bool, extra: Sequence[str]) -> list[str]:
    return [*(["--cpu"] if cpu and not has_flag(extra, "--cpu") else []), *extra]
