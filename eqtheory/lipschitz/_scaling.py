"""Matrices brought into the middle of the range of float64 by powers of two, and their norms brought back, rounded outward.

Relative bounds on rounding hold between the smallest normal number and the largest. A matrix whose largest entry is `p` has a norm of at
least `p` between l1, l2 and sup, so what has to be kept in range is `p`. A factor `2^k` with `k > 0` loses nothing; dividing by `2^64`
loses at most `2^-1075 2^64` an entry where `p > 2^960`, which is `2^-1971` of it and disappears in any relative bound.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["in_range", "rounded_outward"]

_SMALL, _LARGE, _DOWN = 2.0**-512, 2.0**960, 2.0**64


def in_range(A: Tensor, *, down: bool) -> tuple[Tensor, Tensor]:
    """Divide matrices by powers of two that leave their largest entries in the middle of the range.

    Args:
        A: float64 or complex128, finite, shape `(..., m, n)`, not empty.
        down: whether large ones may lose entries far below their largest one, which needs that the norm is at least `p`.

    Returns:
        The matrices, and what each was divided by, shape `(...)`: one where nothing is to do.
    """
    parts = torch.view_as_real(A) if A.is_complex() else A.unsqueeze(-1)
    sizes = parts.abs()
    peak = sizes.amax(dim=(-3, -2, -1))
    # A number over its mantissa is a power of two, which this division returns exactly, below the normal numbers too.
    unit = torch.where((peak > 0) & (peak < _SMALL), peak / (2 * torch.frexp(peak).mantissa), 1.0)
    keeps = torch.where(sizes > 0, sizes, torch.inf).amin(dim=(-3, -2, -1)) >= _DOWN * 2.0**-1022
    unit = torch.where((peak > _LARGE) & (keeps | down), _DOWN, unit)
    if bool((unit == 1).all()):
        return A, unit
    parts = parts / unit[..., None, None, None]
    return (torch.view_as_complex(parts.contiguous()) if A.is_complex() else parts.squeeze(-1)), unit


def rounded_outward(value: Tensor, unit: Tensor, *, upwards: bool) -> Tensor:
    """Multiply by a power of two without crossing the product.

    Dividing what came out by the power again is exact, and tells on which side of the product it lies, infinity included.

    Args:
        value: float64, 0 or more.
        unit: powers of two, of the same shape.
        upwards: whether the product is an upper side.

    Returns:
        The nearest number that is no smaller than the product, or no larger.
    """
    product = value * unit
    back = product / unit
    crossed, towards = (back < value, torch.inf) if upwards else (back > value, 0.0)
    return torch.where(crossed, torch.nextafter(product, torch.full_like(product, towards)), product)
