r"""The solution of a linear program as an explicit smooth function of its data, where its optimal basis is not degenerate (T12).

**The basis.** `B` are the variables strictly between their bounds, `R` the rows that hold with equality. Let `|B| = |R|` and `A_RB`
be invertible. With the others at their bounds and the multipliers of the other rows zero, primal and dual are two halves of one
linear system,

    y_j = its bound  (j not in B),      (A y)_i = b_i  (i in R),      (A^T p)_j = -c_j  (j in B),      p_i = 0  (i not in R).

It is **not degenerate** if what has to be an inequality is one: `l < y < u` on `B`, `A y < b` off `R`, `p > 0` on the inequalities
of `R`, and `c + A^T p` positive at lower and negative at upper bounds (not where `l = u`). These are finitely many continuous
conditions, so the same basis stays optimal nearby, the solution is unique there, and it is the rational function above of the data.

**Its derivative.** Off `B` it is that of the bounds, and on `R` the product rule says `A dy = db - dA y`. With the same matrix:

    K (dy, q) = (dl or du off B, 0 on B;  db - dA y on R, 0 off R),        K (y, p) = (l or u off B, -c on B;  b on R, 0 off R).

Costs do not move it at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eqtheory.constructions.linear_programming._perturbation import ProgramPart
from eqtheory.constructions.linear_programming._program import LinearProgram
from eqtheory.errors import DomainError
from eqtheory.nests import take
from eqtheory.norms import same_shape
from eqtheory.roundoff import unit_roundoff
from eqtheory.validate import positive

__all__ = ["OptimalBasis", "optimal_basis"]


@dataclass(frozen=True)
class OptimalBasis:
    """Optimal bases of a batch; every tensor has the batch first.

    Args:
        program: the programs.
        basic: which variables are strictly between their bounds, shape `(batch, n)`.
        at_upper: which of the others are at their upper bound, shape `(batch, n)`.
        active: which rows hold with equality, shape `(batch, m)`.
        y: the solutions, recomputed from the basis, shape `(batch, n)`.
        p: the multipliers, recomputed, shape `(batch, m)`.
        primal_margin: least distance of `y` from what it has to avoid, less its rounding; shape `(batch,)`.
        dual_margin: the same for multipliers and reduced costs.
    """

    program: LinearProgram
    basic: Tensor
    at_upper: Tensor
    active: Tensor
    y: Tensor
    p: Tensor
    primal_margin: Tensor
    dual_margin: Tensor

    @property
    def nondegenerate(self) -> Tensor:
        """Where both margins are positive: there the solution is unique, and smooth in the data; shape `(batch,)`."""
        return (self.primal_margin > 0) & (self.dual_margin > 0)

    def select(self, keep: Tensor) -> OptimalBasis:
        """Keep some instances.

        Args:
            keep: their indices.

        Returns:
            The bases of those.
        """
        return take(self, keep, self.y.shape[0])

    def jacobian(self, part: ProgramPart) -> Tensor:
        """Differentiate the solution in one part of the data.

        Args:
            part: which part.

        Returns:
            Shape `(batch, n, coordinates of the part)`. Cost: one inverse of `n + m` rows an instance.

        Raises:
            DomainError: an instance whose basis is degenerate, where there is no derivative.
        """
        good = self.nondegenerate
        if not bool(good.all()):
            first = int((~good).nonzero()[0])
            came = f"a degenerate basis at instance {int(self.program.ids[first])}"
            raise DomainError(
                "program", came, "non-degenerate optima", "keep basis.select(basis.nondegenerate.nonzero()[:, 0])"
            )
        n = self.y.shape[1]
        inverse = torch.linalg.inv(_system(self.program, self.basic, self.active))[:, :n]
        by_row = inverse[:, :, n:] * self.active.unsqueeze(1)
        if part is ProgramPart.RIGHT_SIDE:
            return by_row
        if part is ProgramPart.COSTS:
            return torch.zeros_like(inverse[:, :, :n])
        if part is ProgramPart.MATRIX:
            at = self.program.rows.unsqueeze(1).expand(-1, n, -1)
            return -by_row.gather(2, at) * self.y.gather(1, self.program.columns).unsqueeze(1)
        end = self.at_upper if part is ProgramPart.UPPER else ~self.at_upper
        return inverse[:, :, :n] * (end & ~self.basic).unsqueeze(1)


def optimal_basis(program: LinearProgram, y: Tensor, p: Tensor, tolerance: float = 1e-6) -> OptimalBasis:
    """Read the optimal basis off an approximate solution, and recompute the solution from it.

    Whether the reading was right is decided by the recomputed pair: where its margins are positive it is optimal, up to the
    rounding that the margins are lowered by, whatever the guess was.

    Args:
        program: the programs, in float64.
        y: approximate solutions, shape `(batch, n)`.
        p: approximate multipliers, shape `(batch, m)`; only tell which of the tight rows matter where there are too many.
        tolerance: what counts as being at a bound, relative to `1 + |bound|`.

    Returns:
        The bases; margins are not positive where a basis is degenerate, or is none.

    Theorem: T12.

    Example:
        >>> x = LinearProgram.from_dense(
        ...     torch.tensor([[[1.0, 2.0]]]).double(), b=torch.ones(1, 1).double(), c=torch.tensor([[-1.0, -1.0]]).double(),
        ...     l=torch.zeros(1, 2).double(), u=torch.full((1, 2), 3.0).double(),
        ... )
        >>> found = optimal_basis(x, torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[1.0]]).double())
        >>> bool(found.nondegenerate), found.jacobian(ProgramPart.RIGHT_SIDE).tolist()
        (True, [[[1.0], [0.0]]])
    """
    positive("tolerance", tolerance)
    same_shape("y, c", y, program.c)
    same_shape("p, b", p, program.b)
    lower, upper = program.lower, program.upper
    low = y - lower <= tolerance * (1 + lower.abs().nan_to_num(posinf=0.0))
    high = upper - y <= tolerance * (1 + upper.abs().nan_to_num(posinf=0.0))
    basic = ~(low | high)
    at_upper = ~basic & (upper - y < y - lower)
    slack = program.b - program.times(y)
    active = program.equality | (slack <= tolerance * (1 + program.b.abs()))
    fits = basic.sum(dim=1) == active.sum(dim=1)
    K = torch.where(
        fits[:, None, None],
        _system(program, basic, active),
        torch.eye(y.shape[1] + p.shape[1], dtype=y.dtype, device=y.device),
    )
    values, ok = _solved(K, program, basic, at_upper, active)
    solution, multipliers = values[:, : y.shape[1]], values[:, y.shape[1] :]
    primal, dual = _margins(program, basic, at_upper, active, solution, multipliers, K)
    nothing = torch.full_like(primal, -torch.inf)
    good = fits & ok
    return OptimalBasis(
        program,
        basic,
        at_upper,
        active,
        torch.where(good.unsqueeze(1), solution, y),
        torch.where(good.unsqueeze(1), multipliers, p),
        torch.where(good, primal, nothing),
        torch.where(good, dual, nothing),
    )


def _system(program: LinearProgram, basic: Tensor, active: Tensor) -> Tensor:
    """The matrix `K`, shape `(batch, n + m, n + m)`."""
    A = program.dense()
    above = torch.cat([torch.diag_embed((~basic).to(A.dtype)), A.mT * basic.unsqueeze(2)], dim=2)
    below = torch.cat([A * active.unsqueeze(2), torch.diag_embed((~active).to(A.dtype))], dim=2)
    return torch.cat([above, below], dim=1)


def _solved(
    K: Tensor, program: LinearProgram, basic: Tensor, at_upper: Tensor, active: Tensor
) -> tuple[Tensor, Tensor]:
    """Solutions of the system, and where it has one."""
    end = torch.where(at_upper, program.u, program.l)
    right = torch.cat([torch.where(basic, -program.c, end), torch.where(active, program.b, 0.0)], dim=1)
    values, info = torch.linalg.solve_ex(K, right.unsqueeze(2))
    ok = (info == 0) & torch.isfinite(values).flatten(1).all(dim=1)
    return values.squeeze(2), ok


def _margins(
    program: LinearProgram, basic: Tensor, at_upper: Tensor, active: Tensor, y: Tensor, p: Tensor, K: Tensor
) -> tuple[Tensor, Tensor]:
    """Least margins of both halves, lowered by what the solution of the system can be off: a few `n u |K^-1| |K| |value|`."""
    size = K.shape[-1]
    inverse, info = torch.linalg.inv_ex(K)
    condition = torch.linalg.matrix_norm(inverse) * torch.linalg.matrix_norm(K)
    grain = 8 * size * unit_roundoff(y.dtype) * condition
    infinite = torch.full_like(y, torch.inf)
    inner = torch.where(basic, torch.minimum(y - program.lower, program.upper - y), infinite).amin(dim=1)
    strict = ~active & ~program.equality
    gap = program.b - program.times(y)
    slack = torch.where(strict, gap, torch.inf).amin(dim=1) if p.shape[1] else infinite[:, 0]
    priced = torch.where(active & ~program.equality, p, torch.inf).amin(dim=1) if p.shape[1] else infinite[:, 0]
    reduced = program.c + program.transposed(p)
    outward = torch.where(at_upper, -reduced, reduced)
    fixed = program.l == program.u
    cost = torch.where(basic | fixed, infinite, outward).amin(dim=1)
    scale = torch.linalg.matrix_norm(program.dense()) + 1
    # `nan_to_num` keeps singular systems, whose inverse is not finite, at a margin that is not positive.
    lost_primal = (grain * scale * (torch.linalg.vector_norm(y, dim=1) + 1)).nan_to_num(torch.inf)
    lost_dual = (
        grain * scale * (torch.linalg.vector_norm(p, dim=1) + torch.linalg.vector_norm(program.c, dim=1))
    ).nan_to_num(torch.inf)
    lost_primal = torch.where(info == 0, lost_primal, torch.inf)
    return torch.minimum(inner, slack).clamp_max(1e300) - lost_primal, torch.minimum(priced, cost).clamp_max(
        1e300
    ) - lost_dual
