"""A checkpoint that a flag names is there, or training is refused; the default may be absent."""

from types import SimpleNamespace

import pytest
from fairseq import models
from fairseq_commands import TINY_TRANSLATION, moved, parameters, train
from refusals import assert_refused, refuses

CRITERION = ["--criterion", "scalegrad", "--max-update", 2]


@pytest.mark.parametrize("flag", ["--restore-file", "--continue-once"])
@pytest.mark.parametrize("name", ["checkpoint_lats.pt", "checkpoint_last.pt"])
def test_a_name_that_is_no_file(flag, name, translation_data, tmp_path):
    missing = tmp_path / "other" / name
    save_dir = tmp_path / "run"
    model = [*TINY_TRANSLATION, *CRITERION]
    done = train(translation_data, save_dir, model, flag, missing, check=False)
    assert_refused(done, flag, missing, unwritten=save_dir)


def test_a_name_relative_to_the_save_folder(
    translation_data, translation_baseline, copy_of, tmp_path
):
    """Names are relative to the current folder; where the file is instead is said."""
    save_dir = copy_of(translation_baseline, tmp_path / "run")
    (save_dir / "checkpoint_last.pt").rename(save_dir / "checkpoint_7.pt")
    model = [*TINY_TRANSLATION, *CRITERION]
    done = train(
        translation_data, save_dir, model, "--restore-file", "checkpoint_7.pt", check=False
    )
    assert_refused(done, "--restore-file", save_dir / "checkpoint_7.pt")


@pytest.mark.parametrize("whole", [False, True], ids=["default", "whole path"])
def test_the_last_checkpoint_of_a_run_may_be_absent(whole, translation_data, tmp_path):
    """Clusters start a run again with the same command as the first time."""
    save_dir = tmp_path / "run"
    name = save_dir / "checkpoint_last.pt" if whole else "checkpoint_last.pt"
    flags = ["--restore-file", name, "--save-interval-updates", 1]
    train(translation_data, save_dir, [*TINY_TRANSLATION, *CRITERION], *flags)
    again = train(
        *(translation_data, save_dir, [*TINY_TRANSLATION, *CRITERION]), *flags, "--max-update", 3
    )
    assert "@ 2 updates)" in again.output


def test_a_checkpoint_that_is_there(translation_data, translation_baseline, tmp_path):
    last = translation_baseline / "checkpoint_last.pt"
    flags = ["--criterion", "scalegrad", "--reset-optimizer", "--lr", 0, "--max-update", 1]
    train(translation_data, tmp_path, TINY_TRANSLATION, *flags, "--restore-file", last)
    assert not moved(parameters(tmp_path / "checkpoint_last.pt"), parameters(last))


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_pretrained_parts(side, tmp_path):
    """fairseq's speech models only warn that it is missing; a trained model needs it no more."""
    name = f"load_pretrained_{side}_from"
    cfg = SimpleNamespace(**{name: str(tmp_path / "none.pt")}, arch="no_such_model")
    with refuses(f"--load-pretrained-{side}-from", tmp_path / "none.pt"):
        models.build_model(cfg, None)
    with pytest.raises(AssertionError, match="no_such_model"):
        models.build_model(cfg, None, from_checkpoint=True)
