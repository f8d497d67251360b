"""Maps that work in place: evaluated on copies, so that they can change neither what they were given nor what they gave before.

A map that changes its argument changes the point of which the slope is asked, and one that returns the same storage every time changes
the value it is compared with. Either makes false slopes of true values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from eqtheory.nests import map_tensors

__all__ = ["copied", "on_copies"]

T = TypeVar("T")


def copied(nest: T) -> T:
    """Copy every tensor of a nest; copies of tensors that were made in inference mode are such that autograd may know of.

    Args:
        nest: tensors.

    Returns:
        A nest of the same structure, through which gradients flow.
    """
    return map_tensors(torch.clone, nest)


def on_copies(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Keep a map from changing its arguments and its earlier values.

    Args:
        function: a map of tensors, or of nests of them.

    Returns:
        The same map, differentiable as it was. Cost: a copy of every argument and of the value.
    """

    def apart(*arguments: Tensor) -> Tensor:
        return copied(function(*copied(arguments)))

    return apart
