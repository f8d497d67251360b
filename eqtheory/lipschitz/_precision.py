"""The coarsest arithmetic of one evaluation: what a map rounds to inside, whatever goes in and comes out.

Autocast, casts and parameters of a narrower type round where the types of arguments and values do not show it, and slopes of close
pairs are then rounding. So one evaluation is watched: every operation whose result is of a coarser type than one of its operands
narrows what it was given, and the largest unit roundoff among such results, the arguments and the value counts. What an operation
writes into is a result of it, whether it is returned or not. Products in single precision that the settings of torch allow to be
rounded to TensorFloat-32 or bfloat16 count as such: matrix products have one setting on a GPU, convolutions there have another one,
and fall back on matrix products. Not seen: what leaves torch
(numpy), and what a compiled kernel does between its results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from eqtheory.lipschitz._copies import copied
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
    """Evaluate once, on copies of the arguments, and see in which types.

    Args:
        function: the map.
        arguments: what it is evaluated at.

    Returns:
        The value, apart from whatever the map keeps, and the unit roundoff of the coarsest type seen. Cost: a few microseconds for
        every operation.
    """
    given = copied(arguments)
    with _Watch() as watch:
        value = function(*given)
    value = copied(value)
    seen = [t for t in (*arguments, value) if isinstance(t, Tensor)]
    return value, max(watch.unit, coarsest_unit(*seen))


def _unit(dtype: torch.dtype) -> float:
    if dtype.is_complex:
        return unit_roundoff(dtype.to_real())
    return unit_roundoff(dtype) if dtype.is_floating_point else 0.0


@final
class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers the coarsest type to which anything was narrowed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.unit = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operation and look at its results.

        Returns:
            What it returns.
        """
        del types
        out = func(*args, **(kwargs or {}))
        finest = min((_unit(t.dtype) for t in _floating((args, kwargs))), default=1.0)
        for t in _floating((out, _written(func, args, kwargs or {}))):
            unit = _unit(t.dtype)
            if unit > finest:  # narrowed; constants that are made in a narrow type round nothing
                self.unit = max(self.unit, unit)
            if t.dtype == torch.float32 and func.overloadpacket.__name__ in _PRODUCTS:
                self.unit = max(self.unit, _products(t.device.type, func.overloadpacket.__name__))
        return out


def _floating(nest: Any) -> list[Tensor]:
    leaves = (nest,) if isinstance(nest, Tensor) else pytree.tree_leaves(nest)
    return [t for t in leaves if isinstance(t, Tensor) and (t.is_floating_point() or t.is_complex())]


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    """The arguments that an operation writes into.

    Returns:
        Tensors, or lists of tensors.
    """
    schema = func._schema  # noqa: SLF001  (nothing else says what an operation writes into)
    if not schema.is_mutable:
        return []
    given = {**{spec.name: value for spec, value in zip(schema.arguments, args, strict=False)}, **kwargs}
    written = [spec.name for spec in schema.arguments if spec.alias_info is not None and spec.alias_info.is_write]
    return [given[name] for name in written if name in given]


def _products(device: str, operation: str) -> float:
    """What products in single precision are rounded to under the settings of torch.

    Args:
        device: type of the device.
        operation: one of `_PRODUCTS`.

    Returns:
        A unit roundoff.
    """
    try:
        precision = torch.get_float32_matmul_precision()
        narrow = device == "cuda" and "convolution" in operation and torch.backends.cudnn.allow_tf32
    except RuntimeError:  # settings that contradict each other
        return _BRAIN_FLOAT
    if precision == "medium":
        return _BRAIN_FLOAT
    return _TENSOR_FLOAT if narrow or precision == "high" else unit_roundoff(torch.float32)
