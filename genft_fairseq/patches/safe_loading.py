"""Changes to what may be loaded: no file runs code.

A checkpoint is a pickle, and unpickling can call anything.  fairseq's checkpoints need little:
tensors, plain containers, ``argparse.Namespace``, omegaconf's containers and a few numpy scalars.
Only these are let through (``torch.load(weights_only=True)`` with an allow-list).

numpy's own rebuilding functions trust the pickle: an array of objects takes its bytes for
addresses, and a dtype's state can claim that numbers are objects.  The stand-ins at the end are
called in their place and accept plain numbers.
"""

import argparse
import ast
import collections
import contextlib
import os
import pickle
import re
import sys
import typing
from collections.abc import Iterator
from typing import Any

import numpy as np
import omegaconf
import torch
from fairseq.distributed import utils as distributed_utils

from genft_fairseq.errors import UserError, require_regular
from genft_fairseq.patches.registry import replaces

TRUST_VARIABLE = "GENFT_TRUST_CHECKPOINT"

_LONGEST = 500  # letters of a complaint


def allowed_globals() -> list[Any]:
    """List what a checkpoint may name besides tensors and plain containers."""
    nodes = [
        kind
        for kind in vars(omegaconf.nodes).values()
        if isinstance(kind, type) and issubclass(kind, omegaconf.base.Node)
    ]
    return [
        argparse.Namespace,
        omegaconf.DictConfig,
        omegaconf.ListConfig,
        omegaconf.base.ContainerMetadata,
        omegaconf.base.Metadata,
        *nodes,
        # torch fills no other kind of dictionary; nothing in fairseq needs the default.
        (_plain_dict, "collections.defaultdict"),
        collections.OrderedDict,
        dict,
        list,
        int,
        float,
        str,
        bool,
        tuple,
        typing.Any,
        *allowed(),
        # Stands for a tensor in what one process sends another, when a run is resumed.
        distributed_utils._TensorPlaceholder,
    ]


def load(file: Any, *args: Any, **kwargs: Any) -> Any:
    """Load a checkpoint as ``torch.load`` does, refusing everything that could run code.

    A file that the environment variable ``GENFT_TRUST_CHECKPOINT`` names (several are separated as
    in ``PATH``) is loaded without that check.

    Raises:
        UserError: the file carries something else, or is not a whole checkpoint.
    """
    name = file if isinstance(file, str | os.PathLike) else getattr(file, "name", None)
    path = str(name) if name is not None else "a checkpoint sent by another process"
    require_regular(path)
    trusted = [p for p in os.environ.get(TRUST_VARIABLE, "").split(os.pathsep) if p]
    # What another process of the same run sends, it has loaded, and checked, itself.
    if (name is None and trusted) or os.path.realpath(path) in map(os.path.realpath, trusted):
        kwargs["weights_only"] = False
        return torch.load(file, *args, **kwargs)
    kwargs["weights_only"] = True
    try:
        with torch.serialization.safe_globals(allowed_globals()), _short_complaints():
            return torch.load(file, *args, **kwargs)
    except pickle.UnpicklingError as error:
        raise UserError(_refusal(path, error)) from error
    except FileNotFoundError:
        raise
    except Exception as error:  # what a broken file raises depends on where it is broken
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is not a whole checkpoint ({reason})") from error


@contextlib.contextmanager
def _short_complaints() -> Iterator[None]:
    """torch looks for words in what it complains of, in time that is the square of its length.

    A name of a megabyte, which a checkpoint can hold, would keep it busy for days.
    """
    unpickler = torch._weights_only_unpickler.Unpickler
    load_at_length = unpickler.load

    def load_shortly(self: Any) -> Any:
        try:
            return load_at_length(self)
        except pickle.UnpicklingError as error:
            raise pickle.UnpicklingError(str(error)[:_LONGEST]) from None

    unpickler.load = load_shortly
    try:
        yield
    finally:
        unpickler.load = load_at_length


def save(state: Any, file: Any, *args: Any, **kwargs: Any) -> Any:
    """Save a checkpoint as ``torch.save`` does, from the beginning of the file.

    fairseq tries again where writing failed, behind what the first attempt has left: a disk that is
    full for a moment would make a file that nothing can read.
    """
    file.seek(0)
    file.truncate()
    return torch.save(state, file, *args, **kwargs)


def _refusal(path: str, error: Exception) -> str:
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    what = f"carries {named[1]}, which is" if named else "holds something that is"
    return (
        f"{path} {what} neither a tensor nor a known part of a fairseq configuration, and loading "
        f"it could run code; only if you trust whoever made it: {TRUST_VARIABLE}={path}"
    )


def _modules_of_fairseq() -> tuple[Any, ...]:
    names = [name for name in sys.modules if name.startswith(("fairseq.", "fairseq_cli."))]
    return tuple({sys.modules[name] for name in ("fairseq", *names)})  # some have two names


