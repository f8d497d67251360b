"""Kepler's equation `E - e sin E = M`: the eccentric anomaly as a function of eccentricity and mean anomaly.

The time-honoured implicit function: smooth inside `0 <= e < 1`, steep where `e -> 1` and `M -> 0` modulo a turn.
"""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Generator, Tensor

from eqtheory.operators import OncePerInput
from eqtheory.targets._arithmetic import lowered, polynomial, raised, reach
from eqtheory.targets._base import Target
from eqtheory.targets._domains import constant, log_uniform, mixture, signs, uniform
from eqtheory.targets._exact import bisect

__all__ = ["KeplerMap"]

_TURN = (6.28125, float.fromhex("0x1.fb54442cp-10"), float.fromhex("0x1.18469898cc517p-42"))
"""2 pi as a sum of parts with 9, 31 and 53 bits: multiples of the first two up to 2^20 are exact."""

_MOST_EXACT = 2.0**22
"""Up to this mean anomaly, fewer than 2^20 turns are taken off."""

_NEWTON_STEPS = 12
"""The starting point is within a constant factor of the root; tests find convergence after at most 8 steps."""

_SERIES = tuple((-1) ** (k + 1) / math.factorial(2 * k + 1) for k in range(1, 11))
"""`E - sin E = sum_k (-1)^(k+1) E^(2k+1) / (2k+1)!`, to 1e-19 for `|E| <= 1`."""


def _reduced(anomaly: Tensor) -> tuple[Tensor, Tensor]:
    """Turns and the remainder in `[-pi, pi]`, the latter relatively accurate."""
    turns = torch.round(anomaly / (2 * math.pi)).detach()
    return turns, ((anomaly - turns * _TURN[0]) - turns * _TURN[1]) - turns * _TURN[2]


def _denominator(gap: Tensor, eccentric: Tensor) -> Tensor:
    """`1 - e cos E = (1 - e) + 2 e sin^2(E/2)`: both terms positive, so nothing cancels. `gap` is `1 - e`."""
    return gap + 2 * (1 - gap) * torch.sin(eccentric / 2) ** 2


def _solve(e: Tensor, mean: Tensor) -> Tensor:
    """Solve for `0 <= E <= pi` given `0 <= M <= pi`."""
    # f(E) = E - e sin E - M rises and is convex on [0, pi], so Newton's method falls monotonically to the root from any point
    # above it. Such points are pi; M + e; M/(1-e), as E - e sin E >= (1-e) E; and (12 M/e)^(1/3), as
    # E - e sin E >= e (E - sin E) >= e E^3/12 on [0, pi]. One of the last two is always within a constant factor of the root.
    # Written as (1-e) E + e (E - sin E) - M, with a series for small E, the residual has a relative error of a few roundoffs of
    # M, and so has the root, since M <= E (1 - e cos E).
    gap = 1 - e
    cube = torch.pow(12 * mean / e.clamp_min(0.5), 1 / 3)
    start = torch.minimum(mean + e, mean / gap).clamp_max(math.pi)
    value = torch.where(e >= 0.5, torch.minimum(start, cube), start)
    for _ in range(_NEWTON_STEPS):
        small = value.clamp_max(1.0)
        square = small * small
        excess = torch.where(value < 1, small * square * polynomial(_SERIES, square), value - torch.sin(value))
        value = value - ((gap * value - mean) + e * excess) / _denominator(gap, value)
    return value.clamp_min(0.0)


class _Anomaly(torch.autograd.Function):
    """The solution with the derivative `(sin E, 1)/(1 - e cos E)` that the equation gives."""

    @staticmethod
    def forward(ctx: Any, e: Tensor, mean: Tensor) -> Tensor:
        size = _solve(e, mean.abs())
        value = torch.where(mean < 0, -size, size)
        ctx.save_for_backward(e, value)
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        e, value = ctx.saved_tensors
        scaled = grad / _denominator(1 - e, value)
        return scaled * torch.sin(value), scaled


