r"""Newton-Krylov on the whole truncation, preconditioned by a dense block and the Stokes operator.

Let `M` be the derivative on the modes of a small truncation at a given flow, and `nu A` on the others. The flows are the fixed points of

    G(w) = w - M^{-1} F(w),        I - dG/dw = M^{-1} F'(w),

an operator of the library's kind, so that its `NewtonKrylov` is the solver. High modes are governed by viscosity: `M^{-1} F'`
differs from the identity only by what advection does between large and small wave numbers, and a handful of products is enough. The same
`M` preconditions the linearised equation and its transpose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from eqtheory.constructions import GalerkinTorus
from eqtheory.operators import ImplicitOperator
from eqtheory.roundoff import unit_roundoff
from eqtheory.solvers import NewtonKrylov, OnFailure, Solution, Stop, fixed_point
from eqtheory.solvers._gmres import gmres
from experiments.navier_stokes.solver._linearized import Linearization, cut, dense_jacobian, prolong, residual

__all__ = ["Preconditioner", "SolveHistory", "refine", "solve_linear"]

_ONE_PASS = 1e-8


@dataclass(frozen=True)
class Preconditioner:
    """A dense block on the modes of a coarse space, viscosity on the others.

    Args:
        fine: the whole space.
        coarse: the space of the block.
        factors: LU factors, shape `(batch, n, n)`.
        pivots: their pivots.
        viscosity: shape `(batch,)`.
    """

    fine: GalerkinTorus
    coarse: GalerkinTorus
    factors: Tensor
    pivots: Tensor
    viscosity: Tensor

    @staticmethod
    def at(fine: GalerkinTorus, coarse: GalerkinTorus, c: Tensor, viscosity: Tensor) -> Preconditioner:
        """Factorise the block at flows.

        Args:
            fine: the space of the flows.
            coarse: the space of the block.
            c: coordinates of vorticities, shape `(batch, n)`.
            viscosity: shape `(batch,)`.

        Returns:
            The preconditioner.
        """
        factors, pivots, _ = torch.linalg.lu_factor_ex(dense_jacobian(fine, c, viscosity, coarse))
        return Preconditioner(fine, coarse, factors, pivots, viscosity)

    def inverse(self, f: Tensor, *, transposed: bool = False) -> Tensor:
        """Apply the inverse, or its transpose.

        Args:
            f: shape `(batch, n)`.
            transposed: which of the two.

        Returns:
            Shape `(batch, n)`.
        """
        low = cut(self.fine, self.coarse, f)
        solved = torch.linalg.lu_solve(self.factors, self.pivots, low.unsqueeze(2), adjoint=transposed).squeeze(2)
        out = f / (self.viscosity.unsqueeze(1) * self.fine.squared)
        return out + prolong(self.coarse, self.fine, solved - cut(self.fine, self.coarse, out))

    def rows(self, at: Tensor) -> Preconditioner:
        """The preconditioner of some samples.

        Args:
            at: their indices.

        Returns:
            Those rows.
        """
        return Preconditioner(self.fine, self.coarse, self.factors[at], self.pivots[at], self.viscosity[at])


@final
class _Correction(ImplicitOperator):
    """`G(w) = w - M^{-1} F(w)`; inputs are `(g, nu, factors, pivots)`."""

    def __init__(self, fine: GalerkinTorus, coarse: GalerkinTorus) -> None:
        self.fine, self.coarse = fine, coarse

    def __call__(self, y: Tensor, x: Any) -> Tensor:
        g, viscosity, factors, pivots = x
        return y - self._inverse(factors, pivots, viscosity)(residual(self.fine, y, g, viscosity))

    def _inverse(self, factors: Tensor, pivots: Tensor, viscosity: Tensor) -> Callable[[Tensor], Tensor]:
        return Preconditioner(self.fine, self.coarse, factors, pivots, viscosity).inverse

    def initial_state(self, x: Any) -> Tensor:
        """Start from the preconditioned force."""
        g, viscosity, factors, pivots = x
        return self._inverse(factors, pivots, viscosity)(g)

    def pushforward(self, y: Tensor, x: Any, v: Tensor) -> Tensor:
        """`v - M^{-1} F'(y) v`."""
        _, viscosity, factors, pivots = x
        product = Linearization.at(self.fine, y, viscosity).apply(v)
        return v - self._inverse(factors, pivots, viscosity)(product)


@dataclass(frozen=True)
class SolveHistory:
    """How a refinement went.

    Args:
        c: coordinates, shape `(batch, n)`.
        residual: relative residual of the equation at the end, shape `(batch,)`.
        history: what the solver saw at every step, the preconditioned residual relative to the first flow, shape
            `(steps, batch)`; NaN where a sample had ended.
    """

    c: Tensor
    residual: Tensor
    history: Tensor


def refine(
    fine: GalerkinTorus,
    coarse: GalerkinTorus,
    c: Tensor,
    g: Tensor,
    viscosity: Tensor,
    *,
    tolerance: float,
    max_steps: int = 12,
) -> SolveHistory:
    """Solve the whole truncation from a start that is good in the coarse modes.

    Args:
        fine: the whole space.
        coarse: the space of the dense block.
        c: coordinates of the start in the fine space, shape `(batch, n)`.
        g: coordinates of curls of forces.
        viscosity: shape `(batch,)`.
        tolerance: preconditioned residual relative to the flow at which a sample is done.
        max_steps: most Newton steps and shorter steps together.

    Returns:
        Flows and how it went; whether a residual is small enough is for the caller to judge.
    """
    M = Preconditioner.at(fine, coarse, c, viscosity)
    solution: Solution = fixed_point(
        _Correction(fine, coarse),
        (g, viscosity, M.factors, M.pivots),
        c,
        solver=NewtonKrylov(inner=40, goal=1e-10),
        stop=Stop(rtol=tolerance, atol=0.0, max_steps=max_steps),
        on_failure=OnFailure.RETURN,
        trace=True,
    )
    size = torch.linalg.vector_norm(g, dim=1)
    left = torch.linalg.vector_norm(residual(fine, solution.value, g, viscosity), dim=1) / size
    trace = solution.trace
    history = left.unsqueeze(0) if trace is None else trace.residuals / torch.linalg.vector_norm(c, dim=1)
    taken = torch.arange(len(history)).unsqueeze(1) <= solution.steps
    history = torch.where(taken, history, torch.nan)
    return SolveHistory(solution.value, left, history)


def solve_linear(
    at: Linearization, M: Preconditioner, b: Tensor, *, transposed: bool = False, tolerance: float = 1e-13
) -> tuple[Tensor, Tensor]:
    """Solve `F'(w) h = b`, or the transposed equation, by preconditioned GMRES.

    Below 1e-8 a second solve, for the residual of the first, removes what the recurrence of the first no longer sees.

    Args:
        at: the linearisation.
        M: a preconditioner of the same flows.
        b: right-hand sides, shape `(batch, n)`.
        transposed: which of the two equations.
        tolerance: relative residual of the preconditioned system.

    Returns:
        Solutions, and the relative residuals of the equation itself, shape `(batch,)`.
    """
    operator = at.transposed if transposed else at.apply

    def product(v: Tensor, needed: Tensor) -> Tensor:  # noqa: ARG001  (all rows cost one batch of transforms)
        return M.inverse(operator(v), transposed=transposed)

    wanted = torch.ones(len(b), dtype=torch.bool)
    goals = (tolerance,) if tolerance > _ONE_PASS else (tolerance**0.5, tolerance**0.5)
    h, left = torch.zeros_like(b), b
    for share in goals:
        goal = torch.full((len(b),), share, dtype=torch.float64)
        right = M.inverse(left, transposed=transposed)
        h = h + gmres(product, right, goal, wanted, limit=80, unit=unit_roundoff(b.dtype)).value
        left = b - operator(h)
    return h, torch.linalg.vector_norm(left, dim=1) / torch.linalg.vector_norm(b, dim=1)
