"""Which exceptions of fairseq become a line, and which keep their traceback."""

import sys
import types

import pytest
import torch
from fairseq import scoring
from fairseq.data import data_utils
from fairseq.data.encoders.gpt2_bpe_utils import get_encoder
from fairseq.optim import build_optimizer
from fairseq.utils import parse_embedding
from omegaconf import OmegaConf

from genft_fairseq import errors
from genft_fairseq.errors import UserError, one_line, told

SOURCE = """
def on_purpose(kind, message):
    raise kind(message)

def asserts(message):
    assert False, message

def silent():
    assert False

def by_accident():
    return {}["key"] + len(None)

def a_bug():
    return [].index(1)

def imports():
    import a_package_that_nobody_has
"""


@pytest.fixture
def inside():
    """Functions of a module of fairseq's."""
    module = types.ModuleType("fairseq.made_up")
    exec(SOURCE, module.__dict__)
    return module


def caught(function, *arguments, **keywords):
    try:
        function(*arguments, **keywords)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    "kind", [ValueError, RuntimeError, NotImplementedError, ImportError, OSError, Exception]
)
def test_what_fairseq_raises_with_a_message_is_a_line(kind, inside):
    assert one_line(caught(inside.on_purpose, kind, "--flag is\n wrong")) == "--flag is wrong"
    assert one_line(caught(inside.asserts, "--flag")) == "--flag"


@pytest.mark.parametrize("kind", [KeyError, TypeError, AttributeError, IndexError, StopIteration])
def test_exceptions_of_python_s_protocols_are_bugs(kind, inside):
    assert one_line(caught(inside.on_purpose, kind, "name")) is None


def test_what_nobody_raised_on_purpose_is_a_bug(inside):
    for function in (inside.silent, inside.by_accident, inside.a_bug):
        assert one_line(caught(function)) is None


def test_other_code_than_fairseq_s_keeps_its_traceback():
    other = types.ModuleType("plugin_of_a_user")
    exec(SOURCE, other.__dict__)
    assert one_line(caught(other.on_purpose, ValueError, "message")) is None
    assert one_line(caught(other.imports)) is None


@pytest.mark.parametrize("kind", [ValueError, Exception])
def test_what_is_raised_in_a_computation_keeps_its_traceback(kind, inside):
    class Loss(torch.nn.Module):
        def forward(self):
            inside.on_purpose(kind, "message")

    assert one_line(caught(Loss())) is None
    assert one_line(caught(Loss().forward)) is None


def test_a_setting_that_only_the_code_asks_for_is_a_bug(inside):
    inside.settings = OmegaConf.create({"known": 1, "missing": "???"})
    OmegaConf.set_struct(inside.settings, True)
    exec("def asks(name):\n    return getattr(settings, name)", inside.__dict__)
    assert one_line(caught(inside.asks, "unknown")) is None
    assert one_line(caught(inside.asks, "missing")) == "--missing is required"


def test_a_package_that_is_missing(inside):
    assert "a_package_that_nobody_has" in str(one_line(caught(inside.imports)))


def test_settings_are_written_as_flags(inside, monkeypatch):
    monkeypatch.setattr(errors, "known_settings", {"max_tokens"})
    line = one_line(caught(inside.asserts, "max_tokens=5 of other_name, in /a/max_tokens"))
    assert line == "--max-tokens=5 of other_name, in /a/max_tokens"


def test_the_flag_that_chose_the_part(monkeypatch):
    monkeypatch.setitem(sys.modules, "editdistance", None)
    assert "--scoring wer" in str(one_line(caught(scoring.build_scorer, "wer", None)))
    unknown = OmegaConf.create({"_name": "adamm"})
    line = str(one_line(caught(build_optimizer, unknown, [torch.nn.Parameter(torch.ones(1))])))
    assert "--optimizer" in line and "adamm" in line and "adafactor" in line


def test_files(tmp_path):
    latin, words = tmp_path / "latin", tmp_path / "words"
    latin.write_bytes(b"one\ncaf\xe9 1\n")
    words.write_text("1 2\nword other\n")
    line = str(one_line(caught(parse_embedding, str(latin))))
    assert str(latin) in line and "line 2" in line
    assert str(words) in str(one_line(caught(parse_embedding, str(words))))
    assert str(words) in str(one_line(caught(get_encoder, str(words), str(latin))))


def test_compiled_code_of_fairseq_s():
    error = caught(data_utils.batch_by_size, [0, 1], lambda index: 7, max_tokens=5)
    assert isinstance(error, UserError) and "--max-tokens" in str(error) and "7" in str(error)


def test_a_process_passes_on_the_line(inside):
    """Of a process that others wait for, only the text of its last exception arrives."""
    error = caught(told, inside.on_purpose, ValueError, "message")
    assert type(error) is UserError and str(error) == "message"
    assert isinstance(caught(told, inside.by_accident), KeyError)
    assert told(lambda value: value, 3) == 3
