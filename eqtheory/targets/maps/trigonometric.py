"""Functions with a pole or with ever faster oscillation: tangent and `x sin(1/x^2)`."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Generator, Tensor

from eqtheory.targets._arithmetic import HALF_PI, U, raised, reach, two_product
from eqtheory.targets._base import Target
from eqtheory.targets._domains import log_uniform, mixture, signs, uniform

__all__ = ["OscillatingMap", "TanMap"]


@final
class TanMap(Target):
    """`tan x` on `(-pi/2, pi/2)`.

    `|tan|` and its derivative `1 + tan^2` grow with `|x|`, so on `B(x,r)` both suprema sit at `|x| + r`: with the distance
    `gap = pi/2 - |x|` to the pole, `sup |F| = cot(gap - r)` and `lip = 1 + sup^2`. Both are exact.
    """

    name = "tangent"
    formula = "tan x on (-pi/2, pi/2)"
    domain = "-pi/2 < x < pi/2"
    remedy = "the tangent is studied on its central branch"
    evaluation_ulps = 4.0  # vectorised libm documents 1 ulp, which is at most 2 roundoffs

    def _gap(self, x: Tensor) -> Tensor:
        # The first difference is exact near the pole (Sterbenz), the second part of pi/2 restores what was cut off.
        return (HALF_PI[0] - x.abs()) + HALF_PI[1]

    def _contains(self, x: Tensor) -> Tensor:
        return self._gap(x) > 0

    def _value(self, x: Tensor) -> Tensor:
        return torch.tan(x)

    def _modulus(self, x: Tensor) -> Tensor:
        return 1 + torch.tan(x) ** 2

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        left = reach(self._gap(x), r)
        # Near the pole from the distance to it, near 0 from the distance to 0: each accurate where the other cancels.
        sup = torch.where(left < math.pi / 4, 1 / torch.tan(left), torch.tan(x.abs() + r))
        return sup, 1 + sup * sup

    def _draw(self, n: int, generator: Generator) -> Tensor:
        near_pole = HALF_PI[0] - log_uniform(n, 1e-12, 1, generator)
        return signs(n, generator) * mixture(
            generator, near_pole, uniform(n, 0, 1.5, generator), log_uniform(n, 1e-9, 1, generator)
        )

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        angles = (sympy.Integer(0), sympy.pi / 4, -sympy.pi / 3, sympy.pi / 6, 5 * sympy.pi / 12)
        return tuple((angle, sympy.tan(angle)) for angle in angles)

    def _reference(self, mp: Any, x: Any) -> Any:
        return mp.sin(x) / mp.cos(x)

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        return HALF_PI[0] - depth, HALF_PI[0] - depth / 2


@final
class OscillatingMap(Target):
    """`x sin(1/x^2)` on the real line without 0: continuous at 0 and bounded by 1, with slopes that blow up there.

    With `t = 1/x^2`: `F' = sin t - 2 t cos t` and `F'' = 2 t^{3/2} (cos t - 2 t sin t)` up to sign, so
    `|F'| <= min(1, t) + 2 t` (as `|sin t| <= t`) and `|F''| <= 2 t^{3/2} (1 + 2 t)`. On a ball that does not reach 0, `t` is at
    most `1/(|x|-r)^2`, and `lip` is the smaller of the first bound and of `|F'(x)| + r sup |F''|`. A ball that reaches 0 has
    unbounded slopes. `|F| <= min(|x|, 1/|x|) <= 1`.
    """

    name = "oscillation"
    formula = "x sin(1/x^2) on R without 0"
    domain = "x != 0"
    remedy = "drop the sample at 0, where the map has no local modulus"
    evaluation_ulps = 16.0

    def _contains(self, x: Tensor) -> Tensor:
        return x != 0

    def _phase(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`1/x^2` as an unevaluated sum."""
        # The sine forgets a phase that is off by an absolute U t, which for x = 1e-6 is 1e-4. With the square exact, x^2 = s + c,
        # the quotient h = fl(1/s) leaves the remainder 1 - h (s + c), computed exactly up to c h, and the pair (h, remainder / s)
        # has a relative error of a few U^2.
        s, c = two_product(x, x)
        h = 1 / s
        p, e = two_product(h, s)
        return h, (((1 - p) - e) - h * c) / s

    def _sin_cos(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, low = self._phase(x)
        sin_h, cos_h, sin_low, cos_low = torch.sin(h), torch.cos(h), torch.sin(low), torch.cos(low)
        return sin_h * cos_low + cos_h * sin_low, cos_h * cos_low - sin_h * sin_low

    def _value(self, x: Tensor) -> Tensor:
        # Beyond 1e5, sin t = t (1 - t^2/6 ...) is t to within t^2 = 1e-20, so F = 1/x; this also avoids underflow of t.
        far = x.abs() > 1e5
        return torch.where(far, 1 / x, x * self._sin_cos(torch.where(far, torch.ones_like(x), x))[0])

    def _error_scale(self, x: Tensor, value: Tensor) -> Tensor:
        # sin t is accurate relative to t for t <= 1. Beyond, its error is absolute: U, and U^2 t from the phase.
        t = x**-2
        return value.abs() + torch.where(t > 1, x.abs() * (1 + U * t), torch.zeros_like(x))

    def _modulus(self, x: Tensor) -> Tensor:
        # For large |x| the two terms are t and -2 t: no cancellation.
        t = x**-2
        near = torch.where(x.abs() > 1e5, torch.ones_like(x), x)
        sine, cosine = self._sin_cos(near)
        return torch.where(x.abs() > 1e5, t, (sine - 2 * t * cosine).abs())

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        left = reach(x.abs(), r)
        t = left**-2
        sup = torch.minimum(x.abs() + r, 1 / left).clamp_max(1.0)
        first = t.clamp_max(1.0) + 2 * t
        # The phase of F'(x) costs 16 U (1 + t) (1 + 2t) in absolute terms at worst; the bound is raised by that.
        here = self._modulus(x) + 16 * U * (1 + U * t * t + 2 * t)
        return sup, torch.minimum(first, raised(here, r, 2 * t**1.5 * (1 + 2 * t)))

    def _draw(self, n: int, generator: Generator) -> Tensor:
        return signs(n, generator) * mixture(
            generator, log_uniform(n, 1e-7, 1, generator), log_uniform(n, 0.1, 1e6, generator)
        )

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        points = (sympy.sqrt(2 / sympy.pi), sympy.Integer(1), sympy.Integer(-2), sympy.Rational(1, 1024))
        return tuple((x, x * sympy.sin(x**-2)) for x in points)

    def _reference(self, mp: Any, x: Any) -> Any:
        return x * mp.im(mp.expj(1 / x**2))

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        # Crest and trough of one wave: sin = 1 at 2 pi k + pi/2 and -1 at 2 pi k + 3 pi/2.
        wave = 2 * math.pi * torch.round(1 / depth)
        return (wave + math.pi / 2) ** -0.5, (wave + 1.5 * math.pi) ** -0.5
