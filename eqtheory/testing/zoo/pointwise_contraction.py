"""N1: contractive in the state at every input, simple in the input, and still not locally Lipschitz in the output.

On `X = [0,1]`, with a 1-periodic or 2 pi-periodic wave `w` (`sin`, or its exact rational twin `tri(s) = dist(s, Z)`),

    y*(x) = x^2 w(x^-3),   y*(0) = 0,   e(x) = min(1/2, x^2),   c = clip(y, -x, x),
    G(y, x) = y - e (c - y*) - (y - c)/2      (at x = 0 this is y/2).

In `y` the slope is `1 - e` inside `[-x, x]` and `1/2` outside, so `mu(x) = max(1 - e, 1/2) < 1` at every `x`, also at 0 where it
is 1/2; but `mu -> 1` as `x -> 0`. In `x`, inside and with `w' -> derivative s` of the wave:

    dG/dx = -2x (y - y*) + x^2 (2x w - 3 x^-2 s) = -2xy + 4x^3 w - 3s,

so for `sin` (`w^2 + s^2 = 1`) `|dG/dx| <= 2x^2 + sqrt(16 x^6 + 9) <= 1 + sqrt(11)` on `x^2 <= 1/2`. Outside `[-x, x]` the first
term becomes `+-(1/2 - 3x^2)`, at most 1 in size; for `x^2 >= 1/2` all that is left is `x w - 3s/(2x^2)`, at most `sqrt(10)`. For the
twin `|w| <= 1/2`, `|s| <= 1` and the constant 5 is enough. So `L1 = 0`. Yet `y*` has slopes up to about `3/x^2` near `x`, unbounded
near 0. Pairs `(0, x)` do not show it: `|y*(x)| <= x^2`.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.operators import ImplicitOperator
from eqtheory.validate import batch_of, inside

__all__ = ["TWIN_BUDGET", "PointwiseContraction", "tri", "twin", "twin_fixed_point", "twin_mu", "twin_slope_pair"]

TWIN_BUDGET = 5
"""`L0` of the rational twin; `L1 = 0`."""

_HALF = Fraction(1, 2)


def tri(s: Fraction) -> Fraction:
    """Distance to the nearest integer.

    Args:
        s: a rational.

    Returns:
        A rational in `[0, 1/2]`.
    """
    rest = s - floor(s)
    return min(rest, 1 - rest)


def twin_fixed_point(x: Fraction) -> Fraction:
    """`x^2 tri(x^-3)`, zero at zero.

    Args:
        x: a rational in `[0, 1]`.

    Returns:
        The fixed point.
    """
    return x * x * tri(1 / x**3) if x else Fraction(0)


def twin_mu(x: Fraction) -> Fraction:
    """Contraction factor of the twin at one input.

    Args:
        x: a rational in `[0, 1]`.

    Returns:
        `max(1 - min(1/2, x^2), 1/2)`, and `1/2` at zero.
    """
    return max(1 - min(_HALF, x * x), _HALF) if x else _HALF


def twin(y: Fraction, x: Fraction) -> Fraction:
    """Apply the rational twin once.

    Args:
        y: a rational state.
        x: a rational in `[0, 1]`.

    Returns:
        `G(y, x)`, exactly.
    """
    c = min(max(y, -x), x)
    return y - min(_HALF, x * x) * (c - twin_fixed_point(x)) - (y - c) / 2


def twin_slope_pair(n: int) -> tuple[Fraction, Fraction]:
    """A pair near 0 between which the twin's fixed point is steep.

    With `x = 1/n` the wave vanishes; with `x' = 1/(n + t)`, `t = 1/(12 n^2)`, its argument `(n + t)^3` is about `1/4` further.

    Args:
        n: a positive integer.

    Returns:
        `(x, x')`, both rational.
    """
    return Fraction(1, n), 1 / (n + Fraction(1, 12 * n * n))


@final
class PointwiseContraction(ImplicitOperator):
    """The operator of N1 with `w = sin`, on tensors; it declares no regularity, because it has none.

    Example:
        >>> G = PointwiseContraction()
        >>> G(torch.tensor([1.0]), torch.tensor([0.0]))
        tensor([0.5000])
    """

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        """Apply the operator once; `x` is checked in `initial_state`, states and inputs have shape `(batch,)`."""
        c = torch.minimum(torch.maximum(y, -x), x)
        return y - (x * x).clamp_max(0.5) * (c - self.fixed_point(x)) - (y - c) / 2

    def fixed_point(self, x: Tensor) -> Tensor:
        """`x^2 sin(x^-3)`, zero at zero.

        Args:
            x: shape `(batch,)`, in `[0, 1]`.

        Returns:
            Shape `(batch,)`.
        """
        safe = torch.where(x > 0, x, 1.0)
        return torch.where(x > 0, safe * safe * torch.sin(safe**-3), 0.0)

    def initial_state(self, x: Any) -> Tensor:
        """Start from zero, after checking the inputs.

        Args:
            x: shape `(batch,)`, in `[0, 1]`.

        Returns:
            Zeros, shape `(batch,)`.
        """
        batch_of("x", x, trailing=())
        inside("x", x, (x >= 0) & (x <= 1), "x in [0, 1]", "rescale the inputs")
        return torch.zeros_like(x)
