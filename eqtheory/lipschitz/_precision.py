"""The coarsest arithmetic of one evaluation: what a map rounds to inside, whatever goes in and comes out.

Autocast, casts and parameters of a narrower type round where the types of arguments and values do not show it, and slopes of close
pairs are then rounding. So one evaluation is watched: every operation says of what type its results are, and the largest unit roundoff
among them, the arguments and the value counts. Products in single precision that the settings of torch allow to be rounded to
TensorFloat-32 or bfloat16 count as such. Not seen: what leaves torch (numpy), and what a compiled kernel does between its results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from eqtheory.roundoff import unit_roundoff

__all__ = ["coarsest_unit", "watched"]

_PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "convolution", "_convolution", "cudnn_convolution", "mkldnn_convolution"}
_TENSOR_FLOAT, _BRAIN_FLOAT = 2.0**-11, 2.0**-8


def coarsest_unit(*tensors: Tensor) -> float:
    """The largest unit roundoff among types.

    Args:
        tensors: any; those that hold whole numbers round nothing.

    Returns:
        The unit roundoff; 0 where nothing rounds.
    """
    return max((_unit(t.dtype) for t in tensors), default=0.0)


def watched(function: Callable[..., Tensor], *arguments: Tensor) -> tuple[Tensor, float]:
    """Evaluate once, and see in which types.

    Args:
        function: the map.
        arguments: what it is evaluated at.

    Returns:
        The value, and the unit roundoff of the coarsest type seen. Cost: a few microseconds for every operation.
    """
    with _Watch() as watch:
        value = function(*arguments)
    seen = [t for t in (*arguments, value) if isinstance(t, Tensor)]
    return value, max(watch.unit, coarsest_unit(*seen))


def _unit(dtype: torch.dtype) -> float:
    if dtype.is_complex:
        return unit_roundoff(dtype.to_real())
    return unit_roundoff(dtype) if dtype.is_floating_point else 0.0


@final
class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers the coarsest type of any result."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.unit = 0.0
        self._types: set[torch.dtype] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and look at its results.

        Returns:
            What it returns.
        """
        del types
        out = func(*args, **(kwargs or {}))
        for t in (out,) if isinstance(out, Tensor) else pytree.tree_leaves(out):
            if not isinstance(t, Tensor):
                continue
            if t.dtype not in self._types:
                self._types.add(t.dtype)
                self.unit = max(self.unit, _unit(t.dtype))
            if t.dtype == torch.float32 and func.overloadpacket.__name__ in _PRODUCTS:
                self.unit = max(self.unit, _products(t.device.type))
        return out


def _products(device: str) -> float:
    """What products in single precision are rounded to under the settings of torch.

    Returns:
        A unit roundoff.
    """
    try:
        precision = torch.get_float32_matmul_precision()
        narrow = device == "cuda" and torch.backends.cudnn.allow_tf32
    except RuntimeError:  # settings that contradict each other
        return _BRAIN_FLOAT
    if precision == "medium":
        return _BRAIN_FLOAT
    return _TENSOR_FLOAT if narrow or precision == "high" else unit_roundoff(torch.float32)
