"""Tasks that fairseq has half moved to configuration objects.

Some still look for what their base class keeps elsewhere now, or take other arguments than it gives
them.  What is mended is a line each; what is not ends in one line instead of a traceback.
"""

from typing import Any

from fairseq.data.legacy.masked_lm_dictionary import MaskedLMDictionary
from fairseq.tasks.semisupervised_translation import SemisupervisedTranslationTask
from fairseq.tasks.translation_from_pretrained_bart import TranslationFromPretrainedBARTTask

from genft_fairseq.errors import UserError


def apply() -> None:
    """Apply every remedy; a second call changes nothing."""
    if hasattr(TranslationFromPretrainedBARTTask, "args"):
        return
    TranslationFromPretrainedBARTTask.args = property(lambda task: task.cfg)
    # Of --task translation_from_pretrained_xlm, cross_lingual_lm and legacy_masked_lm.
    MaskedLMDictionary.load = classmethod(load_dictionary)
    _refuse_semisupervised_training()


def load_dictionary(kind: Any, file: Any, add_special_symbols: bool = True) -> Any:
    """Load a dictionary that always has its special symbols, and takes no argument about them."""
    dictionary = kind()
    dictionary.add_from_file(file)
    return dictionary


def _refuse_semisupervised_training() -> None:
    """Its training step adds the figures of an update to a dictionary that has none."""
    make = SemisupervisedTranslationTask.__init__

    def init(self: Any, args: Any, dicts: Any, training: bool) -> None:
        if training:
            raise UserError(
                "--task semisupervised_translation cannot be trained by this version of fairseq "
                "(KeyError in its first update): use --task multilingual_translation or translation"
            )
        make(self, args, dicts, training)

    SemisupervisedTranslationTask.__init__ = init
