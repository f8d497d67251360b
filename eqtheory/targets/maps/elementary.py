"""Elementary functions of one variable: reciprocal, logarithm, square root, square, exponential.

On an interval the mean value theorem makes `sup |F'|` the Lipschitz constant; each class says where that supremum sits. `gap` is
the distance of `x` to the singular point and `reach` what a ball of radius `r` leaves of it.
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Generator, Tensor

from eqtheory.targets._arithmetic import U, reach
from eqtheory.targets._base import Target
from eqtheory.targets._domains import constant, log_uniform, mixture, signs, uniform

__all__ = ["ExpMap", "LogMap", "ReciprocalMap", "SqrtMap", "SquareMap", "TwoSidedReciprocalMap"]


class ReciprocalMap(Target):
    """`1/x` on `(0, 1]`, the motivating example (T7).

    A pair has slope `1/(a b)`, so on `B(x,r)` the supremum is `1/(x-r)^2`, approached by pairs at the left end, and
    `sup |F| = 1/(x-r)`: both bounds are the exact values.
    """

    name = "reciprocal"
    formula = "1/x on (0, 1]"
    domain = "0 < x <= 1"
    remedy = "1/x is studied on (0, 1]; TwoSidedReciprocalMap takes both signs"
    evaluation_ulps = 2.0  # one correctly rounded division costs 1

    def _contains(self, x: Tensor) -> Tensor:
        return (x > 0) & (x <= 1)

    def _value(self, x: Tensor) -> Tensor:
        return 1 / x

    def _modulus(self, x: Tensor) -> Tensor:
        return x**-2

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        left = reach(x, r)
        return 1 / left, left**-2

    def _draw(self, n: int, generator: Generator) -> Tensor:
        return mixture(
            generator, log_uniform(n, 1e-9, 1, generator), uniform(n, 0, 1, generator), constant(n, 1.0, generator)
        )

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        half = sympy.Rational(1, 2)
        return ((sympy.Integer(1), sympy.Integer(1)), (half, sympy.Integer(2)), (half**40, sympy.Integer(2) ** 40))

    def _reference(self, mp: Any, x: Any) -> Any:
        return mp.mpf(1) / x

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        return depth, depth / 2


@final
class TwoSidedReciprocalMap(ReciprocalMap):
    """`1/x` on `[-1, 1]` without 0: two components whose values run apart.

    A ball that reaches 0 holds pairs `(a, -a)` of slope `1/a^2` as well: infinite. Otherwise it lies on one side.
    """

    name = "two-sided reciprocal"
    formula = "1/x on [-1, 1] without 0"
    domain = "0 < |x| <= 1"
    remedy = "drop the sample at 0, and scale larger ones into [-1, 1]"

    def _contains(self, x: Tensor) -> Tensor:
        return (x != 0) & (x.abs() <= 1)

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        return super()._bounds(x.abs(), r)

    def _draw(self, n: int, generator: Generator) -> Tensor:
        return super()._draw(n, generator) * signs(n, generator)

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        positive = super()._exact(sympy)
        return (*positive, *((-x, -y) for x, y in positive))

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        return depth, -depth


@final
class LogMap(Target):
    """`log x` on `(0, inf)`.

    `log` is monotone, so `|log|` is largest at an end of the ball; `1/x` falls, so the slope is largest at its left end. Both
    are exact.
    """

    name = "logarithm"
    formula = "log x on (0, inf)"
    domain = "x > 0"
    remedy = "the logarithm needs a positive argument"
    evaluation_ulps = 4.0  # vectorised libm documents 1 ulp, which is at most 2 roundoffs

    def _contains(self, x: Tensor) -> Tensor:
        return x > 0

    def _value(self, x: Tensor) -> Tensor:
        return torch.log(x)

    def _modulus(self, x: Tensor) -> Tensor:
        return 1 / x

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        left = reach(x, r)
        # One rounding of x - r or x + r moves the logarithm by U in absolute terms, which near 1 is not a relative error.
        return torch.maximum(torch.log(left).abs(), torch.log(x + r).abs()) + 4 * U, 1 / left

    def _draw(self, n: int, generator: Generator) -> Tensor:
        near_one = 1 + signs(n, generator) * log_uniform(n, 1e-12, 0.5, generator)
        return mixture(generator, log_uniform(n, 1e-15, 1, generator), log_uniform(n, 1, 1e15, generator), near_one)

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        points = (sympy.Integer(1), sympy.Integer(2), sympy.Rational(1, 4), sympy.Integer(2) ** 40)
        return tuple((x, sympy.log(x)) for x in points)

    def _reference(self, mp: Any, x: Any) -> Any:
        return mp.log(x)

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        return depth, depth / 2


@final
class SqrtMap(Target):
    """`sqrt x` on `(0, inf)`: bounded near 0, yet steep.

    A pair has slope `1/(sqrt a + sqrt b)`, whose supremum on the ball is `1/(2 sqrt(x-r))`; it is infinite once the ball
    reaches 0, while `sup |F| = sqrt(x+r)` stays finite.
    """

    name = "square root"
    formula = "sqrt x on (0, inf)"
    domain = "x > 0"
    remedy = "0 is left out, since the root is not Lipschitz around it"
    evaluation_ulps = 2.0  # correctly rounded: 1

    def _contains(self, x: Tensor) -> Tensor:
        return x > 0

    def _value(self, x: Tensor) -> Tensor:
        return torch.sqrt(x)

    def _modulus(self, x: Tensor) -> Tensor:
        return 0.5 / torch.sqrt(x)

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sqrt(x + r), 0.5 / torch.sqrt(reach(x, r))

    def _draw(self, n: int, generator: Generator) -> Tensor:
        return mixture(generator, log_uniform(n, 1e-20, 1, generator), log_uniform(n, 1, 1e12, generator))

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        points = (sympy.Integer(1), sympy.Integer(2), sympy.Rational(1, 4), sympy.Rational(1, 2) ** 41)
        return tuple((x, sympy.sqrt(x)) for x in points)

    def _reference(self, mp: Any, x: Any) -> Any:
        return mp.sqrt(x)

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        return depth, depth / 4


@final
class SquareMap(Target):
    """`x^2` on the real line: steep only far out.

    A pair has slope `|a + b| < 2(|x| + r)`; both bounds are exact.
    """

    name = "square"
    formula = "x^2 on R"
    domain = "a real number"
    remedy = "pass finite numbers"
    evaluation_ulps = 2.0  # one product: 1

    def _contains(self, x: Tensor) -> Tensor:
        return torch.isfinite(x)

    def _value(self, x: Tensor) -> Tensor:
        return x * x

    def _modulus(self, x: Tensor) -> Tensor:
        return 2 * x.abs()

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        far = x.abs() + r
        return far * far, 2 * far

    def _draw(self, n: int, generator: Generator) -> Tensor:
        return signs(n, generator) * mixture(
            generator, log_uniform(n, 1e-6, 1e6, generator), constant(n, 0.0, generator)
        )

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        return tuple(
            (sympy.Rational(p, q), sympy.Rational(p * p, q * q)) for p, q in ((0, 1), (-3, 1), (5, 4), (10**6, 1))
        )

    def _reference(self, mp: Any, x: Any) -> Any:
        return mp.power(x, 2)

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        return 1 / depth, 2 / depth


@final
class ExpMap(Target):
    """`exp x` on the real line.

    It equals its derivative and grows, so both suprema sit at the right end: `exp(x + r)`, computed as `exp(x) exp(r)` because
    one rounding of a large `x + r` would be magnified by `x + r`.
    """

    name = "exponential"
    formula = "exp x on R"
    domain = "a real number"
    remedy = "pass finite numbers"
    evaluation_ulps = 4.0  # vectorised libm documents 1 ulp, which is at most 2 roundoffs

    def _contains(self, x: Tensor) -> Tensor:
        return torch.isfinite(x)

    def _value(self, x: Tensor) -> Tensor:
        return torch.exp(x)

    def _modulus(self, x: Tensor) -> Tensor:
        return torch.exp(x)

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        # One exponential, so that neither factor leaves the range; the end point is moved outwards by its own rounding.
        top = torch.exp(x + r + 2 * U * (x.abs() + r))
        return top, top

    def _draw(self, n: int, generator: Generator) -> Tensor:
        return signs(n, generator) * mixture(
            generator, log_uniform(n, 1e-6, 300, generator), uniform(n, 0, 5, generator)
        )

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        return tuple(
            (x, sympy.exp(x)) for x in (sympy.Integer(0), sympy.Integer(1), sympy.Rational(-3, 2), sympy.Integer(200))
        )

    def _reference(self, mp: Any, x: Any) -> Any:
        return mp.exp(x)

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        # Logarithmic in the depth, so that every decade of slopes is met before the exponential overflows.
        height = 1 - torch.log(depth)
        return height, height + 1
