"""A GPU that is pretended, for counting what would make the processor wait for it.

All tensors lie in the processor's memory and hold real numbers, but those that come of what was put
"there" say that they are on a GPU: code that chooses its way by the device takes the GPU's.
"""

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

GPU = torch.device("cuda", 0)
CPU = torch.device("cpu")
# The size of the result, or the number that Python gets, must be known before anything goes on.
WAITS = {
    *("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "bincount"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive"),
}
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")
COPIES = {Tensor.cpu, Tensor.tolist, Tensor.numpy, Tensor.__array__}
# Each look at such an attribute makes a new object, equal to the others.
DEVICE, IS_CUDA, IS_CPU = (
    getattr(Tensor, name).__get__ for name in ("device", "is_cuda", "is_cpu")
)


class PretendedGpu:
    """``with gpu:`` counts in ``waits`` what waits for the GPU, by the place in the code."""

    def __init__(self) -> None:
        self.waits: Counter[str] = Counter()
        # Kept alive, so that no other storage takes the place of one.
        self._storages: dict[int, Any] = {}
        self._creating = False
        self._modes = ExitStack()

    def put(self, value: Any) -> Any:
        """Say of all tensors in a structure, or of a module's, that they are on the GPU."""
        if isinstance(value, torch.nn.Module):
            tree_map_only(Tensor, self._mark, [*value.parameters(), *value.buffers()])
            return value
        return tree_map_only(Tensor, lambda tensor: self._mark(tensor.clone()), value)

    def holds(self, value: Any) -> bool:
        """Tell whether a tensor is on the GPU."""
        with torch._C.DisableTorchFunction():
            return isinstance(value, Tensor) and value.untyped_storage()._cdata in self._storages

    def __enter__(self) -> "PretendedGpu":
        attributes, backward = _Attributes(self), BackwardCFunction.apply

        def apply(*args: Any) -> Any:
            with attributes:  # which autograd leaves off where it calls the gradient of a function
                return backward(*args)

        BackwardCFunction.apply = apply  # type: ignore[method-assign]
        self._modes.callback(setattr, BackwardCFunction, "apply", backward)
        self._modes.enter_context(attributes)
        self._modes.enter_context(_Operations(self))
        return self

    def __exit__(self, *exception: object) -> None:
        self._modes.close()

    def _mark(self, tensor: Tensor) -> Tensor:
        with torch._C.DisableTorchFunction():
            storage = tensor.untyped_storage()
            self._storages[storage._cdata] = storage
        return tensor

    def _wait(self, what: str) -> None:
        frame = sys._getframe(1)
        while "/torch/" in frame.f_code.co_filename or frame.f_code.co_filename == __file__:
            assert frame.f_back is not None
            frame = frame.f_back
        name = frame.f_code.co_filename.rpartition("/")[2]
        code = frame.f_code
        function = getattr(code, "co_qualname", code.co_name)  # the longer name since Python 3.11
        self.waits[f"{what} in {name}, {function}"] += 1


class _Attributes(TorchFunctionMode):
    """What Python sees: the device of tensors, and copies from one to the other."""

    def __init__(self, gpu: PretendedGpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        gpu, kwargs = self.gpu, dict(kwargs or {})
        there = bool(args) and gpu.holds(args[0])
        if func == DEVICE:
            return GPU if there else CPU
        if func in (IS_CUDA, IS_CPU):
            return there == (func == IS_CUDA)
        if func == Tensor.cuda:
            return gpu._mark(args[0].clone())
        named = [*args[1:], *kwargs.values()] if func == Tensor.to else [kwargs.get("device")]
        target = next((found for found in map(self._device, named) if found is not None), None)
        if there and (func in COPIES or (func == Tensor.to and target == CPU.type)):
            gpu._wait(func.__name__)
            return func(args[0].clone()) if func in COPIES else args[0].clone()
        if target != GPU.type:
            return func(*args, **kwargs)
        if func == Tensor.to:
            dtypes = [value for value in named if isinstance(value, torch.dtype)]
            return args[0].to(*dtypes) if there else gpu._mark(args[0].clone().to(*dtypes))
        kwargs["device"] = CPU
        creating, gpu._creating = gpu._creating, True
        try:
            return func(*args, **kwargs)
        finally:
            gpu._creating = creating

    def _device(self, value: Any) -> str | None:
        if isinstance(value, torch.device):
            return value.type
        if isinstance(value, str):
            return value.partition(":")[0]
        if isinstance(value, Tensor):
            return (GPU if self.gpu.holds(value) else CPU).type
        return None


class _Operations(TorchDispatchMode):
    """What is computed: what comes of a tensor on the GPU is there, too."""

    def __init__(self, gpu: PretendedGpu) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        gpu, kwargs = self.gpu, kwargs or {}
        there = gpu._creating or any(map(gpu.holds, tree_leaves((args, kwargs))))
        if there and _waits(func, args):
            gpu._wait(func.overloadpacket.__name__)
        result = func(*args, **kwargs)
        if there:
            tree_map_only(Tensor, gpu._mark, result)
        return result


def _waits(func: Any, args: Any) -> bool:
    name = func.overloadpacket.__name__
    if name in INDEXING:
        masks = (torch.bool, torch.uint8)
        return any(index is not None and index.dtype in masks for index in args[1])
    # Of repeat_interleave only the overload that is told how often by a tensor.
    return name in WAITS or (name == "repeat_interleave" and func._overloadname == "Tensor")
