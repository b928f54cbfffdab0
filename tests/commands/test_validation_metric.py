"""``--best-checkpoint-metric``: what is not logged is refused before the first update."""

import pytest
from fairseq_commands import TINY_LANGUAGE_MODEL, TINY_TRANSLATION, parameters, train
from refusals import assert_refused

from genft_fairseq.errors import UserError
from genft_fairseq.patches import trainer

PLAIN = ["--criterion", "label_smoothed_cross_entropy", "--max-update", 2]


@pytest.mark.parametrize("metric", ["bleu", "nl_loss"])
def test_translation(metric, translation_data, tmp_path):
    flags = ["--best-checkpoint-metric", metric]
    done = train(translation_data, tmp_path, TINY_TRANSLATION, *PLAIN, *flags, check=False)
    assert_refused(done, "--best-checkpoint-metric", metric, "nll_loss", "ppl", unwritten=tmp_path)


def test_language_model(language_model_data, tmp_path):
    done = train(
        *(language_model_data, tmp_path, TINY_LANGUAGE_MODEL, "--criterion", "scalegrad"),
        *("--best-checkpoint-metric", "bleu", "--max-update", 2),
        check=False,
    )
    assert_refused(done, "--best-checkpoint-metric", "bleu", "seen_mass", unwritten=tmp_path)


def test_a_metric_of_the_criterion_s_own_changes_nothing(translation_data, tmp_path):
    flags = ["--criterion", "scalegrad", "--max-update", 3]
    train(translation_data, tmp_path / "a", TINY_TRANSLATION, *flags)
    flags += ["--best-checkpoint-metric", "seen_mass"]
    train(translation_data, tmp_path / "b", TINY_TRANSLATION, *flags)
    plain, chosen = (parameters(tmp_path / name / "checkpoint_last.pt") for name in ("a", "b"))
    assert all((plain[name] == chosen[name]).all() for name in plain)
    assert (tmp_path / "b" / "checkpoint_best.pt").exists()


def test_bleu_of_a_model_that_writes_nothing(translation_data, tmp_path):
    """fairseq then logs no BLEU, which ended the run after its first epoch."""
    done = train(
        *(translation_data, tmp_path, TINY_TRANSLATION, *PLAIN, "--eval-bleu"),
        *("--best-checkpoint-metric", "bleu", "--maximize-best-checkpoint-metric"),
        *("--eval-bleu-args", '{"beam": 1, "max_len_b": 0, "min_len": 0}'),
    )
    assert (tmp_path / "checkpoint_best.pt").exists() and "bleu" in done.output


def test_what_only_the_end_of_a_validation_tells_is_saved_first(
    translation_data, tmp_path, monkeypatch
):
    monkeypatch.setattr(trainer, "_try_first_batch", lambda *_: None)
    flags = ["--best-checkpoint-metric", "bleu"]
    done = train(translation_data, tmp_path, TINY_TRANSLATION, *PLAIN, *flags, check=False)
    assert_refused(done, "--best-checkpoint-metric", "bleu")
    assert (tmp_path / "checkpoint_last.pt").exists()
    assert issubclass(trainer._MissingMetric, UserError)