def _solved(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Reduced mean anomaly, reduced solution and full turns."""
    turns, mean = _reduced(x[:, 1])
    return mean, _Anomaly.apply(x[:, 0], mean), turns  # type: ignore[no-untyped-call]  # torch leaves it untyped


_FARTHEST = 2.0**20
"""Largest |M|: up to here the reduction by whole turns is exact to the accuracy of the solution."""


@final
class KeplerMap(Target):
    """`E` with `E - e sin E = M`, `x = (e, M)`, for eccentricities `0 <= e < 1`.

    The gradient is `(sin E, 1)/D` with `D = 1 - e cos E`: the local modulus is `sqrt(1 + sin^2 E)/D`. The domain is convex, so on a
    ball a lower bound of `D` suffices. Let `k = max(1 - e - r, 0)`, so `e <= 1 - k` on the ball, and `m` the distance of `M` to the
    nearest full turn; `E` is at least as far from it as `M`, so `D >= D0 = 1 - (1-k) max(cos(m - r), 0)`, or
    `k + 2 (1-k) sin^2((m-r)/2)`. It gives a first slope `L0 = sqrt 2 / D0`. From `|grad D| <= |cos E| + e |sin E| L0 <= 1 + L0` and
    `|sin E| <= |sin E(x)| + r L0` follow the sharper `D` and the final slope. `|E| <= |M| + e` bounds the values.
    """

    name = "Kepler"
    formula = "E with E - e sin E = M, x = (e, M), 0 <= e < 1"
    domain = "(e, M) with 0 <= e < 1 and |M| <= 2^20"
    remedy = "the eccentricity of an ellipse lies in [0, 1)"
    input_shape = (2,)
    evaluation_ulps = 32.0  # 10 roundings in the residual, magnified at most threefold where E - sin E is a difference

    def __init__(self) -> None:
        self._solved = OncePerInput(_solved)

    def _contains(self, x: Tensor) -> Tensor:
        # Beyond, the reduction of M by whole turns would round, and no bound below accounts for that.
        return (x[:, 0] >= 0) & (x[:, 0] < 1) & (x[:, 1].abs() <= _FARTHEST)

    def _value(self, x: Tensor) -> Tensor:
        _, value, turns = self._solved(x)
        return value + turns * (2 * math.pi)

    def _error_scale(self, x: Tensor, value: Tensor) -> Tensor:
        # Beyond 2^20 turns the reduction rounds, and the solution magnifies that by 1/D <= 1/(1 - e).
        return value.abs() * torch.where(x[:, 1].abs() > _MOST_EXACT, 1 / (1 - x[:, 0]), torch.ones_like(value))

    def _modulus(self, x: Tensor) -> Tensor:
        _, value, _ = self._solved(x)
        return torch.hypot(torch.ones_like(value), torch.sin(value)) / _denominator(1 - x[:, 0], value)

    def _bounds(self, x: Tensor, r: Tensor) -> tuple[Tensor, Tensor]:
        mean, value, turns = self._solved(x)
        one, gap = torch.ones_like(r), 1 - x[:, 0]
        left, angle = reach(gap, r), reach(mean.abs(), r)
        crude = torch.where(angle >= math.pi / 2, one, left + 2 * (1 - left) * torch.sin(angle / 2) ** 2)
        first = math.sqrt(2) / crude
        denominator = torch.maximum(crude, lowered(_denominator(gap, value), r, 1 + first))
        sine = raised(torch.sin(value).abs(), r, first).clamp_max(1.0)
        lip = torch.hypot(one, sine) / denominator
        largest = (value + turns * (2 * math.pi)).abs()
        sup = torch.minimum(raised(largest, r, lip), x[:, 1].abs() + r + (1 - left))
        return sup, lip

    def _draw(self, n: int, generator: Generator) -> Tensor:
        e = mixture(
            generator,
            1 - uniform(n, 0, 1, generator),
            1 - log_uniform(n, 1e-8, 1, generator),
            constant(n, 0.0, generator),
        )
        turns = 2 * math.pi * torch.round(signs(n, generator) * log_uniform(n, 0.1, 1e3, generator))
        small = signs(n, generator) * log_uniform(n, 1e-10, math.pi, generator)
        return torch.stack([e, mixture(generator, small, small, turns + small)], dim=1)

    def _exact(self, sympy: Any) -> tuple[tuple[Any, Any], ...]:
        half, pi = sympy.Rational(1, 2), sympy.pi
        cases = ((sympy.Integer(0), sympy.Integer(1)), (half, sympy.Integer(0)), (half, pi / 2), (half, 7 * pi / 3))
        near = ((sympy.Rational(1023, 1024), -pi / 6), (sympy.Rational(1, 4), pi))
        return tuple(((e, anomaly - e * sympy.sin(anomaly)), anomaly) for e, anomaly in (*cases, *near))

    def _reference(self, mp: Any, x: Any) -> Any:
        # E - e sin E rises, and the root lies within e of M.
        e, mean = x
        return bisect(lambda value: value - e * mp.sin(value) - mean, mean - e, mean + e)

    def _approach(self, depth: Tensor) -> tuple[Tensor, Tensor]:
        # At e = 1 - h the slope in M is 1/h at M = 0, and stays so up to about M = h^(3/2).
        e = 1 - depth
        return torch.stack([e, torch.zeros_like(e)], dim=1), torch.stack([e, depth * depth / 4], dim=1)
