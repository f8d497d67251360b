"""The principal branch of Lambert's W, the inverse of `w e^w`.

References:
    R. M. Corless et al., On the Lambert W function, Advances in Computational Mathematics 5 (1996).
"""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Generator, Tensor

from eqtheory.targets._arithmetic import INVERSE_E, U, polynomial, reach
from eqtheory.targets._base import Target
from eqtheory.targets._domains import log_uniform, mixture, signs

__all__ = ["LambertWMap"]

_PHI = tuple((k - 1) / math.factorial(k) for k in range(2, 24))
"""Coefficients of `(1 + (v - 1) e^v) / v^2`, to 1e-22 for `v <= 1`."""


def _excess(gap: Tensor) -> Tensor:
    """`v = 1 + W(x)` from the distance `gap = x + 1/e` to the branch point, to full relative accuracy."""
    # (v - 1) e^v = e x reads phi(v) = 1 + (v - 1) e^v = e gap, with phi = sum_{k>=2} (k-1)/k! v^k rising and convex for v > 0:
    # from any start, Newton's method is above the root after one step and then falls to it. The start is sqrt(2 e gap) near the
    # branch point (phi ~ v^2/2), and comes from three Newton steps on w + log w = log x for x >= 1. Steps are divided by e^v
    # throughout, so nothing overflows.
    x = (gap - INVERSE_E[0]).clamp_min(1.0)
    w, log_x = torch.log1p(x), torch.log(x)
    for _ in range(3):
        w = w * (1 + log_x - torch.log(w)) / (1 + w)
    v = torch.where(gap > 1 + INVERSE_E[0], 1 + w, torch.sqrt(2 * math.e * gap).clamp_max(2.0))
    for _ in range(7):
        small = v.clamp_max(1.0)
        phi = torch.where(v < 1, small * small * polynomial(_PHI, small) * torch.exp(-small), v - 1 + torch.exp(-v))
        v = v - (phi - gap * torch.exp(1 - v)) / v
    return v


class _LambertW(torch.autograd.Function):
    """Lambert's W with the derivative `1/(e^W (1 + W))` that its defining equation gives."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        v = _excess((x + INVERSE_E[0]) + INVERSE_E[1])
        w = v - 1
        # Away from the branch point w = x e^-w is well conditioned in w itself, also around its zero: two Newton steps.
        away = x > -0.25
        for _ in range(2):
            w = torch.where(away, w - (w - x * torch.exp(-w)) / torch.where(away, 1 + w, torch.ones_like(w)), w)
        ctx.save_for_backward(w)
        return w

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (w,) = ctx.saved_tensors
        return grad * torch.exp(-w) / (1 + w)


@final
class LambertWMap(Target):
    """The principal branch of Lambert's W, `W e^W = x`, on `(-1/e, inf)`.

    `W' = 1/(e^W (1 + W))` falls, so the slope is largest at the left end of the ball; it is infinite once the ball reaches the
    branch point. `W` rises from -1, so `|W|` is largest at an end and stays finite there. Both bounds are exact.
    """

    name = "Lambert W"
    formula = "W(x) on (-1/e, inf)"
    domain = "x > -1/e"
    remedy = "the principal branch is real only right of -1/e = -0.36788"
    evaluation_ulps = (
        16.0  # one exponential, one product and one quotient in the last step, and their conditioning below 3
    )

    def _gap(self, x: Tensor) -> Tensor:
        return (x + INVERSE_E[0]) + INVERSE_E[1]

    def _contains(self, x: Tensor) -> Tensor:
        return self._gap(x) > 0

    def _value(self, x: Tensor) -> Tensor:
        return _LambertW.apply(x)  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def _modulus(self, x: Tensor) -> Tensor:
        v = _excess(self._gap(x))
        return torch.exp(1 - v) / v

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        gap = self._gap(x)
        left = reach(gap, r)
        v = torch.where(left > 0, _excess(torch.where(left > 0, left, gap)), torch.zeros_like(left))
        sup = torch.maximum((v - 1).abs(), (_excess(gap + r) - 1).abs()) + 16 * U
        return sup, torch.exp(1 - v) / v

    def _draw(self, n: int, generator: Generator) -> Tensor:
        near_branch = log_uniform(n, 1e-12, 1, generator) - INVERSE_E[0]
        small = signs(n, generator) * log_uniform(n, 1e-12, 0.3, generator)
        return mixture(generator, near_branch, small, log_uniform(n, 0.1, 1e12, generator))

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        values = (
            sympy.Integer(0),
            sympy.Integer(1),
            sympy.Integer(2),
            -sympy.log(2),
            sympy.Rational(-9, 10),
            sympy.Integer(20),
        )
        return tuple((w * sympy.exp(w), w) for w in values)

    def _reference(self, mp: Any, x: Any) -> Any:
        return mp.re(mp.lambertw(x))

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        return depth - INVERSE_E[0], depth / 4 - INVERSE_E[0]