# A name in a module's own namespace is found before the builtin.
@replaces(
    _modules_of_fairseq,
    "eval",
    why="fairseq passes many strings of a checkpoint's configuration to ``eval``, as "
    "``encoder_layers`` of a convolutional model, and lines of files.",
    issue=4869,
)
def evaluate_literal(text: str, *_: Any) -> Any:
    """Evaluate a Python literal, with ``+`` and ``*`` between literals, and nothing else.

    It stands in for ``eval`` inside fairseq, whose options are written as ``(0.9, 0.98)`` or
    ``[(512, 3)] * 20``.

    Raises:
        TypeError: the argument is not a string (as ``eval`` would).
        UserError: it is more than a literal.
    """
    if not isinstance(text, str):
        raise TypeError(f"a literal is written as a string, but this is a {type(text).__name__}")
    try:
        return _value(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        shown = text if len(text) <= 80 else text[:77] + "..."
        raise UserError(f"an option must be a plain literal, but is {shown!r}") from error


# Repetition of a literal list is how layers are written; beyond this it is an attack on memory.
_MAX_REPEATED = 100_000


def _value(node: ast.expr) -> Any:
    if not isinstance(node, ast.BinOp):
        if isinstance(node, ast.List):
            return [_value(item) for item in node.elts]
        if isinstance(node, ast.Tuple):
            return tuple(_value(item) for item in node.elts)
        return ast.literal_eval(node)
    left, right = _value(node.left), _value(node.right)
    if isinstance(node.op, ast.Add):
        return left + right
    if isinstance(node.op, ast.Mult):
        sizes = [_size(side) if hasattr(side, "__len__") else side for side in (left, right)]
        if all(isinstance(size, int) for size in sizes) and sizes[0] * sizes[1] > _MAX_REPEATED:
            raise ValueError("too large")
        return left * right
    raise ValueError("only + and * are allowed between literals")


def _size(value: Any) -> int:
    """Count the leaves, so that a repetition of a repetition counts as what it is."""
    if isinstance(value, list | tuple):
        return max(len(value), sum(map(_size, value)))
    return len(value) if hasattr(value, "__len__") else 1


def _plain_dict(factory: Any = None) -> dict[Any, Any]:
    return {}


_NUMBER_KINDS = "biufc"  # booleans, integers, floats, complex: nothing that holds an address


class NumberDtype:
    """Stands for ``numpy.dtype``: a pickle may say a kind of number and a byte order, no more."""

    def __init__(self, code: Any, *_: Any) -> None:
        dtype = np.dtype(str(code))
        if dtype.kind not in _NUMBER_KINDS:
            raise pickle.UnpicklingError(f"GLOBAL numpy.dtype.{dtype.kind} is no number")
        self.dtype = dtype

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
        if order in ("<", ">"):
            self.dtype = np.dtype(order + self.dtype.str[1:])


class NumberArray(np.ndarray):
    """An array whose state is checked; it is pickled again as the plain array it stands for."""

    def __setstate__(self, state: Any) -> None:
        version, shape, dtype, fortran, raw = state
        if not isinstance(dtype, NumberDtype) or not isinstance(raw, bytes):
            raise pickle.UnpicklingError("GLOBAL numpy.ndarray holds more than numbers")
        super().__setstate__((version, shape, dtype.dtype, fortran, raw))

    def __reduce__(self) -> Any:
        return np.array(self, subok=False).__reduce__()


class ArrayName:
    """Stands for ``numpy.ndarray`` where a pickle names it; its constructor is never called."""


def read_scalar(dtype: Any, raw: bytes) -> Any:
    """Stand for ``numpy.core.multiarray.scalar``: one number from its bytes."""
    if not isinstance(dtype, NumberDtype) or not isinstance(raw, bytes):
        raise pickle.UnpicklingError("GLOBAL numpy.core.multiarray.scalar holds no number")
    return np.frombuffer(raw, dtype.dtype, count=1)[0]


def empty_array(*_: Any) -> NumberArray:
    """Stand for ``numpy.core.multiarray._reconstruct``: the array whose state comes next."""
    return NumberArray(0, dtype=np.int8)


def allowed() -> list[Any]:
    """List the stand-ins for ``torch.serialization.safe_globals``.

    numpy 2 moved the functions; a checkpoint names them as the numpy that wrote it did.  The name
    without a dot lets torch set an array's state, while no pickle can name it, and so call it.
    """
    homes = ("numpy._core.multiarray", "numpy.core.multiarray")
    return [
        (NumberDtype, "numpy.dtype"),
        (ArrayName, "numpy.ndarray"),
        (NumberArray, "NumberArray"),
        *((read_scalar, f"{home}.scalar") for home in homes),
        *((empty_array, f"{home}._reconstruct") for home in homes),
    ]
