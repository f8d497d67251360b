r"""The primal-dual hybrid gradient step of a linear program, an averaged operator (T12).

**The step.** The saddle points of `c . y + p . (A y - b)` over `l <= y <= u` and multipliers `p`, not negative on inequalities, are the
pairs of primal and dual solutions. With steps `tau`, `sigma`:

    y+ = clip(y - tau (c + A^T p), l, u),        p+ = Pi(p + sigma (A (2 y+ - y) - b)).

**Why it averages.** Both lines together say `P (z - z+) in M z+` for `z = (y, p)`, the monotone operator `M` of the saddle point and

    P = [[I / tau, -A^T], [-A, I / sigma]],      positive definite if tau sigma |A|^2 < 1.

For two states, monotony of `M` gives `<P ((z - z') - (z+ - z'+)), z+ - z'+> >= 0`, which is

    |z+ - z'+|_P^2 + |(z - z+) - (z' - z'+)|_P^2 <= |z - z'|_P^2:

the step is the average of the identity and a map that does not expand, in the norm of `P`. It need not contract, and where there is no
solution it drifts, by a vector that tells why (`farkas_radius`, `recession_radius`).

**Steps.** `tau = eta / omega`, `sigma = eta omega` with `eta |A| < 1`; `omega` is the primal weight, which balances the two halves of the
state. A diagonal preconditioner is a change of variables that leaves the box a box and the cone a cone: `equilibrated` makes it.

References:
    Chambolle, Pock 2011, J. Math. Imaging Vis. 40; He, Yuan 2012, SIAM J. Imaging Sci. 5; Pock, Chambolle 2011, ICCV.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from eqtheory.constructions.linear_programming._program import LinearProgram
from eqtheory.errors import DomainError, InputError, ShapeError
from eqtheory.lipschitz import matrix_norm_upper_bound
from eqtheory.norms import Euclidean
from eqtheory.operators import ImplicitOperator
from eqtheory.validate import open_unit, positive

__all__ = ["PrimalDual", "primal_dual_step"]

Product = Callable[[Tensor], Tensor]


def primal_dual_step(
    y: Tensor,
    p: Tensor,
    x: LinearProgram,
    tau: Tensor | float,
    sigma: Tensor | float,
    times: Product,
    transposed: Product,
) -> tuple[Tensor, Tensor]:
    """Take one step.

    Args:
        y: points, shape `(batch, n)`.
        p: multipliers, shape `(batch, m)`.
        x: the programs.
        tau: primal step, a number or shape `(batch, 1)`.
        sigma: dual step, the same.
        times: product with `A`.
        transposed: product with `A^T`.

    Returns:
        The next points and multipliers.
    """
    here = torch.clamp(y - tau * (x.c + transposed(p)), x.l, x.u)
    return here, x.projected(p + sigma * (times(2 * here - y) - x.b))


@final
class PrimalDual(ImplicitOperator):
    """The primal-dual hybrid gradient step on states `(y, p)`, shape `(batch, n + m)`; averaged, not contractive.

    Args:
        size: bound on the spectral norm of every matrix.
        weight: the primal weight `omega`, positive.
        fraction: `eta` in units of `1 / size`, below 1.

    Raises:
        InputError: numbers outside these ranges.

    Theorem: T12.

    Example:
        >>> from eqtheory.solvers import Halpern, fixed_point
        >>> x = LinearProgram.from_dense(
        ...     torch.ones(1, 1, 2), b=torch.ones(1, 1), c=torch.tensor([[1.0, 2.0]]), l=torch.zeros(1, 2), u=torch.ones(1, 2),
        ...     equality=torch.tensor([[True]]),
        ... )
        >>> G = PrimalDual(size=1.5)
        >>> G.split(fixed_point(G, x, solver=Halpern()).value, x)[0].round(decimals=2).abs()
        tensor([[1., 0.]])
    """

    def __init__(self, *, size: float, weight: float = 1.0, fraction: float = 0.99) -> None:
        self.size, self.weight = positive("size", size), positive("weight", weight)
        self.fraction = open_unit("fraction", fraction)

    @property
    def steps(self) -> tuple[float, float]:
        """The primal and the dual step, `tau` and `sigma`."""
        eta = self.fraction / self.size
        return eta / self.weight, eta * self.weight

    def __call__(self, y: Tensor, x: LinearProgram) -> Tensor:
        point, multipliers = self.split(y, x)
        tau, sigma = self.steps
        return torch.cat(primal_dual_step(point, multipliers, x, tau, sigma, x.times, x.transposed), dim=1)

    def split(self, z: Tensor, x: LinearProgram) -> tuple[Tensor, Tensor]:
        """Read a state.

        Args:
            z: states, shape `(batch, n + m)`.
            x: the programs.

        Returns:
            Points and multipliers.

        Raises:
            ShapeError: another length.
        """
        _, m, n = x.shape
        if z.ndim != 2 or z.shape[1] != n + m:
            raise ShapeError("z", f"shape {tuple(z.shape)}", f"(batch, {n + m})", "states are (y, p)")
        return z[:, :n], z[:, n:]

    def squared_norm(self, z: Tensor, x: LinearProgram) -> Tensor:
        """The norm in which the step averages, squared.

        Args:
            z: differences of states, shape `(batch, n + m)`.
            x: the programs.

        Returns:
            `|y|^2 / tau + |p|^2 / sigma - 2 p . A y`, shape `(batch,)`.
        """
        y, p = self.split(z, x)
        tau, sigma = self.steps
        return y.square().sum(dim=1) / tau + p.square().sum(dim=1) / sigma - 2 * (p * x.times(y)).sum(dim=1)

    def initial_state(self, x: LinearProgram) -> Tensor:
        """Start from zero, moved into the box, after checking the norms.

        Args:
            x: the programs.

        Returns:
            Shape `(batch, n + m)`.

        Raises:
            InputError: no programs came.
            DomainError: a matrix whose norm is above `size`.
        """
        if not isinstance(x, LinearProgram):
            raise InputError("x", type(x).__name__, "a LinearProgram", "use LinearProgram.from_dense")
        norms = matrix_norm_upper_bound(x.dense().detach(), Euclidean())
        outside = (norms > self.size).nonzero()
        if outside.numel():
            first = int(outside[0])
            came = f"norm {float(norms[first]):.6g} at instance {int(x.ids[first])}"
            raise DomainError(
                "x.entries", came, f"at most {self.size:.6g}", "pass a larger size, or equilibrate the data"
            )
        return torch.cat([torch.clamp(torch.zeros_like(x.c), x.l, x.u), torch.zeros_like(x.b)], dim=1)
