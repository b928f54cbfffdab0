"""The numpy scalars and arrays of a checkpoint, rebuilt from numbers only.

numpy's own rebuilding functions trust the pickle: an array of objects takes its bytes for
addresses, and a dtype's state can claim that numbers are objects.  These stand-ins are called in
their place (``safe_loading`` maps the names) and accept plain numbers.
"""

import pickle
from typing import Any

import numpy as np

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
