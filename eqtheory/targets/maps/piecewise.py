"""Maps on disconnected domains, where a bound on the derivative bounds no pair across a gap (N9)."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Generator, Tensor

from eqtheory.targets._arithmetic import reach
from eqtheory.targets._base import Target
from eqtheory.targets._domains import constant, log_uniform, mixture, signs, uniform

__all__ = ["FloorMap", "IslandsMap"]


@final
class FloorMap(Target):
    """`floor x` off the integers: locally constant, with a unit jump between any two of infinitely many components.

    The derivative is 0 everywhere. A ball that stays between two integers has `lip = 0`; one that holds an integer holds pairs
    arbitrarily close on its two sides: infinite. In the first case `sup |F| = |floor x|`; in the second
    `y - 1 < floor y <= y` gives `sup |F| <= max(x + r, 1 - (x - r))`, which also bounds the first case in every smaller ball.
    """

    name = "floor"
    formula = "floor x on R without the integers"
    domain = "a real number that is not an integer"
    remedy = "drop the integers; every float64 above 2^52 is one"
    evaluation_ulps = 0.0
    bound_ulps = 8.0

    def _contains(self, x: Tensor) -> Tensor:
        return x != torch.floor(x)

    def _value(self, x: Tensor) -> Tensor:
        return torch.floor(x)

    def _modulus(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        # The smaller of the two distances is exact (Sterbenz, or a power of two apart), so the comparison with r is.
        nearest = torch.minimum(x - torch.floor(x), torch.ceil(x) - x)
        constant_on_ball = r <= nearest
        infinite = torch.full_like(x, torch.inf)
        wide = torch.maximum(x + r, 1 - (x - r))
        sup = torch.where(constant_on_ball, torch.floor(x).abs(), wide)
        return sup, torch.where(constant_on_ball, torch.zeros_like(x), infinite)

    def _draw(self, n: int, generator: Generator) -> Tensor:
        integers = torch.round(
            signs(n, generator) * mixture(generator, log_uniform(n, 1, 1e5, generator), uniform(n, 0, 3, generator))
        )
        return integers + signs(n, generator) * log_uniform(n, 1e-8, 0.6, generator)

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        points = (sympy.Rational(1, 2), sympy.Rational(-1, 2), sympy.Rational(-7, 4), sympy.Rational(2**30 + 1, 2**10))
        return tuple((x, sympy.floor(x)) for x in points)

    def _reference(self, mp: Any, x: Any) -> Any:
        return mp.floor(x)

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        return -depth / 2, depth / 2


@final
class IslandsMap(Target):
    """Three islands a quarter apart: `x` on `[0, 1]`, `1/(x - 5/4)` on `(5/4, 9/4]`, and the constant 6 on `[5/2, 7/2]`.

    Let a ball be the interval `(x - r, x + r)` and `t = x - r - 5/4` what it leaves of the singular point.

    - It meets the middle island with `t <= 0`: unbounded values, infinite. That covers every ball that crosses the left gap,
      and every ball that meets the first and the last island.
    - One island only: `(min(1, x + r), 1)`, `(1/t, 1/t^2)`, `(6, 0)`.
    - Middle and right: on the middle one `1 <= F < 1/t`, so a pair across the right gap, at least 1/4 apart, has slope below
      `4 max(5, 1/t - 6)`. The islands' own derivatives are at most 1 there near `x = 9/4`: they miss the slope 20.

    Smaller balls meet fewer islands and have larger `t`, so the bounds are monotone.
    """

    name = "islands"
    formula = "x on [0, 1], 1/(x - 5/4) on (5/4, 9/4], 6 on [5/2, 7/2]"
    domain = "0 <= x <= 1, 5/4 < x <= 9/4 or 5/2 <= x <= 7/2"
    remedy = "drop the samples in the gaps"
    evaluation_ulps = 4.0  # a difference and a quotient

    def _contains(self, x: Tensor) -> Tensor:
        return self._left(x) | self._middle(x) | self._right(x)

    def _left(self, x: Tensor) -> Tensor:
        return (x >= 0) & (x <= 1)

    def _middle(self, x: Tensor) -> Tensor:
        return (x > 1.25) & (x <= 2.25)

    def _right(self, x: Tensor) -> Tensor:
        return (x >= 2.5) & (x <= 3.5)

    def _value(self, x: Tensor) -> Tensor:
        middle = self._middle(x)
        offset = torch.where(middle, x - 1.25, torch.ones_like(x))
        return torch.where(self._left(x), x, torch.where(middle, 1 / offset, torch.full_like(x, 6.0)))

    def _modulus(self, x: Tensor) -> Tensor:
        middle = self._middle(x)
        offset = torch.where(middle, x - 1.25, torch.ones_like(x))
        return torch.where(middle, offset**-2, torch.where(self._left(x), torch.ones_like(x), torch.zeros_like(x)))

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        left, middle, right = self._left(x), self._middle(x), self._right(x)
        # Rounding keeps order, so `>=` on the rounded end misses no island that the open ball meets; touching counts as meeting.
        meets_left = left | (x - r <= 1)
        meets_middle = middle | (left & (x + r >= 1.25)) | (right & (x - r <= 2.25))
        meets_right = right | (x + r >= 2.5)
        t = torch.where(left, torch.zeros_like(x), reach(x - 1.25, r))
        zero = torch.zeros_like(x)
        sup = torch.where(meets_middle, 1 / t, zero)
        sup = torch.maximum(sup, torch.where(meets_left, (x + r).clamp_max(1.0), zero))
        sup = torch.maximum(sup, torch.where(meets_right, torch.full_like(x, 6.0), zero))
        lip = torch.where(meets_middle, t**-2, zero)
        lip = torch.maximum(lip, torch.where(meets_left, torch.ones_like(x), zero))
        across = 4 * torch.clamp_min(1 / t - 6, 5.0)
        return sup, torch.maximum(lip, torch.where(meets_middle & meets_right, across, zero))

    def _draw(self, n: int, generator: Generator) -> Tensor:
        near_pole = 1.25 + log_uniform(n, 1e-9, 1, generator)
        shores = mixture(generator, *(constant(n, shore, generator) for shore in (0.0, 1.0, 2.25, 2.5, 3.5)))
        return mixture(generator, uniform(n, 0, 3.5, generator), near_pole, shores)

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        pairs = ((0, 1, 0, 1), (1, 1, 1, 1), (9, 4, 1, 1), (11, 8, 8, 1), (5, 2, 6, 1), (1, 3, 1, 3))
        return tuple((sympy.Rational(a, b), sympy.Rational(c, d)) for a, b, c, d in pairs)

    def _reference(self, mp: Any, x: Any) -> Any:
        if x <= 1:
            return x
        return mp.mpf(6) if x >= mp.mpf(5) / 2 else 4 / (4 * x - 5)

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        return 1.25 + depth, 1.25 + depth / 2
