"""Linear programs in rationals: the two operators, fixed points of the scalar dual, and solutions by bases; for the check of T12."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import isqrt

from proofs_check.rational import inner, product, transposed

__all__ = ["Program", "clip", "root_above", "scalar_dual_fixed_point", "simplex_minimiser", "squared"]

Vector = list[Fraction]
_GRID = 10**9


def root_above(q: Fraction) -> Fraction:
    """A rational at least the root of `q`, at most 1e-9 above it; the root itself where that is a multiple of 1e-9."""
    scaled = q * _GRID * _GRID
    whole = -(-scaled.numerator // scaled.denominator)
    root = isqrt(whole)
    return Fraction(root if root * root == whole else root + 1, _GRID)


def squared(v: Vector) -> Fraction:
    """Euclidean norm, squared."""
    return inner(v, v)


def clip(v: Fraction, low: Fraction, high: Fraction) -> Fraction:
    """`v`, taken between two bounds."""
    return max(low, min(high, v))


@dataclass(frozen=True)
class Program:
    """`min c . y, A y (<= or =) b, l <= y <= u` with rational data."""

    A: list[Vector]
    b: Vector
    equality: list[bool]
    c: Vector
    l: Vector  # noqa: E741
    u: Vector

    def decode(self, p: Vector, lam: Fraction) -> Vector:
        """`y(p)`."""
        pulled = product(transposed(self.A), p)
        return [clip(-(c + s) / lam, low, high) for c, s, low, high in zip(self.c, pulled, self.l, self.u, strict=True)]

    def project(self, p: Vector) -> Vector:
        """Multipliers of inequalities are not negative."""
        return [v if e else max(Fraction(0), v) for v, e in zip(p, self.equality, strict=True)]

    def dual_step(self, p: Vector, lam: Fraction, delta: Fraction, tau: Fraction) -> Vector:
        """`G(p, x)`."""
        across = product(self.A, self.decode(p, lam))
        return self.project([(1 - tau * delta) * v + tau * (s - b) for v, s, b in zip(p, across, self.b, strict=True)])

    def primal_dual_step(self, y: Vector, p: Vector, tau: Fraction, sigma: Fraction) -> tuple[Vector, Vector]:
        """One primal-dual hybrid gradient step."""
        pulled = product(transposed(self.A), p)
        here = [
            clip(v - tau * (c + s), low, high)
            for v, c, s, low, high in zip(y, self.c, pulled, self.l, self.u, strict=True)
        ]
        across = product(self.A, [2 * a - v for a, v in zip(here, y, strict=True)])
        return here, self.project([v + sigma * (s - b) for v, s, b in zip(p, across, self.b, strict=True)])

    def step_norm_squared(self, y: Vector, p: Vector, tau: Fraction, sigma: Fraction) -> Fraction:
        """`|(y, p)|_P^2`."""
        return squared(y) / tau + squared(p) / sigma - 2 * inner(p, product(self.A, y))

    def dual_value(self, p: Vector) -> Fraction:
        """Value of the dual: the Lagrangian's minimum over the box."""
        prices = [c + s for c, s in zip(self.c, product(transposed(self.A), p), strict=True)]
        return sum(
            (min(r * low, r * high) for r, low, high in zip(prices, self.l, self.u, strict=True)), -inner(self.b, p)
        )

    def feasible(self, y: Vector) -> bool:
        """Whether all constraints hold."""
        across = product(self.A, y)
        rows = all(s == b if e else s <= b for s, b, e in zip(across, self.b, self.equality, strict=True))
        return rows and all(low <= v <= high for v, low, high in zip(y, self.l, self.u, strict=True))


def scalar_dual_fixed_point(program: Program, lam: Fraction, delta: Fraction) -> Fraction:
    """The fixed point where there is one row: the root of a piecewise linear, strictly falling function.

    `f(p) = A y(p) - b - delta p` bends where a variable meets a bound; between two neighbouring bends it is linear.
    """
    row = program.A[0]

    def f(p: Fraction) -> Fraction:
        return inner(row, program.decode([p], lam)) - program.b[0] - delta * p

    if not program.equality[0] and f(Fraction(0)) <= 0:
        return Fraction(0)
    bends = sorted(
        (-lam * end - c) / a
        for a, c, low, high in zip(row, program.c, program.l, program.u, strict=True)
        if a != 0
        for end in (low, high)
    )
    bends = bends or [Fraction(0)]
    far = max(abs(f(bends[0])), abs(f(bends[-1]))) / delta + 1
    nodes = [bends[0] - far, *bends, bends[-1] + far]
    for left, right in pairwise(nodes):
        if f(left) >= 0 >= f(right):
            return left if f(left) == f(right) else left + (right - left) * f(left) / (f(left) - f(right))
    message = "a strictly falling function has a root"
    raise AssertionError(message)


def simplex_minimiser(c: Vector, lam: Fraction) -> Vector:
    """`argmin c . y + lam |y|^2 / 2` on the simplex: the projection of `-c / lam`, by sorting."""
    v = [-entry / lam for entry in c]
    ordered = sorted(v, reverse=True)
    total, shift = Fraction(0), Fraction(0)
    for k, entry in enumerate(ordered, start=1):
        total += entry
        if entry - (total - 1) / k > 0:
            shift = (total - 1) / k
    return [max(Fraction(0), entry - shift) for entry in v]
