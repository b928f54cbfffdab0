"""Changes to ``fairseq.tasks``: missing data is named, and older tasks run."""

import sys
from typing import Any

from fairseq.data.legacy.masked_lm_dictionary import MaskedLMDictionary
from fairseq.tasks import translation
from fairseq.tasks.language_modeling import LanguageModelingTask
from fairseq.tasks.semisupervised_translation import SemisupervisedTranslationTask
from fairseq.tasks.translation import TranslationTask
from fairseq.tasks.translation_from_pretrained_bart import TranslationFromPretrainedBARTTask

from genft_fairseq.errors import UserError
from genft_fairseq.patches.registry import extends, replaces


@extends(TranslationTask, "load_dataset")
def load_dataset(original: Any, self: Any, split: str, *args: Any, **kwargs: Any) -> Any:
    """A set whose target side is missing loads as if it had only a source side.

    That is right for decoding, but training would stop inside the model, and for a validation set
    only after its first epoch.  Commands that decode say so by passing ``task_cfg``.
    """
    result = original(self, split, *args, **kwargs)
    training = "task_cfg" not in kwargs
    if training and getattr(self.datasets[split], "tgt", "") is None:
        pair = f"{self.cfg.source_lang}-{self.cfg.target_lang}.{self.cfg.target_lang}"
        raise UserError(
            f"Dataset not found: {split}.{pair} (.idx and .bin) in {self.cfg.data}; training "
            f"needs the target side: is the folder fairseq-preprocess's output, and complete?"
        )
    return result


def _translation_tasks() -> tuple[Any, ...]:
    """The modules that know ``load_langpair_dataset`` by a name of their own."""
    tasks = [module for name, module in sys.modules.items() if name.startswith("fairseq.tasks.")]
    load = translation.load_langpair_dataset
    return tuple(module for module in tasks if vars(module).get("load_langpair_dataset") is load)


@extends(_translation_tasks(), "load_langpair_dataset")
def load_langpair_dataset(
    original: Any, data_path: str, split: str, *args: Any, **kwargs: Any
) -> Any:
    """Source and target of different lengths end in an assertion that names no file."""
    try:
        return original(data_path, split, *args, **kwargs)
    except AssertionError as error:
        raise UserError(
            f"{data_path}: source and target of {split} do not belong together "
            f"({str(error) or 'a part has one side only'}): run fairseq-preprocess again"
        ) from error


def require_alignments(task: Any, subset: str) -> None:
    """Refuse ``--load-alignments`` without an alignment of every pair of the training set."""
    settings: Any = getattr(task, "cfg", None) or getattr(task, "args", None)
    dataset = task.dataset(subset)
    if getattr(settings, "load_alignments", False) and hasattr(dataset, "align_dataset"):
        found = 0 if dataset.align_dataset is None else len(dataset.align_dataset)
        if found != len(dataset):
            pair = f"{settings.source_lang}-{settings.target_lang}"
            raise UserError(
                f"--load-alignments needs an alignment of each of {len(dataset)} pairs, but "
                f"{settings.data} holds {found} in {subset}.align.{pair}: give "
                "fairseq-preprocess --align-suffix"
            )


@extends(LanguageModelingTask, "eval_lm_dataloader")
def eval_lm_dataloader(original: Any, self: Any, dataset: Any, *given: Any, **named: Any) -> Any:
    """``fairseq-eval-lm --context-window`` read other contexts with more than one worker.

    The context of a block is what its worker has read before, and each reads every nth batch.
    fairseq also skips blocks that are longer than the model: its perplexity of no token is 1.
    """
    context = named.get("context_window", 0)
    if context:
        named["num_workers"] = min(named.get("num_workers", 1), 1)
    _require_positions(self.args, dataset.sizes, context, named.get("max_positions"))
    return original(self, dataset, *given, **named)


def _require_positions(task: Any, sizes: Any, context: int, positions: Any) -> None:
    """Refuse blocks that are longer than the model.

    A sentence that is too long is skipped with a warning; blocks of one length are all too long.
    """
    if not isinstance(positions, int) or len(sizes) == 0:
        return
    blocks = str(task.sample_break_mode or "none") == "none"
    longest = int(max(sizes) if blocks else min(sizes)) + context
    if longest > positions:
        raise UserError(
            f"--tokens-per-sample {task.tokens_per_sample + context}: the text is read "
            f"{longest} tokens at a time, but the model has {positions} positions: "
            f"give at most {positions}"
        )


replaces(
    TranslationFromPretrainedBARTTask,
    "args",
    why="The task looks for its settings as ``args``, which its base class keeps as ``cfg``.",
    issue=4479,
)(property(lambda task: task.cfg))


def load_dictionary(kind: Any, file: Any, add_special_symbols: bool = True) -> Any:
    """Load a dictionary that always has its special symbols, and takes no argument about them."""
    dictionary = kind()
    dictionary.add_from_file(file)
    return dictionary


replaces(
    MaskedLMDictionary,
    "load",
    why="The tasks ``translation_from_pretrained_xlm``, ``cross_lingual_lm`` and "
    "``legacy_masked_lm`` pass an argument that their dictionary does not take.",
)(classmethod(load_dictionary))


@extends(SemisupervisedTranslationTask, "__init__")
def semisupervised(original: Any, self: Any, args: Any, dicts: Any, training: bool) -> None:
    """Training is refused: it adds metrics to a dictionary that lacks them (KeyError)."""
    if training:
        raise UserError(
            "--task semisupervised_translation cannot be trained by this version of fairseq "
            "(KeyError in its first update): use --task multilingual_translation or translation"
        )
    original(self, args, dicts, training)
