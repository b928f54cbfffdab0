"""``genft doctor``: all well here, and advice for each thing that can be wrong."""

import importlib
import json

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
    assert found["fairseq.data.data_utils_fast"]["found"] == "compiled, loads"
    assert "7 criterions, 4 tasks" in found["genft_fairseq"]["found"]


def test_fairseq_is_missing(monkeypatch):
    error = ModuleNotFoundError("No module named 'fairseq'", name="fairseq")
    monkeypatch.setattr(genft_fairseq, "fairseq_error", error)
    status, found = checks()
    assert status == 1
    assert "pip install --no-build-isolation --no-deps fairseq-fixed" in found["fairseq"]["advice"]
    assert "--force-reinstall" not in found["fairseq"]["advice"]


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
    assert "batching" in wrong["advice"]


def test_a_library_is_missing(monkeypatch):
    module = importlib.import_module("genft_fairseq.cli.doctor")
    monkeypatch.setattr(module, "LIBRARIES", ["no-such-library"])
    status, found = checks()
    assert status == 1
    assert found["no-such-library"]["advice"] == "pip install no-such-library"


def test_an_extra_may_be_missing(monkeypatch):
    module = importlib.import_module("genft_fairseq.cli.doctor")
    monkeypatch.setattr(module, "EXTRAS", {"no-such-library": "for nothing"})
    status, found = checks()
    assert status == 0
    assert found["no-such-library"]["found"] == "not installed; for nothing"


def test_the_table_says_what_to_do(monkeypatch):
    error = ModuleNotFoundError("No module named 'fairseq'", name="fairseq")
    monkeypatch.setattr(genft_fairseq, "fairseq_error", error)
    shown = CliRunner().invoke(genft, ["doctor"])
    assert shown.exit_code == 1
    assert "do: pip install" in " ".join(shown.stdout.split())


def test_user_dir_is_the_package():
    shown = CliRunner().invoke(genft, ["user-dir"])
    assert shown.stdout.strip() == genft_fairseq.__path__[0]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["evaluate-lm", "--help"]])
def test_help(arguments):
    assert "Usage: genft" in CliRunner().invoke(genft, arguments, prog_name="genft").output
