"""A run that diverges ends with the name of the layer."""

import pytest
from fairseq_commands import TINY_LANGUAGE_MODEL, TINY_TRANSLATION, run, run_warm, train
from refusals import assert_refused

LSTM = ["--task", "translation", "-s", "en", "-t", "de", "--arch", "lstm"]


@pytest.mark.parametrize(
    ("model", "criterion", "layer"),
    [
        (TINY_TRANSLATION, "label_smoothed_cross_entropy", "encoder.layers.0"),
        (TINY_TRANSLATION, "scalegrad", "encoder.layers.0"),
        (LSTM, "label_smoothed_cross_entropy", "encoder.lstm"),
        (TINY_LANGUAGE_MODEL, "cross_entropy", "decoder."),
    ],
)
def test_the_layer_is_named(model, criterion, layer, request, tmp_path):
    kind = "language_model_data" if model is TINY_LANGUAGE_MODEL else "translation_data"
    done = train(
        *(request.getfixturevalue(kind), tmp_path, model, "--criterion", criterion),
        *("--lr", "1e30", "--max-update", 6),
        check=False,
    )
    assert_refused(done, "--lr", "1e+30", layer)


@pytest.mark.parametrize("start", [run, run_warm])
def test_in_two_processes(start, translation_data, tmp_path):
    several = ["--distributed-world-size", 2] if start is run_warm else []
    done = train(
        *(translation_data, tmp_path, TINY_TRANSLATION, "--criterion", "scalegrad"),
        *("--lr", "1e30", "--max-update", 6, *several),
        check=False,
        run=start,
    )
    assert_refused(done, "--lr", "encoder.layers.0")
