"""Random problems of image restoration for the check of T10, with what rounding can do to them.

**Rounding.** With a dense `A` of `n` columns an application errs by at most `gamma_n |A|_F |y| <= sqrt(n) gamma_n N |y|`, a Fourier
transform by no more than the sums it stands for. One proximal gradient step has two applications, one projection and a few
operations on quantities of size `|y| + gamma N |x|` (`gamma N^2 < 2`): `unit` times that, with `unit = gamma_{16 n^1.5 + 64}`. The
decoder of the splitting divides by computed `sigma^2 + beta`, each of which is off by `unit N^2` at most: relatively
`unit (N^2 + beta) / (s^2 + beta)`, on a result of size `|x| / (2 sqrt(beta)) + |z|`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from eqtheory.constructions import Ball, Box, CircularBlur, ConstraintSet, DenseMap, LinearMap, Subspace
from eqtheory.norms import Euclidean
from eqtheory.roundoff import gamma
from eqtheory.testing.zoo import Restoration, RestorationClaim

__all__ = [
    "FORWARD",
    "SETS",
    "Sides",
    "describe",
    "draw_restoration",
    "draw_states",
    "entries_of",
    "operator_comparisons",
    "proximal_comparisons",
    "settled",
    "settled_problem",
    "skewed",
    "unit_of",
]

BATCH = 256
FORWARD = ("square", "tall", "nearly singular", "blur")
SETS = ("subspace", "ball", "box", "everything")
Sides = tuple[str, dict[str, Any], Tensor]
"""Name of an inequality, its quantities, and the slack granted to rounding."""

_norm = Euclidean()


# Random problems.


def forward_map(kind: str, n: int, g: torch.Generator) -> LinearMap:
    """A map with singular values spread over `[s, N]`, `s / N` from 1 to 1e-4 where nearly singular, else at least 0.2."""
    if kind == "blur":
        kernel = torch.rand(3, 2, generator=g, dtype=torch.float64)
        kernel[1, 1] += 2 + 5 * torch.rand((), generator=g, dtype=torch.float64)
        return CircularBlur(kernel, (5, 4), normalize=True)
    m = n + 2 if kind == "tall" else n
    left, right = (torch.linalg.qr(torch.randn(k, k, generator=g, dtype=torch.float64)).Q for k in (m, n))
    spread = 4.0 if kind == "nearly singular" else 0.7
    values = 10.0 ** (-spread * torch.rand(n, generator=g, dtype=torch.float64))
    scale = 10.0 ** (2 * torch.rand((), generator=g, dtype=torch.float64) - 1)
    return DenseMap(scale * (left[:, :n] * values) @ right)


def constraint_set(kind: str, n: int, g: torch.Generator) -> ConstraintSet:
    """A convex set in `n` entries; `everything` is the whole space as a subspace."""
    if kind in ("subspace", "everything"):
        k = n if kind == "everything" else max(1, n // 2)
        return Subspace(torch.randn(n, k, generator=g, dtype=torch.float64))
    size = 10.0 ** float(2 * torch.rand((), generator=g, dtype=torch.float64) - 1)
    return Ball(size) if kind == "ball" else Box(-size, size / 2)


def entries_of(A: LinearMap) -> tuple[int, ...]:
    """Shape of one state."""
    return (1, *A.size) if isinstance(A, CircularBlur) else (A.matrix.shape[1],) if isinstance(A, DenseMap) else ()


def draw_restoration(forward: str, constraint: str, n: int, g: torch.Generator) -> Restoration:
    """A problem with `gamma` anywhere below `2 / N^2` and `beta` from just above `alpha` to a hundred times it."""
    A = forward_map(forward, n, g)
    shape = entries_of(A)
    size = float(A.norm.value)
    a, b, c = torch.rand(3, generator=g, dtype=torch.float64).tolist()
    alpha = size**2 * 10.0 ** (3 * a - 2)
    M = constraint_set(constraint, int(torch.tensor(shape).prod()), g)
    return Restoration(A, M, alpha, (0.05 + 1.9 * b) / size**2, alpha * (1.01 + 10.0 ** (3 * c - 1)))


def draw_states(p: Restoration, g: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two states and two observations each, half of the pairs close, sizes from 1e-2 to 1e3."""
    shape = entries_of(p.linear_map)
    size = 10.0 ** (5 * torch.rand(BATCH, generator=g, dtype=torch.float64) - 2)

    def pair(of: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        spread = size.reshape(-1, *[1] * len(of))
        a, b = (spread * torch.randn(BATCH, *of, generator=g, dtype=torch.float64) for _ in range(2))
        close = (torch.arange(BATCH) % 2 == 0).reshape(spread.shape)
        return a, torch.where(close, a + 1e-4 * b, b)

    y, z = pair(shape)
    x, w = pair(tuple(p.linear_map(y[:1]).shape[1:]))
    return y, z, x, w


def unit_of(p: Restoration) -> float:
    n = int(torch.tensor(entries_of(p.linear_map)).prod())
    return gamma(16 * int(n**1.5) + 64, torch.float64)


def rounding_of(p: Restoration, family: str, y: Tensor, x: Tensor) -> Tensor:
    """What one evaluation may err by."""
    s, N = float(p.linear_map.smallest.value), float(p.linear_map.norm.value)
    if family == "proximal gradient":
        return unit_of(p) * (_norm(y) + p.gamma * N * _norm(x))
    worse = (N * N + p.beta) / (s * s + p.beta)
    return unit_of(p) * worse * (_norm(y) + _norm(x) / sqrt(p.beta))


def operator_comparisons(
    p: Restoration, claim: RestorationClaim, y: Tensor, z: Tensor, x: Tensor, w: Tensor
) -> Iterator[Sides]:
    """(R1) and (R2) of one operator at given states and observations."""
    G, _ = claim.build(p)
    s, N = float(p.linear_map.smallest.value), float(p.linear_map.norm.value)
    contracted = {"gap_after": _norm(G(y, x) - G(z, x)), "gap_before": _norm(y - z)}
    moved = {"gap": _norm(G(y, x) - G(y, w)), "delta": _norm(x - w)}
    r1 = rounding_of(p, claim.family, y, x) + rounding_of(p, claim.family, z, x)
    r2 = rounding_of(p, claim.family, y, x) + rounding_of(p, claim.family, y, w)
    if claim.family == "proximal gradient":
        yield "proximal_gradient_contraction", {**contracted, "gamma": p.gamma, "smallest": s, "norm": N}, r1
        yield "proximal_gradient_simplicity", {**moved, "gamma": p.gamma, "norm": N}, r2
        return
    yield "half_quadratic_contraction", {**contracted, "beta": p.beta, "smallest": s}, r1
    steepest = min(max(sqrt(p.beta), s), N)
    yield "half_quadratic_simplicity", {**moved, "beta": p.beta, "steepest": steepest}, r2
    # Squared: (gap + r)^2 - gap^2 <= 2 gap r + r^2, and gap <= delta / (2 sqrt(beta)) + r.
    yield "half_quadratic_budget", {**moved, "beta": p.beta}, 4 * p.beta * (2 * moved["gap"] * r2 + r2**2)


def proximal_comparisons(M: ConstraintSet, y: Tensor, z: Tensor, c: float) -> Iterator[tuple[dict[str, Any], Tensor]]:
    """The proximal step against any other point, and against itself."""
    unit = gamma(16 * z[0].numel() + 64, torch.float64)
    distance = _norm(z - M.project(z)) ** 2
    for other in (y, M.prox(z, c)):
        sides = {
            "c": c,
            "distance_squared": distance,
            "moved_squared": _norm(other - z) ** 2,
            "left_squared": _norm(other - M.project(other)) ** 2,
        }
        # Distances are rounded absolutely, by unit times the points: squares of theirs once more.
        yield sides, unit * (1 + c) * (_norm(z) + _norm(other) + _norm(M.project(z)) + 1e-300) ** 2


def settled(p: Restoration, claim: RestorationClaim, x: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """The image after at most so many steps, its stationarity residual, and what the last step and rounding explain of it.

    Proximal gradient: with `v = y - gamma g(y)` and `y' = prox(v)`, `v - y' = gamma alpha q(y')`, so `g(y') + alpha q(y') =
    (y - y') / gamma + g(y') - g(y)`, at most `(1 / gamma + N^2) |y - y'|`. Splitting: `g(y) = beta (z - y)` and
    `alpha q(y) = beta (y - z')`, so the residual is `beta |z - z'|`. Both are multiples of the last step.
    """
    G, decode = claim.build(p)
    A, M, N = p.linear_map, p.constraint, float(p.linear_map.norm.value)
    state = torch.zeros_like(A.adjoint(x))
    for k in range(steps):
        before, state = state, G(state, x)
        if k % 25 == 24 and bool((_norm(state - before) <= rounding_of(p, claim.family, state, x)).all()):
            break
    step = _norm(state - before)
    split = claim.family == "half-quadratic splitting"
    image = decode(before if split else state, x)
    residual = _norm(A.adjoint(A(image) - x) + p.alpha * (image - M.project(image)))
    explained = (p.beta if split else 1 / p.gamma + N * N) * (step + 2 * rounding_of(p, claim.family, state, x))
    magnitude = N * N * _norm(image) + N * _norm(x) + p.alpha * (_norm(image) + _norm(M.project(image)))
    return image, residual, explained + unit_of(p) * magnitude


def describe(p: Restoration, kind: str) -> str:
    A = p.linear_map
    shown = A.kernel.tolist() if isinstance(A, CircularBlur) else A.matrix.tolist() if isinstance(A, DenseMap) else A
    return f"{kind}: A = {shown}, alpha = {p.alpha}, gamma = {p.gamma}, beta = {p.beta}"


def settled_problem(forward: str, kind: str, n: int, g: torch.Generator) -> Restoration:
    """Parameters with factors below 0.97, so that a thousand steps settle everything."""
    p = draw_restoration(forward, kind, n, g)
    size = float(p.linear_map.norm.value)
    a, b = torch.rand(2, generator=g, dtype=torch.float64).tolist()
    alpha = size**2 * 10.0 ** (1.5 * a - 2)
    return replace(p, alpha=alpha, gamma=1 / size**2, beta=alpha * (1.05 + 2 * b))


def skewed(kind: str) -> Restoration:
    """A blur whose kernel is not symmetric, so that its adjoint is another map."""
    kernel = torch.tensor([[0.0, 0.25, 0.0], [0.0, 0.6, 0.1], [0.05, 0.0, 0.0]], dtype=torch.float64)
    A = CircularBlur(kernel, (4, 5))
    constraint = Subspace(torch.eye(20, dtype=torch.float64)[:, :7]) if kind == "subspace" else Box(-0.5, 0.5)
    return Restoration(A, constraint, alpha=0.4, gamma=0.8, beta=0.6)
