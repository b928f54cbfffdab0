"""``genft doctor``: all well here, and advice for each thing that can be wrong."""

import importlib
import importlib.metadata
import json
import shutil
import sysconfig

import pytest
import torch
from click.testing import CliRunner

import genft_fairseq
from genft_fairseq.cli import genft


def checks(arguments=("--json",)):
    result = CliRunner().invoke(genft, ["doctor", *arguments])
    return result.exit_code, {check["name"]: check for check in json.loads(result.stdout)}


def test_all_is_well_here():
    status, found = checks()
    assert status == 0, [check for check in found.values() if check["advice"]]
    assert torch.__version__ in found["torch"]["found"]
    assert {"fairseq.data.data_utils_fast", "genft_fairseq"} <= found.keys()


def test_fairseq_is_missing(monkeypatch):
    error = ModuleNotFoundError("No module named 'fairseq'", name="fairseq")
    monkeypatch.setattr(genft_fairseq, "fairseq_error", error)
    status, found = checks()
    assert status == 1
    assert "fairseq-fixed" in found["fairseq"]["advice"]
    assert "--force-reinstall" not in found["fairseq"]["advice"]


def pretended(monkeypatch, name, value):
    """Let a name of the module of ``genft doctor`` be something else."""
    monkeypatch.setattr(importlib.import_module("genft_fairseq.cli.doctor"), name, value)


def test_fairseq_as_published_on_a_newer_python(monkeypatch):
    error = ValueError("mutable default <class 'X'> for field common is not allowed")
    monkeypatch.setattr(genft_fairseq, "fairseq_error", error)
    pretended(monkeypatch, "_distributions", lambda module: {"fairseq": "0.12.2"})
    status, found = checks()
    assert status == 1
    assert "0.12.2" in found["fairseq"]["found"] and "mutable default" in found["fairseq"]["found"]
    assert "uninstall" in found["fairseq"]["advice"]
    assert "fairseq-fixed" in found["fairseq"]["advice"]


def test_two_packages_of_fairseq(monkeypatch):
    both = {"fairseq": "0.12.2", "fairseq-fixed": "0.12.3.1"}
    pretended(monkeypatch, "_distributions", lambda module: both)
    status, found = checks()
    assert status == 1 and "uninstall" in found["fairseq"]["advice"]


@pytest.mark.parametrize("sources", [{"fairseq": "0.12.2"}, {"ve-fairseq": "0.12.3"}, {}])
def test_any_fairseq_that_works_is_well(monkeypatch, sources):
    pretended(monkeypatch, "_distributions", lambda module: sources)
    status, found = checks()
    assert status == 0
    assert all(version in found["fairseq"]["found"] for version in sources.values())


def test_no_compiler(monkeypatch, tmp_path):
    """It is missed where fairseq has to be built."""
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    status, found = checks()
    assert status == 0 and "C++ compiler" not in found
    monkeypatch.setattr(genft_fairseq, "fairseq_error", ImportError("no libbleu"))
    status, found = checks()
    assert status == 1
    assert found["C++ compiler"]["advice"] and found["Python.h"]["advice"]
    assert str(tmp_path) in found["Python.h"]["found"]


def test_compiler_and_headers_are_found(monkeypatch, tmp_path):
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name == "g++" else None)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(genft_fairseq, "fairseq_error", ImportError("no libbleu"))
    _, found = checks()
    assert found["C++ compiler"] == {"name": "C++ compiler", "found": "/bin/g++", "advice": ""}
    assert found["Python.h"]["advice"] == ""


@pytest.mark.parametrize("name", ["omegaconf", "hydra-core"])
def test_a_library_of_another_version(monkeypatch, name):
    """What fairseq 0.12.2 has brought; pip 24.1 and newer complain of it at every call."""
    version = importlib.metadata.version

    def older(asked):
        return "1.0.7" if asked == name else version(asked)

    monkeypatch.setattr(importlib.metadata, "version", older)
    status, found = checks()
    assert status == 1
    assert "1.0.7" in found[name]["found"] and f"'{name}==" in found[name]["advice"]


def test_fairseq_does_not_import(monkeypatch):
    monkeypatch.setattr(genft_fairseq, "fairseq_error", ImportError("undefined symbol: _ZN2at"))
    status, found = checks()
    assert status == 1
    assert "undefined symbol" in found["fairseq"]["found"]
    assert "--force-reinstall" in found["fairseq"]["advice"]


def test_a_compiled_part_does_not_load(monkeypatch):
    original = importlib.import_module

    def broken(name, *rest):
        if name == "fairseq.data.data_utils_fast":
            raise ImportError("compiled for another numpy")
        return original(name, *rest)

    monkeypatch.setattr(importlib, "import_module", broken)
    status, found = checks()
    assert status == 1
    wrong = found["fairseq.data.data_utils_fast"]
    assert "another numpy" in wrong["found"]
    assert wrong["advice"]


def test_a_library_is_missing(monkeypatch):
    module = importlib.import_module("genft_fairseq.cli.doctor")
    monkeypatch.setattr(module, "LIBRARIES", ["no-such-library"])
    status, found = checks()
    assert status == 1
    assert "no-such-library" in found["no-such-library"]["advice"]


def test_an_extra_may_be_missing(monkeypatch):
    module = importlib.import_module("genft_fairseq.cli.doctor")
    monkeypatch.setattr(module, "EXTRAS", {"no-such-library": "for nothing"})
    status, found = checks()
    assert status == 0
    assert "for nothing" in found["no-such-library"]["found"]
    assert not found["no-such-library"]["advice"]


def test_the_table_says_what_to_do(monkeypatch):
    error = ModuleNotFoundError("No module named 'fairseq'", name="fairseq")
    monkeypatch.setattr(genft_fairseq, "fairseq_error", error)
    shown = CliRunner().invoke(genft, ["doctor"])
    assert shown.exit_code == 1
    assert "fairseq-fixed" in shown.stdout


def test_user_dir_is_the_package():
    shown = CliRunner().invoke(genft, ["user-dir"])
    assert shown.stdout.strip() == genft_fairseq.__path__[0]
