"""The largest admissible radius of a condition that holds up to some radius and fails beyond, at any scale."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["largest_radius"]

_INT64_OF_ONE = 0x3FF0000000000000
"""Bit pattern of 1.0 in float64: positive doubles are ordered as their patterns are."""


def largest_radius(admissible: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """Bisect for the largest admissible radius in `(0, 1]`, to the last bit.

    Positive floating-point numbers are ordered like the integers that encode them, so bisecting the encodings takes 62
    halvings whatever the scale of the answer, where bisecting the interval would lose small radii altogether.

    Args:
        admissible: maps radii, shape `(batch,)`, to booleans of that shape; true up to some radius and false beyond.
        like: a tensor of shape `(batch,)` that gives batch size and device.

    Returns:
        The largest float64 radius found admissible, shape `(batch,)`; zero where none is.
    """
    low = torch.zeros(like.shape, dtype=torch.int64, device=like.device)
    high = torch.full_like(low, _INT64_OF_ONE + 1)
    for _ in range(62):
        middle = ((low + high) // 2).clamp_min(1)  # zero is no radius, the smallest positive number is one
        # The pattern just above 1.0 is a search fence, never a radius.
        good = admissible(middle.clamp_max(_INT64_OF_ONE).view(torch.float64)) & (middle <= _INT64_OF_ONE)
        low, high = torch.where(good, middle, low), torch.where(good, high, middle)
    return low.view(torch.float64)
