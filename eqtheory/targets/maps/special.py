"""Gamma and digamma on several branches between their poles 0, -1, -2, ...

Points near a pole `k` are written `x = k + s` with `s` exact, since `k + s` rounded would lose the distance to the pole.

References:
    M. Abramowitz, I. A. Stegun, Handbook of Mathematical Functions, 6.1.40, 6.3.18, 6.4.12 (asymptotic series).
"""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Generator, Tensor

from eqtheory.targets._arithmetic import U, polynomial
from eqtheory.targets._base import Target
from eqtheory.targets._domains import log_uniform, mixture, signs, uniform

__all__ = ["DigammaMap", "GammaMap"]

_LOWEST = -4
"""The domain is `x > -4`: four branches between poles and the positive half-line."""

_SHIFT = 12
"""Recurrences lead up to arguments of at least 11.5, where the first omitted term of each series below is under 1e-17."""

_LOG_GAMMA = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
_DIGAMMA = (-1 / 12, 1 / 120, -1 / 252, 1 / 240, -1 / 132, 691 / 32760, -1 / 12)
_TRIGAMMA = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)


def _shifted(k: Tensor, s: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Argument of at least 11.5, and the factors `s + j` that lead back from it to `k + s`, each with where it applies."""
    large = torch.where(k >= _SHIFT, k + s, _SHIFT + s)
    steps = []
    for j in range(_LOWEST, _SHIFT):
        applies = (k <= j) & (k < _SHIFT)
        steps.append((applies, torch.where(applies, s + j, torch.ones_like(s))))
    return large, steps


def _gamma(k: Tensor, s: Tensor) -> Tensor:
    # Stirling: Gamma(x) = sqrt(2 pi) x^(x - 1/2) e^-x exp(1/(12 x) - ...). The power is taken in two halves, since it overflows
    # before the product does; x - 1/2 is exact. Then Gamma(k + s) = Gamma(12 + s) / prod_{j=k}^{11} (s + j).
    x, steps = _shifted(k, s)
    half_power = torch.pow(x, (x - 0.5) / 2)
    value = (
        (math.sqrt(2 * math.pi) * half_power * torch.exp(-x))
        * half_power
        * torch.exp(polynomial(_LOG_GAMMA, x**-2) / x)
    )
    for _, factor in steps:
        value = value / factor
    return value


def _digamma(k: Tensor, s: Tensor) -> Tensor:
    # psi(x) ~ log x - 1/(2x) - 1/(12 x^2) + ..., and psi(k + s) = psi(12 + s) - sum_{j=k}^{11} 1/(s + j).
    x, steps = _shifted(k, s)
    value = torch.log(x) - 0.5 / x + x**-2 * polynomial(_DIGAMMA, x**-2)
    for applies, factor in reversed(steps):  # largest terms last
        value = value - applies / factor
    return value


def _trigamma(k: Tensor, s: Tensor) -> Tensor:
    # psi'(x) ~ 1/x + 1/(2 x^2) + 1/(6 x^3) - ..., and psi'(k + s) = psi'(12 + s) + sum 1/(s + j)^2: all terms positive.
    x, steps = _shifted(k, s)
    value = 1 / x + 0.5 * x**-2 + x**-3 * polynomial(_TRIGAMMA, x**-2)
    for applies, factor in reversed(steps):
        value = value + applies / (factor * factor)
    return value


def _split(x: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest integer and exact offset."""
    k = torch.round(x).detach()
    return k, x - k


class _BranchedTarget(Target):
    """What gamma and digamma share: the branches, and the two ends of a ball that stays within one."""

    domain = "x > -4, x not in {0, -1, -2, -3}"
    remedy = "drop the poles; the branches left of -4 are not covered"

    def _contains(self, x: Tensor) -> Tensor:
        return (x > _LOWEST) & ((x > 0) | (x != torch.round(x)))

    def _ends(self, x: Tensor, r: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Whether the closed ball misses every pole, and its two ends as `(k, s)`."""
        # Right of 0 the only pole in reach is 0. Between poles let k be the nearest one and s = x - k: the near end of the ball is
        # |s| - r away from k, and the far end |s| + r, which past one half is written as (1/2 - |s|) + (1/2 - r) from the next
        # pole. Each of these is relatively accurate, however small.
        k, s = _split(x)
        side = torch.where(s < 0, -1.0, 1.0).to(x.dtype)
        size = s.abs()
        positive, crosses = x > 0, size + r > 0.5
        tame = torch.where(positive, x, size) > r
        left_k, left_s = _split(x - r)
        right_k, right_s = _split(x + r)
        far_k = torch.where(crosses, k + side, k)
        far_s = side * torch.where(crosses, -((0.5 - size) + (0.5 - r)), size + r)
        end_a = (torch.where(positive, left_k, k), torch.where(positive, left_s, side * (size - r)))
        end_b = (torch.where(positive, right_k, far_k), torch.where(positive, right_s, far_s))
        one, zero = torch.ones_like(x), torch.zeros_like(x)
        # Balls that touch a pole get the harmless point 1; their bounds are replaced by infinity.
        safe_a = (torch.where(tame, end_a[0], one), torch.where(tame, end_a[1], zero))
        safe_b = (torch.where(tame, end_b[0], one), torch.where(tame, end_b[1], zero))
        return tame, safe_a, safe_b

    def _draw(self, n: int, generator: Generator) -> Tensor:
        poles = torch.floor(uniform(n, _LOWEST, 1, generator))
        near_pole = poles + signs(n, generator) * log_uniform(n, 1e-10, 0.5, generator)
        return mixture(generator, near_pole, uniform(n, _LOWEST, 3, generator), log_uniform(n, 1e-12, 100, generator))

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        return depth, depth / 2


@final
class GammaMap(_BranchedTarget):
    """The gamma function on `(-4, inf)` without its poles: five branches of alternating sign.

    `(log |Gamma|)'' = psi' > 0`, so `|Gamma|` is log-convex, hence convex, on every branch: `|Gamma|` and `|Gamma'|` are
    largest at an end of any interval of a branch, and with `Gamma' = Gamma psi` both bounds are exact. A ball that touches a
    pole has unbounded values.
    """

    name = "gamma"
    formula = "Gamma(x) on (-4, inf) without 0, -1, -2, -3"
    evaluation_ulps = 64.0  # at most 16 recurrence steps of 2 roundings, and under 20 in Stirling's formula
    bound_ulps = (
        2048.0  # one rounding of x + r moves Gamma by a relative x psi(x) U, below 900 U where Gamma is representable
    )

    def _value(self, x: Tensor) -> Tensor:
        return _gamma(*_split(x))

    def _modulus(self, x: Tensor) -> Tensor:
        k, s = _split(x)
        return (_gamma(k, s) * _digamma(k, s)).abs()

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        tame, a, b = self._ends(x, r)
        size_a, size_b = _gamma(*a).abs(), _gamma(*b).abs()
        # Around its zeros psi is known to an absolute 64 U only.
        slope_a = size_a * (_digamma(*a).abs() + 64 * U)
        slope_b = size_b * (_digamma(*b).abs() + 64 * U)
        infinite = torch.full_like(x, torch.inf)
        sup, lip = torch.maximum(size_a, size_b), torch.maximum(slope_a, slope_b)
        return torch.where(tame, sup, infinite), torch.where(tame, lip, infinite)

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        return tuple(
            (sympy.Rational(p, 2), sympy.gamma(sympy.Rational(p, 2))) for p in (-7, -5, -3, -1, 1, 2, 3, 10, 41)
        )

    def _reference(self, mp: Any, x: Any) -> Any:
        return mp.gamma(x)


@final
class DigammaMap(_BranchedTarget):
    """The digamma function `psi = Gamma'/Gamma` on `(-4, inf)` without its poles.

    `psi' = sum_n 1/(x+n)^2` is positive and convex on every branch: `psi` rises, so `|psi|` is largest at an end of the
    ball, and so is `psi'`. Both bounds are exact. A ball that touches a pole has unbounded values.
    """

    name = "digamma"
    formula = "psi(x) on (-4, inf) without 0, -1, -2, -3"
    evaluation_ulps = 64.0  # at most 16 steps of 3 roundings, and under 10 in the asymptotic series

    def _value(self, x: Tensor) -> Tensor:
        return _digamma(*_split(x))

    def _error_scale(self, x: Tensor, value: Tensor) -> Tensor:  # noqa: ARG002  (same signature for every target)
        # psi has zeros, where terms of a size up to psi(12) + sum 1/j < 6 cancel: the error is partly absolute.
        return value.abs() + 6

    def _modulus(self, x: Tensor) -> Tensor:
        return _trigamma(*_split(x))

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        tame, a, b = self._ends(x, r)
        infinite = torch.full_like(x, torch.inf)
        sup = torch.maximum(_digamma(*a).abs(), _digamma(*b).abs()) + 400 * U
        lip = torch.maximum(_trigamma(*a), _trigamma(*b))
        return torch.where(tame, sup, infinite), torch.where(tame, lip, infinite)

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        half = sympy.Rational(1, 2)
        at_half = -sympy.EulerGamma - 2 * sympy.log(2)
        return (
            (sympy.Integer(1), -sympy.EulerGamma),
            (sympy.Integer(4), sympy.Rational(11, 6) - sympy.EulerGamma),
            (half, at_half),
            (-half, at_half + 2),
            (-7 * half, at_half + 2 * (1 + sympy.Rational(1, 3) + sympy.Rational(1, 5) + sympy.Rational(1, 7))),
        )

    def _reference(self, mp: Any, x: Any) -> Any:
        return mp.digamma(x)
