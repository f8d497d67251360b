"""Work done once per input, although a solve applies the operator to it many times."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Generic, TypeVar, final

from torch import Tensor

__all__ = ["OncePerInput"]

T = TypeVar("T")


@final
class OncePerInput(Generic[T]):
    """Remember the result for the last input tensor, as long as it is the same object and was not changed in place.

    Checks of a domain need a host synchronisation and radii need a bisection; neither belongs into an iteration. The memory
    holds the input weakly. Nothing is remembered for inputs that require a gradient, whose results belong to a graph, nor for
    inference tensors, which do not count changes.

    Args:
        compute: the function of the input.
    """

    def __init__(self, compute: Callable[[Tensor], T]) -> None:
        self._compute = compute
        self._last: tuple[weakref.ref[Tensor], int, T] | None = None

    def __call__(self, x: Tensor) -> T:
        if x.requires_grad or x.is_inference():
            return self._compute(x)
        last, version = self._last, x._version  # noqa: SLF001  (torch's counter of in-place changes)
        if last is not None and last[0]() is x and last[1] == version:
            return last[2]
        result = self._compute(x)
        self._last = (weakref.ref(x), version, result)
        return result
