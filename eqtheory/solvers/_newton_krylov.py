r"""Newton's method for `G(y) - y = 0` with inexact directions from Krylov spaces.

With `f = G(y) - y` and `J = dG/dy`, a step solves

    (I - J) d = f        to        |f - (I - J) d| <= eta |f|

by GMRES, which sees `J` only through products `J v`, and proposes `y + d`. The value of `G` there arrives with the next step.

**How exactly.** `eta` follows Eisenstat and Walker: with `rho = |f| / |f_old|` it is `0.9 rho^2` (choice 2), but not above 1/2,
and where the last one was large not below `0.9 eta_old^2` (their safeguard), so the directions become exact only as fast as
Newton's convergence can use. If the last full step left the residual its linear model announced, up to a share `delta` of
`|f_old|` (choice 1), the operator is as good as linear and `eta` is `delta` where that is smaller: a linear problem ends with its
second step. No direction aims below half the goal, `goal` times the first residual, since what lies beyond is most often not
wanted; once it is reached the goal moves on by two decades.

**Line search.** `y + t d` is accepted if `|f(y + t d)| <= (1 - 1e-4 t) |f(y)|`. If not, `t` moves to the minimum of the parabola
through what is known of `|f|^2`, kept between a tenth and a half of the old `t`; below `t = 2^-10` the search is given up and
the next state is `G(y)`. So it is where GMRES finds no direction that the linear model improves by a permille (a singular
`I - J`) or a product is not finite.

**Contractions converge.** From a state `y` the search ends after at most eleven lengths. Either a state is accepted, with a
residual of at most `1 - 1e-4 2^-10` times that of `y`, or the next state is `G(y)`, with at most `mu` times that residual where
`G` contracts in the Euclidean norm. So the residuals tend to zero at a linear rate whatever the directions are.
Operators that contract in other norms, or not at all, are followed by Picard steps where Newton's fail.

**Equivariance.** GMRES is handed unit vectors and quotients of residuals, so a change of scale by a power of two changes no bit,
and differences of states do not see a shift of the origin.

References:
    Eisenstat and Walker, Choosing the forcing terms in an inexact Newton method, SIAM J. Sci. Comput. 17 (1996), (2.2), (2.6) and
    section 2.1; Kelley, Solving Nonlinear Equations with Newton's Method, SIAM 2003, sections 1.6 and 3.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self, final

import torch
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.roundoff import unit_roundoff
from eqtheory.solvers._gmres import gmres
from eqtheory.solvers._measure import rows, working
from eqtheory.solvers._solver import Pushforward, Solver
from eqtheory.validate import open_unit

__all__ = ["NewtonKrylov", "NewtonKrylovState"]

_LARGEST = 0.5
"""Cap on the forcing term."""
_DECREASE = 1e-4
"""Share of the step by which a residual has to fall."""
_SHORTEST = 2.0**-10
"""Step below which the line search gives up."""
_USELESS = 1 - 1e-3
"""Linear residual above which a direction is not followed."""
_FURTHER = 1e-2
"""The next goal, relative to the residual that reached the last one."""


@dataclass(frozen=True)
class NewtonKrylovState:
    """What Newton's method remembers; the batch is the first axis of every tensor, and zeros are no memory.

    Args:
        base: the last accepted states, shape `(batch, n)`.
        image: `G` there.
        direction: Newton's directions there.
        length: the step `t` that is on trial, float64, shape `(batch,)`; zero where none is.
        size: residuals at `base`, float64.
        forcing: the forcing terms of the directions.
        linear: the relative residuals they left in the linear model.
        goal: residuals below which no direction aims; zero before the first.
    """

    base: Tensor
    image: Tensor
    direction: Tensor
    length: Tensor
    size: Tensor
    forcing: Tensor
    linear: Tensor
    goal: Tensor


@final
@dataclass(frozen=True)
class NewtonKrylov(Solver[NewtonKrylovState]):
    """Newton's method with directions from GMRES: for operators that are expensive, nearly singular or no contractions.

    A step costs one evaluation and one product with the Jacobian for every dimension of the Krylov space, each about as
    expensive as two evaluations and counted as one; `inner + 1` states of storage. Needs an operator that `torch.func.jvp`
    can differentiate. Converges quadratically near a fixed point at which `I - J` is invertible, whether or not `G` contracts.
    Half precision is worked in float32. The residual is measured where a step leads, so an operator that is not finite
    there ends the sample's solve.

    Args:
        inner: most products a step may take, at least 1; never more than the state's dimension are taken.
        forcing: relative residual of the first direction, `0 < forcing <= 0.5`.
        goal: share of the first residual that the caller wants, `0 < goal < 1`; a choice about as large as the tolerance of
            the stop test saves products, and any other costs some, but no accuracy.

    Raises:
        InputError: an argument out of range; or, from `step`, no products to work with.

    Example:
        >>> from eqtheory.solvers import fixed_point
        >>> x, y0 = torch.ones(1).double(), torch.zeros(1).double()
        >>> fixed_point(lambda y, x: x - 3 * y - y**3, x, y0, solver=NewtonKrylov()).steps
        tensor([3])
    """

    inner: int = 50
    forcing: float = 0.1
    goal: float = 1e-6
    _pushforward: Pushforward | None = field(default=None, kw_only=True, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (isinstance(self.inner, int) and self.inner >= 1):
            raise InputError("inner", str(self.inner), "an integer >= 1", "pass inner=50")
        if not 0 < self.forcing <= _LARGEST:
            raise InputError("forcing", str(self.forcing), f"0 < forcing <= {_LARGEST}", "pass forcing=0.1")
        open_unit("goal", self.goal)

    def attached(self, pushforward: Pushforward) -> Self:
        """Return this solver with products of the Jacobian; equal to the one without.

        Args:
            pushforward: the products.

        Returns:
            The copy whose `step` can be called.
        """
        return replace(self, _pushforward=pushforward)

    def init(self, y: Tensor) -> NewtonKrylovState:
        """Return an empty memory.

        Args:
            y: starting states, shape `(batch, ...)`.

        Returns:
            The state before the first step.
        """
        none = torch.zeros_like(rows(y), dtype=working(y.dtype))
        zero = torch.zeros(len(none), dtype=torch.float64, device=y.device)
        return NewtonKrylovState(none, none, none, zero, zero, zero, zero, zero)

    def step(self, state: NewtonKrylovState, y: Tensor, g: Tensor, active: Tensor) -> tuple[Tensor, NewtonKrylovState]:
        """Propose full Newton steps where the last ones are accepted, and shorter ones where they are not.

        Args:
            state: what `init` or the previous step returned.
            y: current states, shape `(batch, ...)`.
            g: `G(y, x)`.
            active: which samples are still iterated.

        Returns:
            The next states and the next memory.

        Raises:
            InputError: the solver has no products to work with.
        """
        here, image = rows(y.to(state.base.dtype)), rows(g.to(state.base.dtype))
        f = image - here
        size = torch.linalg.vector_norm(f, dim=1).double()
        accepted = (state.length == 0) | (size <= (1 - _DECREASE * state.length) * state.size)
        first = (state.goal == 0) | (size <= state.goal)
        goal = torch.where(first, torch.where(state.goal == 0, self.goal, _FURTHER) * size, state.goal)
        forcing = self._forcing(state, size, goal, y.dtype)
        found = gmres(
            self._system(y),
            f,
            forcing,
            active & accepted,
            limit=self.inner,
            unit=unit_roundoff(y.dtype),
        )

        new = accepted.unsqueeze(1)
        base, image = torch.where(new, here, state.base), torch.where(new, image, state.image)
        direction = torch.where(new, found.value, state.direction)
        useful = found.finite & (found.residual < _USELESS)
        length = torch.where(accepted, torch.where(useful, 1.0, 0.0), _shortened(state, size))
        proposal = torch.addcmul(base, length.to(base.dtype).unsqueeze(1), direction).to(y.dtype)
        sound = (length > 0) & torch.isfinite(torch.linalg.vector_norm(proposal, ord=torch.inf, dim=1))
        proposal = torch.where(sound.unsqueeze(1), proposal, image.to(y.dtype))
        following = NewtonKrylovState(
            base=base,
            image=image,
            direction=direction,
            length=torch.where(sound, length, 0.0),
            size=torch.where(accepted, size, state.size),
            forcing=torch.where(accepted, forcing, state.forcing),
            linear=torch.where(accepted, found.residual, state.linear),
            goal=goal,
        )
        return proposal.reshape(y.shape), following

    def _system(self, y: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """Products of `I - J` at `y` with rows."""
        pushforward = self._pushforward
        if pushforward is None:
            remedy = "call fixed_point(G, x, y0, solver=NewtonKrylov()), or attached(...) before step"
            raise InputError("solver", "NewtonKrylov without an operator", "products of the Jacobian", remedy)

        def product(v: Tensor, needed: Tensor) -> Tensor:
            return v - rows(pushforward(y, v.reshape(y.shape).to(y.dtype), needed).to(v.dtype))

        return product

    def _forcing(self, state: NewtonKrylovState, size: Tensor, goal: Tensor, dtype: torch.dtype) -> Tensor:
        """Forcing terms of directions at the current states."""
        before = torch.where(state.size > 0, state.size, 1.0)
        surprise = torch.where(state.length == 1, (size - state.linear * before).abs() / before, 1.0)
        eta = torch.minimum(0.9 * (size / before) ** 2, surprise)
        guarded = 0.9 * state.forcing**2
        eta = torch.where(guarded > 0.1, torch.maximum(eta, guarded), eta)
        eta = torch.where(state.length > 0, eta, self.forcing)
        eta = torch.maximum(eta, 0.5 * goal / torch.where(size > 0, size, 1.0))
        return eta.clamp(8 * unit_roundoff(dtype), _LARGEST)


def _shortened(state: NewtonKrylovState, size: Tensor) -> Tensor:
    """Shorter steps after a refusal, zero where the search is given up."""
    t = state.length
    # In units of its value at the base, |f|^2 falls like 1 - 2 t from there and is ratio^2 at the refused step.
    ratio = size / torch.where(state.size > 0, state.size, 1.0)
    bottom = t**2 / (ratio**2 - 1 + 2 * t)
    shorter = torch.minimum(torch.maximum(bottom, 0.1 * t), 0.5 * t)
    return torch.where(shorter >= _SHORTEST, shorter, 0.0)
