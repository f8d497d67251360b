"""The largest real root of a quadratic and of a cubic, as a function of the coefficients.

Roots are smooth where the discriminant is positive and lose their slope bound where two roots meet. That domain is not convex,
so bounds are finite only on balls that lie in it as a whole: a lower bound of the discriminant over the ball certifies this.
Every bound has the form `q(x) -+ r Lambda(x,r)`, which is monotone (see `lowered`).
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Generator, Tensor

from eqtheory.targets._arithmetic import lowered, raised, two_product, two_sum
from eqtheory.targets._base import Target
from eqtheory.targets._domains import constant, log_uniform, mixture, signs
from eqtheory.targets._exact import bisect

__all__ = ["CubicRootMap", "QuadraticRootMap"]


@final
class QuadraticRootMap(Target):
    """The larger root of `t^2 + b t + c` as a function of `x = (b, c)`, where the discriminant `D = b^2 - 4c` is positive.

    Differentiating the equation, `F' = (-t, -1)/(2t + b)` and `2t + b = sqrt D`: the local modulus is
    `sqrt(t^2 + 1)/sqrt D`. On the ball, `|grad D| = 2 sqrt(b^2 + 4) <= Lambda = 2 sqrt((|b|+r)^2 + 4)`, so
    `D_low = D - r Lambda`, `D_up = D + r Lambda`; always `|t| <= (|b| + r + sqrt D_up)/2`. If `D_low > 0` the whole ball lies in
    the domain and is convex: a first slope `L0` from these two gives the sharper `|t| <= |F(x)| + r L0`, and that the final one.
    """

    name = "quadratic root"
    formula = "larger root of t^2 + b t + c, x = (b, c), b^2 > 4c"
    domain = "(b, c) with b^2 - 4c > 0"
    remedy = "the larger root is smooth only where both roots are real and different"
    input_shape = (2,)
    evaluation_ulps = 16.0  # discriminant 4, root 1, sum and quotient 2, with conditioning at most 1

    def _discriminant(self, x: Tensor) -> Tensor:
        # b^2 exactly, as p + e. Where p - 4c cancels it is exact (Sterbenz), so the result is relatively accurate.
        p, e = two_product(x[:, 0], x[:, 0])
        return (p - 4 * x[:, 1]) + e

    def _contains(self, x: Tensor) -> Tensor:
        return self._discriminant(x) > 0

    def _value(self, x: Tensor) -> Tensor:
        # Whichever of the two equal formulas adds numbers of one sign.
        b, c = x[:, 0], x[:, 1]
        root = self._discriminant(x).sqrt()
        falling = b > 0
        return torch.where(falling, -2 * c / torch.where(falling, b + root, torch.ones_like(b)), (root - b) / 2)

    def _modulus(self, x: Tensor) -> Tensor:
        return torch.hypot(self._value(x), torch.ones_like(x[:, 0])) / self._discriminant(x).sqrt()

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        discriminant, one = self._discriminant(x), torch.ones_like(r)
        far = x[:, 0].abs() + r
        slope = 2 * torch.hypot(far, 2 * one)
        low = lowered(discriminant, r, slope).clamp_min(0.0).sqrt()
        sup = (far + raised(discriminant, r, slope).sqrt()) / 2
        sup = torch.minimum(sup, raised(self._value(x).abs(), r, torch.hypot(sup, one) / low))
        return sup, torch.hypot(sup, one) / low

    def _draw(self, n: int, generator: Generator) -> Tensor:
        b = signs(n, generator) * mixture(generator, log_uniform(n, 1e-3, 1e3, generator), constant(n, 0.0, generator))
        discriminant = log_uniform(n, 1e-8, 1e4, generator)
        return torch.stack([b, (b * b - discriminant) / 4], dim=1)

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        pairs = ((-3, 2), (0, -2), (1, -1), (10**4, 1), (-(2**20), 1))
        return tuple((tuple(map(sympy.Integer, (b, c))), (sympy.sqrt(b * b - 4 * c) - b) / 2) for b, c in pairs)

    def _reference(self, mp: Any, x: Any) -> Any:
        b, c = x
        return -b / 2 + mp.sqrt((b / 2) ** 2 - c)

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        b = torch.zeros_like(depth)
        return torch.stack([b, -depth], dim=1), torch.stack([b, -depth / 4], dim=1)


@final
class CubicRootMap(Target):
    """The largest root of `t^3 + p t + q` as a function of `x = (p, q)`, where it has three different real roots.

    The condition is `D = -4p^3 - 27q^2 > 0`, the product of the squared differences of the roots. With `m = 3t^2 + p > 0` at the
    largest root, `F' = (-t, -1)/m` and the local modulus is `sqrt(t^2 + 1)/m`. Since `m = (t - t2)(t - t3)`, `sqrt D = m (t2 - t3)`
    and `(t2 - t3)^2 = -3t^2 - 4p <= -3p` (as `3t^2 > -p`), so `m >= sqrt(D / (-3p))`. On a ball, with `P = |p| + r`, `Q = |q| + r`:
    `|grad D| <= Lambda = sqrt((12 P^2)^2 + (54 Q)^2)`, `|t| <= 2 sqrt(P/3)`, and `D - r Lambda > 0` puts the whole ball into the
    domain, where `m >= m0 = sqrt((D - r Lambda)/(3P))`. A first slope `L0` from these gives `|t| <= |F(x)| + r L0` and, since
    `|grad m| <= 6 |t| L0 + 1`, `m >= m(x) - r (6 sup|t| L0 + 1)`.
    """

    name = "cubic root"
    formula = "largest root of t^3 + p t + q, x = (p, q), 4p^3 + 27q^2 < 0"
    domain = "(p, q) with 4p^3 + 27q^2 < 0"
    remedy = "the formula needs three different real roots"
    input_shape = (2,)
    evaluation_ulps = 32.0  # about 20 roundings; near a double root the angle keeps its relative accuracy, see _angle

    def _discriminant(self, x: Tensor) -> Tensor:
        # 4|p|^3 and 27 q^2 as unevaluated sums of relative error a few U^2, so that their difference may cancel.
        size, q = x[:, 0].clamp_max(0.0).neg(), x[:, 1]
        square, square_low = two_product(size, size)
        cube, cube_low = two_product(square, size)
        cube_low = cube_low + square_low * size
        other, other_low = two_product(q, q)
        other_27, error_27 = two_product(torch.full_like(q, 27.0), other)
        total, low = two_sum(4 * cube, -other_27)
        return total + (low + (4 * cube_low - (error_27 + 27 * other_low)))

    def _angle(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The angle `a` with `t = 2 sqrt(-p/3) cos a`, the root `t`, and `m = 3t^2 + p` there."""
        # cos 3a = -q sqrt(27 / (4|p|^3)) with 0 < a < pi/3, and sin 3a = sqrt(D / (4|p|^3)) is accurate even where the cosine is -1
        # up to rounding: so is 3a from both. m = |p| sin 3a / sin a is a product of accurate factors where 3t^2 + p cancels.
        size = -x[:, 0]
        root = self._discriminant(x).sqrt()
        a = torch.atan2(root, -(27.0**0.5) * x[:, 1]) / 3
        t = 2 * (size / 3).sqrt() * torch.cos(a)
        return a, t, root / (2 * size.sqrt() * torch.sin(a))

    def _contains(self, x: Tensor) -> Tensor:
        return (x[:, 0] < 0) & (self._discriminant(x) > 0)

    def _value(self, x: Tensor) -> Tensor:
        return self._angle(x)[1]

    def _modulus(self, x: Tensor) -> Tensor:
        _, t, m = self._angle(x)
        return torch.hypot(t, torch.ones_like(t)) / m

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        _, t, m = self._angle(x)
        one = torch.ones_like(r)
        p, q = x[:, 0].abs() + r, x[:, 1].abs() + r
        low = lowered(self._discriminant(x), r, torch.hypot(12 * p * p, 54 * q)).clamp_min(0.0)
        m0 = (low / (3 * p)).sqrt()
        sup = 2 * (p / 3).sqrt()
        first = torch.hypot(sup, one) / m0
        sup = torch.minimum(sup, raised(t.abs(), r, first))
        return sup, torch.hypot(sup, one) / torch.maximum(m0, lowered(m, r, 6 * sup * first + 1))

    def _draw(self, n: int, generator: Generator) -> Tensor:
        # q between the two values at which roots meet, often very close to one of them.
        size = log_uniform(n, 1e-2, 1e2, generator)
        edge = 2 * (size / 3) ** 1.5
        share = mixture(generator, 1 - log_uniform(n, 1e-8, 1, generator), log_uniform(n, 1e-6, 1, generator))
        return torch.stack([-size, signs(n, generator) * edge * share], dim=1)

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        z = sympy.Integer
        return (
            ((z(-7), z(6)), z(2)),
            ((z(-3), z(0)), sympy.sqrt(3)),
            ((z(-3), z(1)), 2 * sympy.cos(2 * sympy.pi / 9)),
            ((z(-3), z(-1)), 2 * sympy.cos(sympy.pi / 9)),
        )

    def _reference(self, mp: Any, x: Any) -> Any:
        # t^3 + p t + q rises beyond its last turning point sqrt(-p/3), and is positive at twice that.
        p, q = x
        turn = mp.sqrt(-p / 3)
        return bisect(lambda t: t**3 + p * t + q, turn, 2 * turn)

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        # For p = -3 and q = 2 - h two roots meet at t = 1 as h goes to 0: t = 1 + sqrt(h/3) + ...
        p = torch.full_like(depth, -3.0)
        return torch.stack([p, 2 - depth], dim=1), torch.stack([p, 2 - depth / 4], dim=1)
