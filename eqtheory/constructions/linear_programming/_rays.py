r"""Why a linear program has no solution: rays, and the radius up to which they prove it.

**Infeasible (Farkas).** Let `p` be multipliers, not negative on inequalities, and `s = A^T p`. Every feasible `y` has `0 >= p . (A
y - b) = s . y - b . p`. On the coordinates where the bound that makes `s_j y_j` small exists, `s_j y_j` is at least its value
there; on the others, `J`, at least `-|s_j| |y_j|`. With `M` the sum of the former minus `b . p`:

    M > 0    =>    every feasible y has  max |y_j| >= M / sum_J |s_j|.

If `J` is empty there is no feasible point at all.

**Unbounded dual (recession).** Let `d` be zero where both bounds exist, not negative where only `l` does, not positive where only
`u` does. For multipliers `p` that are feasible in the dual, `c . d + p . A d = r . d >= 0`. With `v` what `A d` violates (`|A d|`
on equations, the positive part on inequalities):

    c . d < 0    =>    every dual feasible p has  max |p_i| >= -c . d / sum v_i.

If `v = 0` the dual is infeasible, and the program is unbounded as soon as it has a feasible point.

All sums are rounded outwards, so the radii are proved; a radius is infinite where nothing has to be assumed. Where a program has no
solution the differences of successive states of the primal-dual iteration tend to such rays.

References:
    Farkas 1902; Applegate, Diaz, Lu, Lubin 2024, SIAM J. Optim. 34 (rays from iterates).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from eqtheory.constructions.linear_programming._program import LinearProgram
from eqtheory.roundoff import gamma

__all__ = ["farkas_radius", "recession_radius"]


def farkas_radius(program: LinearProgram, p: Tensor) -> Tensor:
    """Find out how far from the origin multipliers exclude feasible points.

    Args:
        program: the programs.
        p: candidate rays, shape `(batch, m)`; made admissible first.

    Returns:
        Shape `(batch,)`: no feasible point has all coordinates below this; infinity: there is none; 0: nothing is proved.
    """
    p = program.projected(p)
    _, m, n = program.shape
    slack = gamma(m + n + 6, p.dtype)
    s = program.transposed(p)
    off = slack * replace(program, entries=program.entries.abs()).transposed(p.abs())
    end = torch.where(s > 0, program.lower, program.upper)
    # The sign of s has to be certain, unless both bounds exist and the worse one is taken.
    sure = s.abs() > off
    low, high = s - off, s + off
    corners = torch.stack([low * program.lower, low * program.upper, high * program.lower, high * program.upper])
    boxed = torch.isfinite(program.lower) & torch.isfinite(program.upper)
    inner = torch.where(boxed, corners.nan_to_num(0.0).amin(dim=0), 0.0)
    counted = sure & torch.isfinite(end) & ~boxed
    finite_end = torch.where(counted, end, 0.0)
    one_sided = torch.minimum(low * finite_end, high * finite_end)
    loose = torch.where(boxed | counted, 0.0, s.abs() + off)
    terms = inner + one_sided
    margin = terms.sum(dim=1) - (program.b * p).sum(dim=1)
    margin = margin - slack * (terms.abs().sum(dim=1) + (program.b * p).abs().sum(dim=1))
    return _radius(margin, loose.sum(dim=1) * (1 + slack))


def recession_radius(program: LinearProgram, d: Tensor) -> Tensor:
    """Find out how far from the origin a direction excludes dual feasible multipliers.

    Args:
        program: the programs.
        d: candidate rays, shape `(batch, n)`; taken into the cone of the bounds first.

    Returns:
        Shape `(batch,)`: no dual feasible multipliers have all entries below this; infinity: there are none; 0: nothing is proved.
    """
    _, m, n = program.shape
    d = recession_cone(program, d)
    slack = gamma(m + n + 6, d.dtype)
    across = program.times(d)
    off = slack * replace(program, entries=program.entries.abs()).times(d.abs())
    violated = torch.where(program.equality, across.abs() + off, (across + off).clamp_min(0.0))
    margin = -(program.c * d).sum(dim=1) - slack * (program.c * d).abs().sum(dim=1)
    return _radius(margin, violated.sum(dim=1) * (1 + slack))


def recession_cone(program: LinearProgram, d: Tensor) -> Tensor:
    """Take directions into the cone in which the bounds let points go to infinity.

    Args:
        program: the programs.
        d: directions, shape `(batch, n)`.

    Returns:
        The nearest directions of that cone.
    """
    zero = torch.zeros_like(d)
    least = torch.where(torch.isfinite(program.lower), zero, -torch.inf)
    most = torch.where(torch.isfinite(program.upper), zero, torch.inf)
    return torch.clamp(d, least, most)


def _radius(margin: Tensor, loose: Tensor) -> Tensor:
    proves = torch.isfinite(margin) & (margin > 0)
    return torch.where(proves, torch.where(loose > 0, margin / loose.clamp_min(1e-300), torch.inf), 0.0)
