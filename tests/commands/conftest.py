"""Tiny data and baselines, made once a session by the real commands."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fairseq_commands import TINY_LANGUAGE_MODEL, TINY_TRANSLATION, USER_DIR, run, train


def _preprocess(destination: Path, *arguments: object) -> Path:
    run("fairseq-preprocess", "--user-dir", USER_DIR, "--destdir", destination, *arguments)
    return destination


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sentences of a small vocabulary; the German side is the English one reversed."""
    folder = tmp_path_factory.mktemp("text")
    words = [f"w{i}" for i in range(20)]
    draw = random.Random(5)
    for split, size in (("train", 80), ("valid", 40), ("test", 12)):
        lines = [[draw.choice(words) for _ in range(draw.randint(3, 9))] for _ in range(size)]
        (folder / f"{split}.en").write_text("".join(" ".join(w) + "\n" for w in lines))
        (folder / f"{split}.de").write_text("".join(" ".join(w[::-1]) + "\n" for w in lines))
    return folder


@pytest.fixture(scope="session")
def translation_data(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefixes = [f"--{split}pref={text / split}" for split in ("train", "valid", "test")]
    return _preprocess(
        tmp_path_factory.mktemp("data") / "en_de",
        *("-s", "en", "-t", "de", "--joined-dictionary", *prefixes),
    )


@pytest.fixture(scope="session")
def language_model_data(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    prefixes = [f"--{split}pref={text / split}.en" for split in ("train", "valid", "test")]
    return _preprocess(tmp_path_factory.mktemp("data") / "lm", "--only-source", *prefixes)


@pytest.fixture(scope="session")
def translation_baseline(translation_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``checkpoint_last.pt`` after two updates of fairseq's own criterion."""
    folder = tmp_path_factory.mktemp("baseline")
    train(
        *(translation_data, folder, TINY_TRANSLATION),
        *("--criterion", "label_smoothed_cross_entropy", "--max-update", "2"),
    )
    return folder


@pytest.fixture(scope="session")
def language_model_baseline(
    language_model_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("baseline")
    train(
        *(language_model_data, folder, TINY_LANGUAGE_MODEL),
        *("--criterion", "cross_entropy", "--max-update", "2"),
    )
    return folder


@pytest.fixture
def copy_of() -> Callable[[Path, Path], Path]:
    """Copy a folder that a test will change."""
    return lambda source, target: Path(shutil.copytree(source, target))
