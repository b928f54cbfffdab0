"""The changes made to fairseq, in the order in which they are applied."""

from genft_fairseq import __version__, errors
from genft_fairseq.patches import (
    checkpoints,
    compatibility,
    data,
    decoding,
    options,
    precision,
    preprocessing,
    safe_loading,
    scoring,
    trainer,
)


def apply() -> None:
    """Apply every patch; a second call changes nothing."""
    compatibility.apply()
    options.apply()
    data.apply()
    preprocessing.apply_fairseq_alignments()
    decoding.apply()
    data.apply_data_splits()
    preprocessing.apply()
    options.apply_named_files()
    trainer.apply_divergence()
    checkpoints.apply_older_tasks()
    precision.apply()
    trainer.apply_validation_metric()
    checkpoints.apply()
    trainer.apply_run_record(__version__)
    safe_loading.apply()
    trainer.apply_training_time()
    errors.install_one_line_errors()
    scoring.apply()
