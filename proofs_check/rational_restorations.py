"""Problems of image restoration in rationals, where nothing is rounded, and those at which the bounds of T10 are attained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import Any

from eqtheory.theorems.imaging import (
    half_quadratic_contraction,
    proximal_gradient_contraction,
    proximal_gradient_simplicity,
)
from proofs_check.rational import inner, product, solve, transposed

__all__ = [
    "Instance",
    "RationalProblem",
    "rational_norm",
    "rational_problem",
    "rotation",
    "sharp_instances",
    "squared_comparisons",
]

Q = Fraction


def rational_norm(v: list[Fraction]) -> Fraction:
    """Euclidean norm of a vector whose norm is rational; anything else is a mistake of the check."""
    square = inner(v, v)
    root = Fraction(isqrt(square.numerator), isqrt(square.denominator))
    assert root * root == square, f"|{v}| is not rational"
    return root


def rotation(t: Fraction, n: int) -> list[list[Fraction]]:
    """A rational rotation: by the angle with half tangent `t` in the first plane, then, for three entries, in the last one."""
    cosine, sine = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    one, zero = Fraction(1), Fraction(0)
    if n == 2:
        return [[cosine, -sine], [sine, cosine]]
    first = [[cosine, -sine, zero], [sine, cosine, zero], [zero, zero, one]]
    last = [[one, zero, zero], [zero, cosine, -sine], [zero, sine, cosine]]
    return transposed([product(first, column) for column in transposed(last)])


@dataclass(frozen=True)
class RationalProblem:
    """`A = Q diag(sigma) R^T` with rational rotations, and a set whose projection stays rational where it is used.

    Args:
        Q: left singular vectors in columns.
        sigma: singular values.
        R: right singular vectors in columns.
        kind: subspace (of the first right singular vectors), box, ball or sphere.
        size: half the edge of the box, or the radius; the dimension of the subspace.
    """

    Q: list[list[Fraction]]
    sigma: list[Fraction]
    R: list[list[Fraction]]
    kind: str
    size: Fraction

    @property
    def A(self) -> list[list[Fraction]]:
        scaled = [[s * entry for entry in column] for s, column in zip(self.sigma, transposed(self.R), strict=True)]
        return transposed([product(self.Q, column) for column in transposed(scaled)])

    def project(self, z: list[Fraction]) -> list[Fraction]:
        if self.kind == "box":
            return [min(max(entry, -self.size), self.size) for entry in z]
        if self.kind == "subspace":
            kept = [v if k < self.size else Fraction(0) for k, v in enumerate(product(transposed(self.R), z))]
            return product(self.R, kept)
        length = rational_norm(z)
        inside = self.kind == "ball" and length <= self.size
        return z if inside else [self.size / length * entry for entry in z]

    def prox(self, z: list[Fraction], c: Fraction) -> list[Fraction]:
        return [(a + c * b) / (1 + c) for a, b in zip(z, self.project(z), strict=True)]

    def gradient(self, y: list[Fraction], x: list[Fraction]) -> list[Fraction]:
        """`A^T (A y - x)`."""
        A = self.A
        return product(transposed(A), [a - b for a, b in zip(product(A, y), x, strict=True)])

    def pgd(self, y: list[Fraction], x: list[Fraction], alpha: Fraction, step: Fraction) -> list[Fraction]:
        return self.prox([a - step * b for a, b in zip(y, self.gradient(y, x), strict=True)], step * alpha)

    def decode(self, z: list[Fraction], x: list[Fraction], beta: Fraction) -> list[Fraction]:
        A = self.A
        pulled = product(transposed(A), x)
        normal = transposed([product(transposed(A), column) for column in transposed(A)])
        left = [[entry + (i == k) * beta for k, entry in enumerate(row)] for i, row in enumerate(normal)]
        return solve(left, [a + beta * b for a, b in zip(pulled, z, strict=True)])

    def hqs(self, z: list[Fraction], x: list[Fraction], alpha: Fraction, beta: Fraction) -> list[Fraction]:
        return self.prox(self.decode(z, x, beta), alpha / (beta - alpha))

    def observation(self, y: list[Fraction], alpha: Fraction) -> list[Fraction]:
        """The `x` at which `y` is stationary: `A^T (x - A y) = alpha (y - P y)`, solved for `x`; needs an invertible `A`."""
        pull = [alpha * (a - b) for a, b in zip(y, self.project(y), strict=True)]
        return [a + b for a, b in zip(product(self.A, y), solve(transposed(self.A), pull), strict=True)]


def rational_problem(t: Fraction, sigma: list[Fraction], kind: str, size: Fraction) -> RationalProblem:
    n = len(sigma)
    return RationalProblem(rotation(t, n), sigma, rotation(t / 2 + Fraction(1, 3), n), kind, size)


# Sharp: M is the line of one singular vector, so everything happens along it.

Pair = tuple[list[Fraction], list[Fraction]]


def squared_comparisons(
    p: RationalProblem, states: Pair, observations: Pair, alpha: Fraction, step: Fraction, beta: Fraction
) -> Iterator[tuple[str, Fraction, Fraction]]:
    """(R1) and (R2) of both operators with both sides squared, as distances are roots of rationals."""

    def square(a: list[Fraction], b: list[Fraction]) -> Fraction:
        gap = [u - v for u, v in zip(a, b, strict=True)]
        return inner(gap, gap)

    (y, z), (x, w) = states, observations
    s, N, one = min(p.sigma), max(p.sigma), Q(1)
    apart, delta = square(y, z), square(x, w)
    factor = proximal_gradient_contraction.sides(gap_after=0, gap_before=one, gamma=step, smallest=s, norm=N)[1]
    yield "proximal_gradient_contraction", square(p.pgd(y, x, alpha, step), p.pgd(z, x, alpha, step)), factor**2 * apart
    factor = proximal_gradient_simplicity.sides(gap=0, delta=one, gamma=step, norm=N)[1]
    yield "proximal_gradient_simplicity", square(p.pgd(y, x, alpha, step), p.pgd(y, w, alpha, step)), factor**2 * delta
    factor = half_quadratic_contraction.sides(gap_after=0, gap_before=one, beta=beta, smallest=s)[1]
    yield "half_quadratic_contraction", square(p.hqs(y, x, alpha, beta), p.hqs(z, x, alpha, beta)), factor**2 * apart
    moved = square(p.hqs(y, x, alpha, beta), p.hqs(y, w, alpha, beta))
    yield "half_quadratic_budget", 4 * beta * moved, delta


Instance = tuple[str, dict[str, Any]]
"""Name of an inequality, and quantities that attain it."""


def _along(r: list[Fraction], a: list[Fraction], b: list[Fraction]) -> Fraction:
    """`|a - b|` for vectors whose difference lies along the unit vector `r`."""
    return abs(inner([p - q for p, q in zip(a, b, strict=True)], r))


def sharp_instances(t: Fraction, small: Fraction, large: Fraction, share: Fraction) -> list[Instance]:
    """All bounds attained on `A = Q diag(sigma) R^T` with `M` the span of its first right singular vector `r`, image `sigma q`.

    States `y`, `2 y` along `r` and observations `x`, `2 x` along `q`, computed by the rational operators themselves.
    """
    found: list[Instance] = []
    step = share * 2 / large**2
    for first, other in ((small, large), (large, small)):
        p = rational_problem(t, [first, other], "subspace", Q(1))
        r, q = transposed(p.R)[0], transposed(p.Q)[0]
        zero, alpha = [Q(0), Q(0)], Q(1, 3)

        for beta in (first**2, Q(2), Q(1, 2)):
            couple = alpha if alpha < beta else beta / 2
            after = _along(r, p.hqs(r, zero, couple, beta), p.hqs(zero, zero, couple, beta))
            moved = _along(r, p.hqs(zero, q, couple, beta), p.hqs(zero, zero, couple, beta))
            if first == small:
                contracted = {"gap_after": after, "gap_before": Q(1), "beta": beta, "smallest": small}
                found.append(("half_quadratic_contraction", contracted))
            nearest = first**2 == beta or (first == small and beta < small**2) or (first == large and beta > large**2)
            if nearest:
                found.append(
                    ("half_quadratic_simplicity", {"gap": moved, "delta": Q(1), "beta": beta, "steepest": first})
                )
            if first**2 == beta:
                found.append(("half_quadratic_budget", {"gap": moved, "delta": Q(1), "beta": beta}))
        after = _along(r, p.pgd(r, zero, alpha, step), p.pgd(zero, zero, alpha, step))
        if abs(1 - step * first**2) >= abs(1 - step * other**2):
            found.append(
                (
                    "proximal_gradient_contraction",
                    {"gap_after": after, "gap_before": Q(1), "gamma": step, "smallest": small, "norm": large},
                )
            )
        if first == large:
            moved = _along(r, p.pgd(zero, q, alpha, step), p.pgd(zero, zero, alpha, step))
            found.append(("proximal_gradient_simplicity", {"gap": moved, "delta": Q(1), "gamma": step, "norm": large}))
        image = [entry / first for entry in r]  # F(q): A r / first = q, and r lies in M
        assert p.pgd(image, q, alpha, step) == image
        found.append(("data_stability", {"image_gap": abs(inner(product(p.A, image), q)), "delta": Q(1)}))
        if first == small:
            found.append(("stability", {"gap": _along(r, image, zero), "delta": Q(1), "smallest": small}))
    z, c = [Q(3), Q(-5)], share
    p = rational_problem(t, [small, large], "subspace", Q(1))
    best = p.prox(z, c)
    squares = [
        inner(d, d)
        for d in (
            [a - b for a, b in zip(u, v, strict=True)]
            for u, v in ((z, p.project(z)), (best, z), (best, p.project(best)))
        )
    ]
    names = ("distance_squared", "moved_squared", "left_squared")
    return [*found, ("proximal_step", {"c": c, **dict(zip(names, squares, strict=True))})]
