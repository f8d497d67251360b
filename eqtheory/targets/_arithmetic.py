"""Arithmetic that keeps its relative accuracy where plain formulas cancel: error-free sums and products, split constants.

Distances to a singularity decide every bound of this room, so they are computed to full relative accuracy even when the point
and the singularity agree to many digits.

References:
    T. J. Dekker, A floating-point technique for extending the available precision, Numerische Mathematik 18 (1971).
    N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., SIAM 2002, section 4.3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eqtheory.roundoff import unit_roundoff

__all__ = ["HALF_PI", "INVERSE_E", "U", "lowered", "polynomial", "raised", "reach", "two_product", "two_sum"]

U = unit_roundoff(torch.float64)
"""Unit roundoff of float64, in which all targets compute."""

HALF_PI = (1.5707963267948966, 6.123233995736766e-17)
"""pi/2 as an unevaluated sum, good to 2^-107."""

INVERSE_E = (0.36787944117144233, -1.2428753672788363e-17)
"""1/e as an unevaluated sum; the first part is above 1/e."""

_SPLITTER = 2.0**27 + 1.0
"""Cuts a 53-bit significand into two halves whose products are exact."""

_SLACK = 8.0 * U
"""More than the roundings of `q - r Lambda` and of the square roots and products from which `Lambda` is made."""


def two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Add without losing anything.

    Args:
        a: float64 tensor.
        b: float64 tensor.

    Returns:
        The rounded sum and its rounding error; together they are exact.
    """
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


def two_product(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply without losing anything.

    Args:
        a: float64 tensor, below 2^996 in size so that the splitting does not overflow.
        b: float64 tensor, likewise.

    Returns:
        The rounded product and its rounding error; together they are exact unless the error underflows.
    """
    product = a * b
    a_big, b_big = _SPLITTER * a, _SPLITTER * b
    a_high, b_high = a_big - (a_big - a), b_big - (b_big - b)
    a_low, b_low = a - a_high, b - b_high
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def reach(gap: Tensor, r: Tensor) -> Tensor:
    """Distance that a ball leaves to a singularity: `max(gap - r, 0)`.

    `gap` is 1-Lipschitz, so the result can only grow when the ball shrinks: `gap' - r' >= gap - d - (r - d) = gap - r`. Its
    reciprocals are therefore monotone, and infinite once the open ball comes arbitrarily close to the singularity.

    Args:
        gap: distance of the centre to the singularity, relatively accurate.
        r: radius of the ball.

    Returns:
        The remaining distance, zero where nothing remains.
    """
    return (gap - r).clamp_min(0.0)


def lowered(q: Tensor, r: Tensor, slope: Tensor) -> Tensor:
    """Lower bound `q - r slope` of a function on a ball, rounded downwards.

    If `slope` bounds the function's Lipschitz constant on `B(x,r)` and shrinks with the ball, so does what is taken off:
    `q(x') - r' slope' >= (q(x) - d slope) - (r - d) slope = q(x) - r slope` whenever `r' <= r - d`.

    Args:
        q: the function at the centre.
        r: radius of the ball.
        slope: Lipschitz constant of the function on the ball; may be infinite.

    Returns:
        The bound, minus infinity where `slope` is infinite.
    """
    return q - _SLACK * q.abs() - (1.0 + _SLACK) * (r * slope)


def raised(q: Tensor, r: Tensor, slope: Tensor) -> Tensor:
    """Upper bound `q + r slope` of a function on a ball, rounded upwards; monotone for the reason given in `lowered`.

    Args:
        q: the function at the centre.
        r: radius of the ball.
        slope: Lipschitz constant of the function on the ball; may be infinite.

    Returns:
        The bound, infinite where `slope` is.
    """
    return q + _SLACK * q.abs() + (1.0 + _SLACK) * (r * slope)


def polynomial(coefficients: tuple[float, ...], z: Tensor) -> Tensor:
    """Evaluate a polynomial by Horner's rule.

    Args:
        coefficients: from the constant term upwards.
        z: arguments.

    Returns:
        `sum_k coefficients[k] z^k`, the shape of `z`.
    """
    total = torch.zeros_like(z)
    for coefficient in reversed(coefficients):
        total = total * z + coefficient
    return total
