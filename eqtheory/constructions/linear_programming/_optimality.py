r"""How far a pair `(y, p)` is from solving a linear program, and what it proves about the optimal value.

**Residuals.** `y` is inside its bounds and `p` is not negative on inequalities. With `r = c + A^T p`:

- primal residual: `A y - b` on equations, its positive part on inequalities;
- dual residual: the part of `r` that only a missing bound could carry: negative `r_j` without `u_j`, positive `r_j` without `l_j`;
- gap: `c . y` minus the dual value `-b . p + sum of r_j l_j (r_j > 0) + sum of r_j u_j (r_j < 0)` over the bounds there are.

The relative KKT error is the largest of `|primal| / (1 + |b|)`, `|dual| / (1 + |c|)` and `|gap| / (1 + |c . y| + |dual value|)`, as codes
for large linear programs stop on it.

**What they prove.** Let `y*`, `p*` be any optimal pair, `V(b)` the optimal value, `v` and `w` the primal and dual residuals. Below:
weak duality, with `r_j y*_j >= -|w_j| |y*_j|` where a bound is missing. Above: `y` is feasible for the right side `b + v`, so `c .
y >= V(b + v)`, and by the dual at `p*`, whose objective is linear in `b`, `V(b + v) >= V(b) - p* . v`. Together

    dual value - sum |w_j| |y*_j|  <=  V  <=  c . y + sum |v_i| |p*_i|.

Where the residuals vanish this needs nothing. Where they do not, the bracket rests on how large an optimal pair is; it is formed for
pairs of which every entry is at most twice the one found (at most 2 where that is below 1), and says so. Sums of `k` terms are granted
`gamma_k` of their absolute values.

References:
    Applegate et al. 2021, NeurIPS 34, for the measures; the bracket is worked out here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Bracket, Evidence, Side
from eqtheory.constructions.linear_programming._program import LinearProgram
from eqtheory.roundoff import gamma

__all__ = ["Optimality", "optimality", "relative_error"]


@dataclass(frozen=True)
class Optimality:
    """Residuals, values and the relative KKT error of pairs; every tensor has shape `(batch,)`.

    Args:
        primal_value: `c . y`.
        dual_value: value of the dual, its residual left out.
        primal_residual: Euclidean norm.
        dual_residual: Euclidean norm.
        relative_error: the relative KKT error.
        lower: lower side of the bracket of the optimal value.
        upper: upper side.
        upper_rests: whether `upper` rests on the size of optimal multipliers.
        lower_rests: whether `lower` rests on the size of an optimal point.
    """

    primal_value: Tensor
    dual_value: Tensor
    primal_residual: Tensor
    dual_residual: Tensor
    relative_error: Tensor
    lower: Tensor
    upper: Tensor
    upper_rests: Tensor
    lower_rests: Tensor

    @property
    def gap(self) -> Tensor:
        """Width of the bracket of the optimal value."""
        return self.upper - self.lower

    def bracket(self, instance: int = 0) -> Bracket:
        """Bracket the optimal value of one instance.

        Args:
            instance: which one.

        Returns:
            Both sides, with what they rest on.
        """

        def bound(value: Tensor, side: Side, rests: Tensor, what: str) -> Bound:
            assumed = (f"every entry of {what} is at most twice the one found, or 2",) if bool(rests[instance]) else ()
            return Bound(float(value[instance]), side, "weak duality", Evidence.PROVED, assumptions=assumed)

        return Bracket(
            bound(self.lower, Side.LOWER, self.lower_rests, "an optimal point"),
            bound(self.upper, Side.UPPER, self.upper_rests, "optimal multipliers"),
        )


def optimality(program: LinearProgram, y: Tensor, p: Tensor) -> Optimality:
    """Measure pairs.

    Args:
        program: the programs.
        y: points, shape `(batch, n)`; taken into their bounds first.
        p: multipliers, shape `(batch, m)`; made admissible first.

    Returns:
        What they are worth. Cost: a few operations per non-zero.
    """
    y, p = torch.clamp(y, program.l, program.u), program.projected(p)
    across, reduced = program.times(y) - program.b, program.c + program.transposed(p)
    over, end, carried, values, residuals, relative = _residuals(program, y, p, across, reduced)
    # What rounding can have done to sums of at most m + n terms, behind the residuals and in the values.
    slack = gamma(program.shape[1] + program.shape[2] + 4, y.dtype)
    absolute = replace(program, entries=program.entries.abs())
    rows_off = slack * (absolute.times(y.abs()) + program.b.abs())
    columns_off = slack * (absolute.transposed(p.abs()) + program.c.abs())
    above, upper_rests = _lost_above(program, p, across, over, rows_off)
    below, lower_rests = _lost_below(program, y, reduced, columns_off, carried)
    above = above + slack * (program.c * y).abs().sum(dim=1)
    below = below + slack * ((reduced * end).abs().sum(dim=1) + (program.b * p).abs().sum(dim=1))
    return Optimality(*values, *residuals, relative, values[1] - below, values[0] + above, upper_rests, lower_rests)


def relative_error(program: LinearProgram, y: Tensor, p: Tensor, across: Tensor, reduced: Tensor) -> Tensor:
    """Measure the relative KKT error alone, from products that are at hand.

    Args:
        program: the programs.
        y: points inside their bounds, shape `(batch, n)`.
        p: admissible multipliers, shape `(batch, m)`.
        across: `A y - b`, shape `(batch, m)`.
        reduced: `c + A^T p`, shape `(batch, n)`.

    Returns:
        Shape `(batch,)`.
    """
    return _residuals(program, y, p, across, reduced)[-1]


def _residuals(
    program: LinearProgram, y: Tensor, p: Tensor, across: Tensor, reduced: Tensor
) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor], Tensor]:
    """Violations, the bounds that carry reduced costs, whether there is one; values, norms of residuals, relative error."""
    largest = torch.finfo(y.dtype).max
    over = torch.where(program.equality, across, across.clamp_min(0.0))
    end = torch.where(reduced > 0, program.l, program.u)
    exists = end.abs() < largest
    carried = exists | (reduced == 0)
    end = torch.where(exists, end, 0.0)
    primal_value = (program.c * y).sum(dim=1)
    dual_value = (reduced * end).sum(dim=1) - (program.b * p).sum(dim=1)
    primal_residual = torch.linalg.vector_norm(over, dim=1)
    dual_residual = torch.linalg.vector_norm(torch.where(carried, 0.0, reduced), dim=1)
    gap = (primal_value - dual_value).abs() / (1 + primal_value.abs() + dual_value.abs())
    primal_part = primal_residual / (1 + torch.linalg.vector_norm(program.b, dim=1))
    dual_part = dual_residual / (1 + torch.linalg.vector_norm(program.c, dim=1))
    relative = torch.maximum(torch.maximum(primal_part, dual_part), gap)
    return over, end, carried, (primal_value, dual_value), (primal_residual, dual_residual), relative


def _lost_above(program: LinearProgram, p: Tensor, across: Tensor, over: Tensor, off: Tensor) -> tuple[Tensor, Tensor]:
    """What violated rows can be worth, and whether there are any; rows that rounding could have violated count too."""
    doubtful = torch.where(program.equality, off > 0, across > -off)
    violated = torch.where(doubtful, over.abs() + off, 0.0)
    return 2 * (violated * p.abs().clamp_min(1.0)).sum(dim=1), (violated > 0).any(dim=1)


def _lost_below(
    program: LinearProgram, y: Tensor, reduced: Tensor, off: Tensor, carried: Tensor
) -> tuple[Tensor, Tensor]:
    """What reduced costs without a bound can be worth, and whether there are any; signs that are not certain count too."""
    lower, upper = program.lower, program.upper
    other = torch.where(reduced > 0, upper, lower)
    doubtful = (reduced.abs() <= off) & (off > 0) & ~(torch.isfinite(other) & carried)
    left = torch.where(carried & ~doubtful, 0.0, reduced.abs() + off)
    reach = torch.maximum(*(torch.where(torch.isfinite(end), end.abs(), 0.0) for end in (lower, upper)))
    lost = 2 * (left * y.abs().clamp_min(1.0)).sum(dim=1)
    return lost + (off * reach).sum(dim=1), (left > 0).any(dim=1)
