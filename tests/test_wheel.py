"""The wheel: what is in it, and that it works where there is no checkout."""

import email
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from fairseq_commands import OPTIMISATION, REPOSITORY, TINY_TRANSLATION, run

import genft_fairseq

EXTRAS = {"hf", "qa", "report", "docs", "dev"}
# Three lines of somebody's own, with a mistake that only our types show.
SCRIPT = """
from genft_fairseq.errors import check_range

check_range("--gamma", "0.2", True, "(0, 1]")
"""
# Else mypy reads torch as well, which takes it a minute.
MYPY = """
[mypy]
follow_imports = skip
[mypy-genft_fairseq.*]
follow_imports = normal
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that a wheel is built from, without what earlier builds have left beside them."""
    tree = tmp_path_factory.mktemp("wheel") / "tree"
    tree.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, tree)
    for name in ("genft_fairseq", "tests", "benchmarks"):
        ignored = shutil.ignore_patterns("__pycache__", "results")
        shutil.copytree(REPOSITORY / name, tree / name, ignore=ignored)
    return tree


@pytest.fixture(scope="module")
def wheel(tree: Path) -> Path:
    """Built without a network."""
    built = tree.parent / "built"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", built, tree),
        ],
        check=True,
    )
    (wheel,) = built.iterdir()
    return wheel


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_all_of_the_package_and_nothing_else(wheel, tree):
    package = {
        path.relative_to(tree).as_posix()
        for path in (tree / "genft_fairseq").rglob("*")
        if path.is_file()
    }
    assert {"genft_fairseq/py.typed", "genft_fairseq/report/templates/report.html"} <= package
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == package
    kinds = {name.rpartition("/")[2] for name in names - package}
    assert kinds == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "LICENSE"}


def test_the_metadata(metadata):
    assert metadata["Name"] == "genft_fairseq"
    assert metadata["Version"] == genft_fairseq.__version__
    assert f"\nversion: {metadata['Version']}\n" in (REPOSITORY / "CITATION.cff").read_text()
    assert metadata["License"] == "MIT" and metadata["License-File"] == "LICENSE"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "Typing :: Typed" in metadata.get_all("Classifier")


def test_the_extras(metadata):
    assert set(metadata.get_all("Provides-Extra")) == EXTRAS
    needed: dict[str, set[str]] = {extra: set() for extra in EXTRAS}
    for line in metadata.get_all("Requires-Dist"):
        for extra in EXTRAS:
            if f'extra == "{extra}"' in line:
                needed[extra].add(line.partition(";")[0].partition(">")[0].strip())
    assert needed["hf"] == {"transformers"} and needed["qa"] == {"bm25s"}
    assert needed["report"] == {"Jinja2", "matplotlib"}
    assert set.union(*needed.values()) == needed["dev"]
    from genft_fairseq.cli.doctor import EXTRAS as SHOWN

    assert {extra: set() for extra in ("hf", "qa", "report")} == {
        extra: needed[extra] - {name for name, use in SHOWN.items() if f"[{extra}]" in use}
        for extra in ("hf", "qa", "report")
    }


@pytest.fixture(scope="module")
def clean(wheel: Path) -> Path:
    """An environment in which the wheel is installed; fairseq and the others are the tests' own.

    A ``.pth`` file names the folder in which those are.  The ``.pth`` files in there have no effect
    then, so that the checkout, which one of them names, cannot be imported.
    """
    folder = wheel.parent.parent / "clean"
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet"),
            *("--no-index", "--no-deps", wheel),
        ],
        check=True,
    )
    (packages,) = folder.glob("lib/python*/site-packages")
    others = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (packages / "others.pth").write_text("".join(f"{path}\n" for path in sorted(others)))
    return folder


def shell(clean: Path, command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command outside the checkout, with no more in its environment than it needs."""
    home = clean.parent / "home"
    home.mkdir(exist_ok=True)
    path = os.pathsep.join([str(clean / "bin"), "/usr/bin", "/bin"])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=home,
        env={"PATH": path, "HOME": str(home), "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if check and done.returncode:
        pytest.fail(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


def test_the_command_outside_the_checkout(clean):
    doctor = shell(clean, "genft doctor --json")
    checks = {check["name"]: check for check in json.loads(doctor.stdout)}
    assert not [check for check in checks.values() if check["advice"]]
    assert checks["genft_fairseq"]["found"].startswith(genft_fairseq.__version__)


def test_training_outside_the_checkout(clean, tmp_path):
    """By what ``genft user-dir`` prints; then a page about the run."""
    for split in ("train", "valid", "test"):
        for language in ("en", "de"):
            (tmp_path / f"{split}.{language}").write_text("a b c\nc b a\n" * 8)
    prefixes = [f"--{split}pref={tmp_path / split}" for split in ("train", "valid", "test")]
    run(
        *("fairseq-preprocess", "-s", "en", "-t", "de", "--joined-dictionary", *prefixes),
        *("--destdir", tmp_path / "data"),
    )
    flags = [*TINY_TRANSLATION, *OPTIMISATION, "--criterion", "scalegrad", "--max-update", "2"]
    shell(
        clean,
        f"user_dir=$(genft user-dir); echo $user_dir >user_dir; python -m fairseq_cli.train "
        f"{tmp_path / 'data'} --user-dir $user_dir --save-dir run {' '.join(flags)} >train.log 2>&1"
        f" || {{ cat train.log; exit 1; }}",
    )
    home = clean.parent / "home"
    assert Path((home / "user_dir").read_text().strip()).is_relative_to(clean)
    shell(clean, "cp train.log run/train.log; genft report run --output report.html")
    assert "</html>" in (home / "report.html").read_text()


def test_its_types_are_seen(clean, tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "mypy.ini").write_text(MYPY)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--python-executable", clean / "bin" / "python"),
            *("--cache-dir", os.devnull, "script.py"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "script.py:4: error: " in done.stdout and "check_range" in done.stdout
