"""The changes made to fairseq, in the order in which they are applied."""

from genft_fairseq import (
    __version__,
    arguments,
    compat,
    data_files,
    data_splits,
    divergence,
    errors,
    fairseq_alignments,
    fairseq_decoding,
    line_ends,
    named_files,
    older_tasks,
    precision,
    resuming,
    run_record,
    safe_loading,
    training_time,
    validation_metric,
)
from genft_fairseq.generation import unknown_words


def apply() -> None:
    """Apply every patch; a second call changes nothing."""
    compat.apply()
    arguments.apply()
    data_files.apply()
    fairseq_alignments.apply()
    fairseq_decoding.apply()
    data_splits.apply()
    line_ends.apply()
    named_files.apply()
    divergence.apply()
    older_tasks.apply()
    precision.apply()
    validation_metric.apply()
    resuming.apply()
    run_record.apply(__version__)
    safe_loading.apply()
    training_time.apply()
    errors.install_one_line_errors()
    unknown_words.apply()
