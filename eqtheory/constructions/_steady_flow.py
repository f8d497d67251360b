"""Steady flow on a torus as the fixed point of two regular operators: Oseen's step and Stokes-Picard's (T11).

Inputs are curls `g` of forces and states are vorticities, both on the grid of a `GalerkinTorus`, so that learned operators work on the
same tensors. With `A = -Laplace`, and `B(u, v)` the curl of the projected `(u.grad) v`,

    Oseen:          nu A v + B(u, v) = g,
    Stokes-Picard:  v = A^{-1} (g - B(r, r)) / nu,      r = u min(1, R / |u|).

**Oseen's system.** Divided by `nu A` it is `(I + S_u) v = A^{-1} g / nu`. In the inner product of V, which is the Euclidean one on
coordinates, `S_u` is skew, because `<(u.grad) v, v> = 0`: so `|(I + S_u)^{-1}| <= 1`, a residual bounds the error of the
solution, and GMRES converges with a factor `s / (1 + sqrt(1 + s^2))` in two products, `s = |S_u| <= c |u| / nu`.

References:
    Temam, Navier-Stokes Equations, North-Holland 1977, chapter II; Eisenstat, Elman and Schultz, Variational iterative methods for
    nonsymmetric systems of linear equations, SIAM J. Numer. Anal. 20 (1983).
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, LocalBound, Side
from eqtheory.constructions._torus import GalerkinTorus
from eqtheory.errors import DomainError, InputError, SolverError
from eqtheory.norms import Norm, TorusSobolev, same_shape
from eqtheory.operators import ImplicitOperator, OncePerInput, Regularity
from eqtheory.roundoff import Rounding, unit_roundoff
from eqtheory.solvers._gmres import gmres
from eqtheory.theorems.navier_stokes import embedding_constant, operator_budget, oseen_factor, stokes_picard_factor
from eqtheory.validate import positive

__all__ = ["OseenStep", "StokesPicard"]

_SOLVED = 64
"""Unit roundoffs, relative to the right-hand side, at which GMRES stops."""
_KNOWN = 100 * _SOLVED
"""Unit roundoffs that the residual itself may have, which the recurrence of GMRES does not see."""


def _upper(value: float, norm: Norm) -> Bound:
    return Bound(value, Side.UPPER, "T11", Evidence.PROVED, norm=norm.name)


class _SteadyFlow(ImplicitOperator):
    """What both operators share: the torus, the viscosity, the norms and the checks of the force."""

    def __init__(self, torus: GalerkinTorus, viscosity: float) -> None:
        self.torus = torus
        self.viscosity = positive("viscosity", viscosity)
        self.constant = embedding_constant(torus.aspect)
        self.state_norm = TorusSobolev(0.0, torus.aspect)
        self.force_norm = TorusSobolev(-2.0, torus.aspect)
        self._stokes = OncePerInput(self._stokes_flow)

    def _stokes_flow(self, x: Tensor) -> Tensor:
        """Coefficients of `A^{-1} g / nu`, after the checks of the force."""
        g = self.torus.forces("x", x)
        self._require_small(self.force_norm(g))
        return self.torus.analysis(g) / (self.viscosity * self._symbol())

    def _require_small(self, sizes: Tensor) -> None:
        """Refuse forces outside the class; there is none here."""

    def _roundings(self) -> float:
        """Roundings of a chain of at most eight transforms and as many products.

        A transform of `n` points errs by `log2(n)` times 8 roundings in the root mean square (Higham 2002, Theorem 24.2).

        Returns:
            Unit roundoffs, relative to the factors of the products.
        """
        return 64.0 + 64.0 * math.ceil(math.log2(self.torus.shape[0] * self.torus.shape[1]))

    def _speed(self) -> float:
        """`(sum of |k|^-2)^{1/2}` over the modes: no speed is larger than this times the norm of V (Cauchy-Schwarz)."""
        return math.sqrt(float((1 / self.torus.squared).sum()))

    def _symbol(self) -> Tensor:
        return self.torus.squared[: self.torus.dimension // 2]

    def initial_state(self, x: Tensor) -> Tensor:
        """Start from rest, after checking the force.

        Args:
            x: curls of forces, shape `(batch, x, y)`.

        Returns:
            Zeros, the shape of `x`.

        Raises:
            InputError: an unusable force.
        """
        self._stokes(x)
        return torch.zeros_like(x)


@final
class StokesPicard(_SteadyFlow):
    """`G(w, g) = A^{-1} (g - B(r, r)) / nu`, `r` the projection of the flow on the ball of radius `F0 / nu`.

    On forces with `|f| <= F0`: `mu = 2 c F0 / nu^2`, `L0 = 1 / nu`, `L1 = 0`, in averaged norms (T11). Costs four transforms.

    Args:
        torus: the truncated space.
        viscosity: `nu > 0`.
        force: `F0`, the bound on forces in the dual of V; `2 c F0 < nu^2`.

    Raises:
        InputError: a viscosity or bound that is not positive, or no contraction.

    Theorem: T11.

    Example:
        >>> torus = GalerkinTorus((16, 16))
        >>> y = 2 * torch.pi * torch.arange(16, dtype=torch.float64) / 16
        >>> g = -0.1 * torch.cos(y).expand(1, 16, 16)
        >>> G = StokesPicard(torus, viscosity=1.0, force=0.1)
        >>> bool((G(g, g) - g).abs().max() < 1e-15)  # laminar flow: the curl of its force over nu
        True
    """

    def __init__(self, torus: GalerkinTorus, viscosity: float, force: float) -> None:
        super().__init__(torus, viscosity)
        self.force = positive("force", force)
        mu = stokes_picard_factor(self.constant, force, viscosity)
        if mu >= 1:
            limit = viscosity**2 / (2 * self.constant)
            remedy = "use OseenStep, which contracts for forces twice as large, or NewtonKrylov without a certificate"
            raise InputError("force", str(force), f"2 c F0 < nu^2, that is F0 < {limit:.6g}", remedy)
        norm = self.state_norm
        budget = operator_budget(viscosity)
        # Products of two velocities of the ball err relative to their largest speeds; A^{-1} and two derivatives do not enlarge that.
        radius = force / viscosity
        rounding = Rounding(0.0, self._roundings() * ((self._speed() * radius) ** 2 / viscosity + 2 * radius))
        self.regularity = Regularity(
            _upper(mu, norm),
            _upper(budget, norm),
            _upper(0.0, norm),
            state_norm=norm,
            input_metric=self.force_norm,
            rounding=rounding,
        )

    def _require_small(self, sizes: Tensor) -> None:
        above = sizes > self.force * (1 + 64 * unit_roundoff(sizes.dtype))
        if bool(above.any()):
            at = int(above.nonzero()[0])
            remedy = "give a larger force=..., as long as 2 c F0 < nu^2"
            raise DomainError(
                "x", f"|f| = {float(sizes[at]):.6g} at sample {at}", f"|f| <= F0 = {self.force:g}", remedy
            )

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        stokes = self._stokes(x)
        same_shape("y, x", y, x)
        z = self.torus.analysis(y)
        length = torch.linalg.vector_norm(self.torus.real_of(z), dim=1)
        radius = self.force / self.viscosity
        shrink = torch.where(length > radius, radius / torch.where(length > 0, length, 1.0), 1.0)
        r = z * shrink.unsqueeze(1)
        turned = self.torus.self_advection(r) / (self.viscosity * self._symbol())
        return self.torus.synthesis(stokes - turned)


@final
class OseenStep(_SteadyFlow):
    """`G(w, g) = v` with `nu A v + B(u, v) = g`, `u` the velocity of `w`: one linear solve by GMRES.

    On all states: `mu = c |f| / nu^2` where that is below one, `L0 = 1 / nu`, `L1 = 0`, in averaged norms (T11). Costs seven
    transforms for every product, of which there are about as many as the root of the flow's Reynolds number times ten.

    Args:
        torus: the truncated space.
        viscosity: `nu > 0`.
        limit: most products of a solve.

    Raises:
        InputError: a viscosity that is not positive.
        SolverError: from a call, where a system is not solved within `limit` products.

    Theorem: T11.

    Example:
        >>> torus = GalerkinTorus((16, 16))
        >>> y = 2 * torch.pi * torch.arange(16, dtype=torch.float64) / 16
        >>> g = -0.1 * torch.cos(y).expand(1, 16, 16)
        >>> G = OseenStep(torus, viscosity=1.0)
        >>> bool((G(g, g) - g).abs().max() < 1e-15)
        True
    """

    def __init__(self, torus: GalerkinTorus, viscosity: float, *, limit: int = 300) -> None:
        super().__init__(torus, viscosity)
        self.limit = limit
        norm = self.state_norm
        mu = LocalBound(self._factor, Side.UPPER, "T11", Evidence.PROVED, norm.name)
        self.regularity = Regularity(
            mu,
            _upper(operator_budget(viscosity), norm),
            _upper(0.0, norm),
            state_norm=norm,
            input_metric=self.force_norm,
            rounding=Rounding(self._relative_rounding, self._constant_rounding),
        )

    def _relative_rounding(self, x: Tensor) -> Tensor:
        """Advection of the solution, at most `|f| / nu`, by a velocity of unit norm; an error of the system is one of its solution."""
        turned: Tensor = self._roundings() * self._speed() ** 2 * self.force_norm(x) / self.viscosity**2
        return turned

    def _constant_rounding(self, x: Tensor) -> Tensor:
        """The residual that is left, and the transforms of the force and of the solution."""
        left: Tensor = (_KNOWN + 2 * self._roundings()) * self.force_norm(x) / self.viscosity
        return left

    def _factor(self, x: Tensor) -> Tensor:
        factor: Tensor = oseen_factor(self.constant, self.force_norm(x), self.viscosity)
        return factor

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        stokes = self._stokes(x)
        same_shape("y, x", y, x)
        u = self.torus.synthesis(self.torus.velocity(self.torus.analysis(y)))
        return self.torus.synthesis(self._solve(u, stokes))

    def pushforward(self, y: Tensor, x: Tensor, v: Tensor) -> Tensor:
        """Apply the derivative in the state: `nu A h + B(u, h) = -B(v, G)`.

        Args:
            y: vorticities, shape `(batch, x, y)`.
            x: curls of forces.
            v: directions.

        Returns:
            The products, the shape of `y`.
        """
        torus = self.torus
        u, du = (torus.synthesis(torus.velocity(torus.analysis(t))) for t in (y, v))
        flow = torus.synthesis(torus.velocity(self._solve(u, self._stokes(x))))
        right = -torus.advection(du, flow) / (self.viscosity * self._symbol())
        return torus.synthesis(self._solve(u, right))

    def _solve(self, u: Tensor, right: Tensor) -> Tensor:
        """Solve `(I + S_u) v = right` for coefficients, to a residual of `_SOLVED` unit roundoffs."""
        torus = self.torus
        scale = self.viscosity * self._symbol()

        def product(c: Tensor, needed: Tensor) -> Tensor:  # noqa: ARG001  (all rows cost one batch of transforms)
            z = torus.complex_of(c)
            v = torus.synthesis(torus.velocity(z))
            return c + torus.real_of(torus.advection(u, v) / scale)

        b = torus.real_of(right)
        unit = unit_roundoff(b.dtype)
        wanted = torch.ones(len(b), dtype=torch.bool, device=b.device)
        goal = torch.full((len(b),), _SOLVED * unit, dtype=torch.float64, device=b.device)
        found = gmres(product, b, goal, wanted, limit=self.limit, unit=unit)
        left = torch.linalg.vector_norm(b - product(found.value, wanted), dim=1)
        size = torch.linalg.vector_norm(b, dim=1)
        open_ = ~(left <= _KNOWN * unit * size)
        if bool(open_.any()):
            message = (
                f"{int(open_.sum())} of {len(b)} Oseen systems are not solved in {self.limit} products, relative residual up to "
                f"{float((left / size)[open_].max()):.2g}; raise limit, or refine the grid where the flow is not resolved"
            )
            raise SolverError(message, found)
        return torus.complex_of(found.value)
