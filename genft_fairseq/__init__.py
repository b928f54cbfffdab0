"""GENeration Fine-Tuning for fairseq: what ``--user-dir genft_fairseq`` imports.

Importing the package mends fairseq for today's Python and torch (``compat``, ``safe_loading``) and
registers the criterions, models and tasks.  Without a working fairseq the package still imports, so
that ``genft doctor`` can say what is wrong; ``fairseq_error`` then holds the reason.
"""

import logging

__version__ = "0.2.0"

fairseq_error: Exception | None = None

# On every start fairseq advises to install tensorboardX, which its text-to-speech task alone needs.
logging.getLogger("fairseq.tasks.text_to_speech").setLevel(logging.WARNING)

try:
    import fairseq as _fairseq  # noqa: F401
except Exception as error:  # a broken build raises more than ImportError
    fairseq_error = error
else:
    from genft_fairseq import (
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

    from genft_fairseq import criterions, models, tasks  # noqa: F401
    from genft_fairseq.data import hugging_face_bpe, prepared_tokeniser  # noqa: F401
    from genft_fairseq.generation import unknown_words

    unknown_words.apply()
