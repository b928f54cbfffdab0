"""How a change to fairseq is declared: each attribute is replaced in one place, by one value."""

import inspect
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

Value = TypeVar("Value")


@dataclass
class Patch:
    """A change to an attribute of one or several modules or classes.

    Attributes:
        owners: that have the attribute, or a function that returns them when the change is made.
        name: of the attribute.
        make: returns the new value of the attribute from the old one.
        why: it is changed, in Markdown.
        issue: its number among fairseq's issues; None: none is known.
        part: the module that declares the change.
        applied: whether it has been made.
    """

    owners: Any
    name: str
    make: Callable[[Any], Any]
    why: str
    issue: int | None
    part: str
    applied: bool = False

    def targets(self) -> list[Any]:
        """Return the modules and classes whose attribute is changed."""
        owners = self.owners() if isinstance(self.owners, types.FunctionType) else self.owners
        return list(owners) if isinstance(owners, tuple) else [owners]

    def apply(self) -> None:
        """Make the change; a second call changes nothing."""
        if self.applied:
            return
        self.applied = True
        for owner in self.targets():
            old = inspect.getattr_static(owner, self.name, None)
            setattr(owner, self.name, self.make(old))


# In the order of declaration.
PATCHES: list[Patch] = []


def replaces(
    owners: Any, name: str, *, why: str | None = None, issue: int | None = None
) -> Callable[[Value], Value]:
    """Declare a value, often a function, that stands in the place of fairseq's.

    Args:
        owners: a module or class of fairseq, a tuple of them, or a function that returns it.
        name: of the attribute.
        why: it is replaced; None: as the value's docstring says.
        issue: the number among fairseq's issues.
    """
    part = sys._getframe(1).f_globals["__name__"]

    def declare(value: Value) -> Value:
        reason = inspect.cleandoc(why or value.__doc__ or "")
        PATCHES.append(Patch(owners, name, lambda _: value, reason, issue, part))
        return value

    return declare


def extends(owners: Any, name: str, *, issue: int | None = None) -> Callable[[Value], Value]:
    """Declare a function that is called in the place of fairseq's, with fairseq's in front.

    Its docstring says why.  The arguments are those of ``replaces``.
    """
    part = sys._getframe(1).f_globals["__name__"]

    def declare(function: Value) -> Value:
        def make(old: Any) -> Any:
            return _around(function, old)

        reason = inspect.cleandoc(function.__doc__ or "")
        PATCHES.append(Patch(owners, name, make, reason, issue, part))
        return function

    return declare


def _around(function: Any, old: Any) -> Any:
    kind = type(old) if isinstance(old, classmethod | staticmethod | property) else None
    original = old.fget if kind is property else old if kind is None else old.__func__

    @wraps(original, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(original, *args, **kwargs)

    return kind(call) if kind else call


class ModuleView(types.ModuleType):
    """A module as one other module shall see it: some names replaced, the rest passed through.

    It keeps a change inside the fairseq module that needs it, where patching numpy or torch
    themselves would reach every library in the process.
    """

    def __init__(self, base: types.ModuleType, **replaced: Any):
        super().__init__(base.__name__)
        self.__dict__.update(replaced, _base=base)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_base"], name)
