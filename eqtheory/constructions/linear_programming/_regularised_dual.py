r"""The doubly regularised dual of a linear program as a regular operator (T12).

**The problem.** `min c . y + lam |y|^2 / 2` over `A y (<= or =) b`, `l <= y <= u`. For multipliers `p` (not negative on inequalities) the
Lagrangian `c . y + lam |y|^2 / 2 + p . (A y - b)` is least over the box at

    y(p) = clip(-(c + A^T p) / lam, l, u),

and the dual function has the gradient `A y(p) - b`. A term `-delta |p|^2 / 2` makes it strongly concave; one projected gradient step is

    G(p, x) = Pi[(1 - tau delta) p + tau (A y(p) - b)].

**(R1)** `y(p)` has the Jacobian `-D A^T / lam` with a diagonal `0 <= D <= I`, so the map under `Pi` has the Jacobian
`(1 - tau delta) I - (tau / lam) A D A^T`, whose eigenvalues are between `1 - tau (|A|^2 / lam + delta)` and `1 - tau delta`.

**(R2)** With `|A| <= a` and `|max(|l|, |u|)| <= D`, and each part of the data moved by at most `d`:
`A y - A' y' = (A - A') y + A' (y - y')`. Coordinate by coordinate `clip` moves by at most the largest change of its three arguments, so
`|y - y'| <= sqrt((d (1 + |p|) / lam)^2 + d^2 + d^2)`. Together, as `sqrt(2 + (s + t)^2) <= sqrt(2 + s^2) + t`,

    |G(p, x) - G(p, x')| <= tau (1 + D + a sqrt(2 + 1 / lam^2) + (a / lam) |p|) d.

**What it finds.** For `delta = 0` and `lam` small enough for the data the decoded state is the solution of least norm of the linear
program itself; for `delta > 0` it is within `sqrt(delta / lam) |p_0| / 2` of the minimiser for `delta = 0`.

References:
    Mangasarian, Meyer 1979, SIAM J. Control Optim. 17; Friedlander, Tseng 2007, SIAM J. Optim. 18.
"""

from __future__ import annotations

from math import hypot, sqrt
from typing import final

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Evidence, LocalBound, Side
from eqtheory.constructions.linear_programming._perturbation import LargestPart
from eqtheory.constructions.linear_programming._program import LinearProgram
from eqtheory.errors import DomainError, InputError
from eqtheory.lipschitz import matrix_norm_upper_bound
from eqtheory.norms import Euclidean
from eqtheory.operators import ImplicitOperator, Regularity
from eqtheory.validate import positive

__all__ = ["RegularisedDual"]

_U = 2.0**-53


@final
class RegularisedDual(ImplicitOperator):
    """`G(p, x) = Pi[(1 - tau delta) p + tau (A y(p) - b)]` with the decoder `y(p) = clip(-(c + A^T p) / lam, l, u)`.

    Args:
        size: bound on the spectral norm of every matrix, `a`.
        radius: bound on the norm of `max(|l|, |u|)`, `D`; so all bounds are finite.
        lam: weight of `|y|^2 / 2`, positive.
        delta: weight of `|p|^2 / 2`, positive.
        tau: step, `0 < tau < 2 / (a^2 / lam + delta)`; by default the one that contracts most on these data.

    Raises:
        InputError: numbers that are not positive, or a step that is too long.

    Theorem: T12.

    Example:
        >>> from eqtheory.gradients import fixed_point
        >>> x = LinearProgram.from_dense(
        ...     torch.ones(1, 1, 2), b=torch.ones(1, 1), c=torch.tensor([[1.0, 2.0]]), l=torch.zeros(1, 2), u=torch.ones(1, 2),
        ...     equality=torch.tensor([[True]]),
        ... )
        >>> G = RegularisedDual(size=1.5, radius=1.5, lam=0.5, delta=1e-3)
        >>> G.decode(fixed_point(G, x).value, x).round(decimals=2)
        tensor([[1., 0.]])
    """

    def __init__(self, *, size: float, radius: float, lam: float, delta: float, tau: float | None = None) -> None:
        for name, value in (("size", size), ("radius", radius), ("lam", lam), ("delta", delta)):
            positive(name, value)
        curvature = size * size / lam
        chosen = 2 / (curvature + 2 * delta) if tau is None else positive("tau", tau)
        if not chosen * (curvature + delta) < 2:
            needed = f"0 < tau < 2 / (a^2 / lam + delta) = {2 / (curvature + delta):.6g}"
            raise InputError("tau", str(tau), needed, "leave it out for the best step")
        self.size, self.radius, self.lam, self.delta, self.tau = size, radius, lam, delta, chosen
        raised = 1 + 16 * _U
        L0 = chosen * (1 + radius + size * hypot(sqrt(2), 1 / lam)) * raised
        norm, metric = Euclidean(), LargestPart()
        self.regularity = Regularity(
            LocalBound(self._factor, Side.UPPER, "T12", Evidence.PROVED, norm.name),
            Bound(L0, Side.UPPER, "T12", Evidence.PROVED, norm.name),
            Bound(chosen * size / lam * raised, Side.UPPER, "T12", Evidence.PROVED, norm.name),
            norm,
            metric,
        )

    def __call__(self, y: Tensor, x: LinearProgram) -> Tensor:
        return x.projected((1 - self.tau * self.delta) * y + self.tau * (x.times(self.decode(y, x)) - x.b))

    def decode(self, p: Tensor, x: LinearProgram) -> Tensor:
        """Find the point that belongs to multipliers.

        Args:
            p: multipliers, shape `(batch, m)`.
            x: the programs.

        Returns:
            `y(p)`, shape `(batch, n)`, inside the bounds.
        """
        return torch.clamp((x.c + x.transposed(p)) / -self.lam, x.l, x.u)

    def initial_state(self, x: LinearProgram) -> Tensor:
        """Start from zero, after checking the data.

        Args:
            x: the programs.

        Returns:
            Zeros, shape `(batch, m)`.
        """
        self._norms(x)
        return torch.zeros_like(x.b)

    @torch.no_grad()
    def _norms(self, x: LinearProgram) -> Tensor:
        """Upper bounds on the norms of the matrices, shape `(batch,)`; refuses data outside the set that the constants are for."""
        if not isinstance(x, LinearProgram):
            raise InputError("x", type(x).__name__, "a LinearProgram", "use LinearProgram.from_dense")
        norms = matrix_norm_upper_bound(x.dense(), Euclidean())
        largest = torch.maximum(x.l.abs(), x.u.abs())
        ends = torch.linalg.vector_norm(largest.to(torch.float64), dim=1) * (1 + (x.c.shape[1] + 4) * _U)
        for name, found, limit, what in (
            ("x.entries", norms, self.size, "norm of A"),
            ("x.l, x.u", ends, self.radius, "norm of max(|l|, |u|)"),
        ):
            outside = ~(found <= limit)
            if bool(outside.any()):
                first = int(outside.nonzero()[0])
                came = f"{what} {float(found[first]):.6g} at instance {int(x.ids[first])}"
                remedy = (
                    "pass a larger one, with room for rounding, or scale the data; infinite bounds have no constants"
                )
                raise DomainError(name, came, f"at most {limit:.6g}", remedy)
        return norms

    def _factor(self, x: LinearProgram) -> Tensor:
        norms = self._norms(x)
        far = self.tau * (norms * norms / self.lam + self.delta)
        slow = abs(1 - self.tau * self.delta)
        return torch.maximum((1 - far).abs() + 8 * _U * (1 + far), torch.full_like(far, slow * (1 + 8 * _U)))
