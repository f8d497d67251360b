"""Pairs of a Jacobian and a parameter Jacobian, many at a time, and the two directions they give; for the check of T9a."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from eqtheory.constructions import least_cosine, least_descent
from eqtheory.norms import Euclidean
from eqtheory.roundoff import gamma as rounding
from eqtheory.testing.zoo.adjoints import AdjointClaim, Inputs
from eqtheory.theorems.jacobian_free import alignment, below_threshold, deviation, half_tangent
from proofs_check.adjoints import under_attack
from proofs_check.instances import SHAPES, generator, unit_norm
from proofs_check.layers import X, layer

__all__ = ["LINEAR", "WORST", "Measured", "Models", "compared", "draw", "measured", "pairs", "worst_models"]

NORM = Euclidean()
LINEAR = tuple(shape for shape in SHAPES if shape != "tanh")
"""Shapes of Jacobians."""

WORST = {"least descent": least_descent, "least cosine": least_cosine}
"""The Jacobians at which the direction does worst."""

Compared = tuple[str, tuple[Tensor, Tensor], Tensor]
"""Inequality, its two sides, and the slack."""


@dataclass(frozen=True)
class Models:
    """Operators `G(y, theta) = J y + M theta` with fixed point zero at `theta = 0`.

    Args:
        J: derivatives in the state, spectral norm at most `gamma`, shape `(batch, n, n)`.
        M: derivatives in the parameters, shape `(batch, n, p)`.
        v: loss gradients, shape `(batch, n)`.
        gamma: one bound for all.
        condition: `cond(M M^T)`, shape `(batch,)`.
        labels: one shape per Jacobian.
    """

    J: Tensor
    M: Tensor
    v: Tensor
    gamma: float
    condition: Tensor
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return self.v.shape[0]

    @property
    def inputs(self) -> Inputs:
        """What `layer` takes."""
        zero, theta = torch.zeros_like(self.v), torch.zeros_like(self.M[:, 0])
        return theta, zero, self.J, 0 * self.M, self.M, zero, zero[:, 0]

    @property
    def rounding(self) -> float:
        """Relative rounding of `v = (I - J^T) w` solved for `w`, of products with `M`, and of the stored singular values.

        LU with partial pivoting differs by `n^2 gamma_3n 2^(n-1)` (Higham 2002, Theorem 9.5) and a factor of `n` for the change
        of norms; `M` and `J` are products of two orthogonal factors, each orthogonal to `8 n p` roundings.
        """
        n, p = self.M.shape[1:]
        return rounding(3 * n**4 * 2 ** (n - 1) + 8 * n * p * (n + p), torch.float64)

    def describe(self, index: int) -> str:
        """Describe one model in a line, as a witness."""
        i = index % len(self)
        parts = {"J": self.J, "M": self.M, "v": self.v}
        shown = ", ".join(f"{name} = {tensor[i].tolist()}" for name, tensor in parts.items())
        return f"{self.labels[i]}, gamma = {self.gamma}, {shown}"


def draw(seed: int, n: int, extra: int, gamma: float, decades: float, scale: float, batch: int) -> Models:
    """Half of the Jacobians of all shapes, half the two at which the direction does worst.

    Args:
        seed: of the generator.
        n: length of the state; the parameters have `extra` more.
        extra: parameters beyond `n`.
        gamma: norm of the Jacobians.
        decades: condition numbers are `10^u` with `u` uniform up to it; 1 where `n = 1`.
        scale: of `M` and `v`.
        batch: number of models.
    """
    g, p = generator(seed), n + extra
    left, right = (torch.linalg.qr(torch.randn(batch, k, k, generator=g, dtype=torch.float64)).Q for k in (n, p))
    spread = torch.rand(batch, n, generator=g, dtype=torch.float64)
    spread[:, 0], spread[:, -1] = 1.0, 0.0
    spread[:, 0] = 1.0 if n > 1 else 0.0
    condition = 10.0 ** (decades * torch.rand(batch, generator=g, dtype=torch.float64))
    condition = condition if n > 1 else torch.ones_like(condition)
    # Singular values from 1 to the root of the condition number.
    M = scale * (left * (condition.unsqueeze(1) ** (spread / 2)).unsqueeze(1)) @ right[:, :n]
    each = batch // (2 * len(LINEAR))
    unit = torch.cat([unit_norm(shape, n, each, g) for shape in LINEAR])
    worst, size = tuple(WORST), (batch - len(unit)) // 2
    cases = [WORST[name](M[len(unit) + k * size :][: size if k == 0 else None], gamma) for k, name in enumerate(worst)]
    v = scale * torch.randn(len(unit), n, generator=g, dtype=torch.float64)
    labels = tuple(shape for shape in LINEAR for _ in range(each))
    labels += tuple(name for name, case in zip(worst, cases, strict=True) for _ in range(len(case.cotangent)))
    return Models(
        torch.cat([gamma * unit, *(case.jacobian for case in cases)]),
        M,
        torch.cat([v, *(scale * case.cotangent for case in cases)]),
        gamma,
        condition,
        labels,
    )


@dataclass(frozen=True)
class Measured:
    """`1 - <g,d>/|g|^2` and one minus the cosine, shape `(batch,)` each, and how far rounding can have moved them."""

    shortfall: Tensor
    moved: Tensor
    gap: Tensor
    turned: Tensor


def measured(models: Models, free: AdjointClaim, exact: AdjointClaim) -> Measured:
    """Compare a Jacobian-free direction with an exact gradient.

    An error of `w` becomes one of `g` that is larger by `sqrt(kappa)`, relatively, as `|g| >= s_min |w|`; `|d|/|g|` is at most
    `(1 + gamma) sqrt(kappa)`, so that the quotient errs by `kappa` times the rounding of the solve over `1 - gamma`, at most four
    such errors and a second order. A residual of the adjoint enters like the rounding of the solve.
    The gap is half the square of a difference of unit vectors, each turned by its relative error.
    """
    state = torch.zeros_like(models.v)
    d, g = (claim.gradient(1, 1.0)(layer, models.inputs, state, models.v, X) for claim in (free, exact))
    d, g = d / NORM(g).unsqueeze(1), g / NORM(g).unsqueeze(1)
    gap = (g - d / NORM(d).unsqueeze(1)).square().sum(dim=1) / 2
    unit = 8 * (models.rounding + exact.tolerance) / (1 - models.gamma)
    turned = unit * models.condition.sqrt()
    return Measured(1 - (g * d).sum(dim=1), unit * models.condition, gap, (2 * gap).sqrt() * turned + turned**2)


def compared(models: Models, free: AdjointClaim, exact: AdjointClaim) -> Iterator[Compared]:
    """The three statements about a Jacobian-free direction and an exact gradient, with slack."""
    found, unit = measured(models, free, exact), models.rounding
    # The stored M has a condition number, and the stored J a norm, that rounding may have raised.
    known: dict[str, Any] = {
        "kappa": models.condition * (1 + 8 * unit * models.condition.sqrt()),
        "gamma": models.gamma * (1 + unit),
    }
    squared = 4 * known["kappa"] * (2 * found.shortfall.abs() + found.moved) * found.moved
    yield "deviation", deviation.sides(shortfall=found.shortfall, **known), squared
    sides = alignment.sides(gap=found.gap, kappa=known["kappa"], half_tangent=half_tangent(known["gamma"]))
    # t is computed through 1 - gamma^2.
    yield "alignment", sides, found.turned + 4 * unit / (1 - models.gamma) * sides[1]
    condition, limit = below_threshold.sides(**known)
    # Below the threshold <g,d> > 0, that is, the shortfall is less than one; above it nothing is claimed.
    guarded = torch.where(condition < limit, found.shortfall, 0.0)
    yield "below_threshold", (guarded, torch.ones_like(guarded)), found.moved


def worst_models(gamma: float, values: list[float]) -> Models:
    """The instance of least descent for 64 matrices `M = U diag(values) V^T`."""
    n = len(values)
    frame = draw(11, n, 1, 0.5, 0.0, 1.0, batch=64).M  # condition 1: the rows are orthonormal
    M = torch.tensor(values, dtype=torch.float64).reshape(1, n, 1) * frame
    case = least_descent(M, gamma)
    condition = torch.full((64,), (max(values) / min(values)) ** 2, dtype=torch.float64)
    return Models(case.jacobian, M, case.cotangent, gamma, condition, ("least descent",) * 64)


def pairs() -> Iterator[tuple[AdjointClaim, AdjointClaim]]:
    """Every Jacobian-free gradient with every exact one."""
    return ((free, exact) for free in under_attack("deviation") for exact in under_attack("residual_bound"))
