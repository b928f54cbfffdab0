"""Importing the plugin changes of fairseq what the patches declare, each attribute once."""

import importlib
import math
import subprocess
import sys
import types

import pytest
from fairseq.distributed import utils as distributed_utils
from refusals import refuses

import genft_fairseq
from genft_fairseq.patches import registry
from genft_fairseq.patches.registry import ModuleView

SCRIPT = """
import inspect
import sys

import fairseq
import fairseq.nan_detector
import fairseq.sequence_scorer
import fairseq_cli.generate
import fairseq_cli.interactive
import fairseq_cli.preprocess
import fairseq_cli.train


def attributes():
    names = [name for name in sys.modules if name.startswith(("fairseq.", "fairseq_cli."))]
    modules = [fairseq, *map(sys.modules.get, names)]
    values = [value for module in modules for value in vars(module).values()]
    classes = [value for value in values if inspect.isclass(value)]
    classes = [kind for kind in classes if kind.__module__.startswith("fairseq")]
    owners = {*modules, *classes}
    return {(owner, name): value for owner in owners for name, value in vars(owner).items()}


def function(value):
    return value.fget if isinstance(value, property) else getattr(value, "__func__", value)


before = attributes()
known = {owner for owner, _ in before}

import genft_fairseq  # which registers, because fairseq has been imported
from genft_fairseq import patches

declared = [(owner, each.name) for each in patches.patches() for owner in each.targets()]
declared = [key for key in declared if key[0] in known]
assert len(declared) == len(set(declared)) > 80
after = attributes()
changed = {key for key in after if key[0] in known and after[key] is not before.get(key)}
assert changed == set(declared), changed.symmetric_difference(declared)
for key in declared:
    old = function(before.get(key))
    assert getattr(function(after[key]), "__wrapped__", old) is old, key
assert all(each.why for each in patches.patches())

genft_fairseq.register()
patches.apply()
again = attributes()
assert again.keys() == after.keys() and all(again[key] is after[key] for key in after)
"""


def test_each_attribute_of_fairseq_is_replaced_once():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_second_import_changes_nothing():
    """What ``--user-dir`` does in every worker; a change on top of itself would pile up."""
    before = distributed_utils.call_main, sys.excepthook
    importlib.reload(genft_fairseq)
    assert before == (distributed_utils.call_main, sys.excepthook)
    assert genft_fairseq.fairseq_error is None


class Owner:
    def method(self, value):
        return ("method", value)

    @classmethod
    def by_class(cls, value):
        return (cls, value)

    @staticmethod
    def static(value):
        return ("static", value)

    @property
    def value(self):
        return 1


class Child(Owner):
    pass


@pytest.fixture
def apply(monkeypatch):
    """Makes the changes that a test declares, of which the plugin knows nothing."""
    monkeypatch.setattr(registry, "PATCHES", [])
    return lambda: [patch.apply() for patch in registry.PATCHES * 2]


def test_each_kind_of_method_is_extended_once(apply, monkeypatch):
    for name in ("method", "by_class", "static", "value"):
        monkeypatch.setattr(Owner, name, vars(Owner)[name])
        registry.extends(Owner, name)(lambda original, *args: [original(*args)])
    apply()
    assert Owner().method(2) == [("method", 2)]
    assert Child.by_class(2) == [(Child, 2)]
    assert Owner.static(2) == Owner().static(2) == [("static", 2)]
    assert Owner().value == [1]


def test_a_value_is_replaced_wherever_it_is(apply):
    owners = types.SimpleNamespace(value=1), types.SimpleNamespace()
    assert registry.replaces(owners, "value", why="Two.", issue=3)(2) == 2
    apply()
    assert [owner.value for owner in owners] == [2, 2]
    (patch,) = registry.PATCHES
    assert (patch.why, patch.issue, patch.part) == ("Two.", 3, __name__)


def test_a_module_view_replaces_some_names():
    view = ModuleView(math, pi=3)
    assert view.pi == 3
    assert view.sqrt is math.sqrt
    assert view.__name__ == "math"
    assert isinstance(view, types.ModuleType)
    assert math.pi > 3.1  # the module itself is as it was
    view.tau = 6
    assert math.tau > 6.2
    with refuses("sine", error=AttributeError):
        view.sine  # noqa: B018


def test_a_module_view_sees_what_its_module_becomes():
    base = types.ModuleType("base")
    view = ModuleView(base, replaced=1)
    base.later = 2
    base.replaced = 3
    assert (view.later, view.replaced) == (2, 1)
