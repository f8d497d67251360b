"""Work done once per input, although a solve applies the operator to it many times."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar, final

import torch
from torch import Tensor

__all__ = ["OncePerInput"]

T = TypeVar("T")

_KEPT = 4
"""Inputs remembered at once: a solve works on one, a comparison of two inputs alternates between two."""


@final
class OncePerInput(Generic[T]):
    """Remember results for the last few input tensors, as long as they are the same objects and were not changed in place.

    Checks of a domain need a host synchronisation and radii need a bisection; neither belongs into an iteration. The memory
    holds inputs weakly. Nothing is remembered for inputs that require a gradient, whose results belong to a graph, nor for
    inference tensors, which do not count changes.

    Args:
        compute: the function of the input.
    """

    def __init__(self, compute: Callable[[Tensor], T]) -> None:
        self._compute = compute
        self._kept: deque[tuple[weakref.ref[Tensor], int, Tensor | None, T]] = deque(maxlen=_KEPT)

    def __call__(self, x: Tensor) -> T:
        # What is no tensor is left to the function, whose message names it.
        if not isinstance(x, Tensor) or x.requires_grad or x.is_inference():
            return self._compute(x)
        version = x._version  # noqa: SLF001  (torch's counter of in-place changes)
        for reference, seen, copy, result in self._kept:
            if reference() is x and seen == version and (copy is None or torch.equal(copy, x)):
                return result
        result = self._compute(x)
        # An array that shares the memory of a CPU tensor changes it without counting; there the values are compared.
        copy = x.clone() if x.device.type == "cpu" else None
        self._kept.append((weakref.ref(x), version, copy, result))
        return result
