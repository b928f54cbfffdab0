"""Training data in shards, several validation sets, and alignments."""

import re
import shutil

import pytest
from fairseq.data import ConcatDataset, data_utils
from fairseq_commands import TINY_LANGUAGE_MODEL, TINY_TRANSLATION, USER_DIR, run, train
from refusals import assert_refused, refuses

FLAGS = ["--criterion", "scalegrad", "--max-epoch", 1, "--num-workers", 0, "--no-save"]
MODELS = {
    "translation": TINY_TRANSLATION,
    "language_model": [*TINY_LANGUAGE_MODEL, "--sample-break-mode", "eos"],
}


@pytest.fixture(params=MODELS)
def parts(request, tmp_path):
    """A data folder with ``train1`` and ``valid1``, and the flags of a model."""
    data = request.getfixturevalue(f"{request.param}_data")
    shutil.copytree(data, tmp_path / "data")
    for split, other in (("train1", "valid"), ("valid1", "test")):
        for path in data.glob(f"{other}.*"):
            shutil.copy(path, tmp_path / "data" / path.name.replace(other, split, 1))
    return tmp_path / "data", MODELS[request.param]


def validated(done):
    """The loss of each validation set."""
    found = re.findall(r"valid on '(\w+)' subset \| loss ([\d.]+)", done.output)
    return {name: float(loss) for name, loss in found}


def test_training_data_in_shards(parts, tmp_path):
    data, model = parts
    done = train(data, tmp_path / "run", model, *FLAGS, "--ignore-unused-valid-subsets")
    for split, size in (("train", 80), ("train1", 40)):
        assert re.search(rf"loaded {size} examples from: {data}/{split}\b", done.output)
    assert set(validated(done)) == {"valid"}


def test_several_validation_sets(parts, tmp_path):
    data, model = parts
    named = train(data, tmp_path / "a", model, *FLAGS, "--valid-subset", "valid,valid1")
    assert set(validated(named)) == {"valid", "valid1"}
    alone = train(data, tmp_path / "b", model, *FLAGS, "--ignore-unused-valid-subsets")
    assert validated(alone)["valid"] == validated(named)["valid"]


@pytest.mark.parametrize("named", [[], ["--valid-subset", "valid,valid1"]], ids=["", "named"])
def test_combined_validation_sets(named, parts, tmp_path):
    """One loss, between those of the parts."""
    data, model = parts
    apart = validated(
        train(data, tmp_path / "a", model, *FLAGS, "--valid-subset", "valid,valid1")
    ).values()
    done = train(data, tmp_path / "b", model, *FLAGS, "--combine-valid-subsets", *named)
    combined = validated(done)
    assert set(combined) == {"valid"}
    assert min(apart) <= combined["valid"] <= max(apart)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], ["--valid-subset", "valid1"]),
        (["--valid-subset", "valid1,test", "--combine-valid-subsets"], ["--valid-subset", "test"]),
    ],
    ids=["left out", "other names"],
)
def test_what_is_refused(flags, words, parts, tmp_path):
    data, model = parts
    done = train(data, tmp_path / "run", model, *FLAGS, *flags, check=False)
    assert_refused(done, *words, unwritten=tmp_path / "run")


def test_a_part_behind_a_gap(parts, tmp_path):
    """It would not be combined."""
    data, model = parts
    for path in list(data.glob("valid1.*")):
        path.rename(path.with_name(path.name.replace("valid1", "valid2")))
    done = train(data, tmp_path / "run", model, *FLAGS, "--combine-valid-subsets", check=False)
    assert_refused(done, "valid2", unwritten=tmp_path / "run")


def test_the_primary_shard_is_repeated_as_often_as_it_says(parts):
    data, _ = parts
    part = data_utils.load_indexed_dataset(
        str(data / ("train.en-de.en" if (data / "dict.en.txt").exists() else "train"))
    )
    sizes = [len(ConcatDataset([part, part], [ratio, 1])) for ratio in (-1, 1, 3)]
    assert sizes == [160, 160, 320]
    for ratio in (0, -2):
        with refuses("--upsample-primary", ratio):
            ConcatDataset([part, part], [ratio, 1])


def test_alignments_that_are_missing(translation_data, tmp_path):
    """Of none, and of a part."""
    flags = [*FLAGS, "--load-alignments"]
    done = train(translation_data, tmp_path / "run", TINY_TRANSLATION, *flags, check=False)
    assert_refused(done, "--load-alignments", "train.align.en-de", unwritten=tmp_path / "run")


def test_unequal_sides_are_named(translation_data, tmp_path):
    """Of data that were made without this package."""
    data = tmp_path / "data"
    shutil.copytree(translation_data, data)
    for ending in ("idx", "bin"):
        shutil.copy(data / f"valid.en-de.de.{ending}", data / f"train.en-de.de.{ending}")
    done = train(data, tmp_path / "run", TINY_TRANSLATION, *FLAGS, check=False)
    assert_refused(done, data, "train", unwritten=tmp_path / "run")


def test_validate_reads_several_sets(translation_data, translation_baseline, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(translation_data, data)
    for path in translation_data.glob("test.*"):
        shutil.copy(path, data / path.name.replace("test", "valid1", 1))
    done = run(
        *("fairseq-validate", data, "--user-dir", USER_DIR, "--task", "translation"),
        *("--path", translation_baseline / "checkpoint_last.pt", "--valid-subset", "valid,valid1"),
        *("--max-tokens", 500, "--cpu", "--num-workers", 0, "--log-format", "simple"),
    )
    assert set(re.findall(r"valid on '(\w+)' subset \| loss", done.output)) == {"valid", "valid1"}
