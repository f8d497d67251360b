r"""Reference solutions by HiGHS, with the least-norm rule where a program has several, and the weight below which regularising is exact.

**The optimal face.** With *any* optimal multipliers `p` and `r = c + A^T p`, the optimal points are the feasible ones with `y_j =
l_j` where `r_j > 0`, `y_j = u_j` where `r_j < 0`, and `(A y)_i = b_i` where `p_i > 0` (complementary slackness). If the columns of
the coordinates left free are linearly independent on the rows that hold with equality, the point is the only one.

**Least norm.** Otherwise the point of the face nearest to 0 is wanted, `min |y|, G y >= h`: Lawson and Hanson's least-distance
problem. With `z >= 0` that minimises `|[G^T; h^T] z - (0, ..., 0, 1)|` and the residual `s`, it is `-s_{1..n} / s_{n+1}`. The rows
with `z > 0` are those that hold with equality; the least-squares solution of these alone is computed again, which removes the
rounding of the quotient.

**Exact regularisation.** The least-norm solution `y` minimises `c . y + lam |y|^2 / 2` iff `-(c + lam y)` lies in the normal cone
of the feasible set at `y`. The largest such `lam` is a linear program in `lam` and the multipliers.

References:
    Lawson, Hanson 1974, Solving Least Squares Problems, chapter 23; Friedlander, Tseng 2007, SIAM J. Optim. 18.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.optimize import linprog, nnls
from torch import Generator, Tensor

from eqtheory.constructions import LinearProgram, optimal_basis
from experiments.linear_programming.data import Distribution, draw, rows_of

__all__ = ["References", "feasible_programs", "largest_exact_weight", "reference_solutions"]

_TIE = 1e-9
"""Reduced costs and multipliers up to this, relative to the largest cost, count as zero."""


@dataclass(frozen=True)
class References:
    """Solutions of the instances that have one; every tensor has the batch first.

    Args:
        program: those instances, with their ids.
        y: solutions, of least norm where there are several.
        p: multipliers.
        value: optimal values.
        unique: where the solution is the only one.
    """

    program: LinearProgram
    y: Tensor
    p: Tensor
    value: Tensor
    unique: Tensor


@dataclass
class _Parts:
    """One instance as arrays."""

    A: Any
    b: Any
    equality: Any
    c: Any
    l: Any  # noqa: E741
    u: Any


def _parts(program: LinearProgram, i: int) -> _Parts:
    _, m, n = program.shape
    places = (program.rows[i].numpy(), program.columns[i].numpy())
    A = sparse.csr_matrix((program.entries[i].numpy(), places), shape=(m, n))
    names = (program.b, program.equality, program.c, program.lower, program.upper)
    return _Parts(A, *(t[i].numpy() for t in names))


def _highs(q: _Parts) -> tuple[Any, Any] | None:
    """A solution and multipliers, `None` where there is none."""
    e = q.equality
    found = linprog(
        q.c,
        A_ub=q.A[~e] if (~e).any() else None,
        b_ub=q.b[~e] if (~e).any() else None,
        A_eq=q.A[e] if e.any() else None,
        b_eq=q.b[e] if e.any() else None,
        bounds=np.stack([q.l, q.u], axis=1),
        method="highs",
    )
    if found.status != 0:
        return None
    p = np.zeros(len(q.b))
    if (~e).any():
        p[~e] = -found.ineqlin.marginals
    if e.any():
        p[e] = -found.eqlin.marginals
    return found.x, p


def _least_norm(q: _Parts, y: Any, p: Any) -> tuple[Any, bool]:
    """The optimal point of least norm, and whether the one that came is the only one."""
    tie = _TIE * max(1e-300, float(np.abs(q.c).max()), float(np.abs(p).max(initial=0.0)))
    r = q.c + q.A.T @ p
    free = np.abs(r) <= tie
    held = q.equality | (p > tie)
    columns = q.A[held][:, free].toarray() if held.any() else np.zeros((0, int(free.sum())))
    if not free.any() or (columns.shape[0] and np.linalg.matrix_rank(columns) == columns.shape[1]):
        return y, True
    low = np.where(free, q.l, np.where(r > 0, q.l, q.u))
    high = np.where(free, q.u, np.where(r > 0, q.l, q.u))
    dense, unit = q.A.toarray(), np.eye(len(y))
    G = np.concatenate([-dense, dense[held], unit[np.isfinite(low)], -unit[np.isfinite(high)]])
    h = np.concatenate([-q.b, q.b[held], low[np.isfinite(low)], -high[np.isfinite(high)]])
    # One scale for all rows; rows that say nothing are left out.
    size = np.linalg.norm(G, axis=1)
    G, h = G[size > 0] / size[size > 0, None], h[size > 0] / size[size > 0]
    scale = max(1.0, float(np.abs(h).max(initial=0.0)))
    wanted = np.zeros(len(y) + 1)
    wanted[-1] = 1.0
    stacked = np.concatenate([G.T, h[None] / scale])
    z, _ = nnls(stacked, wanted, maxiter=50 * stacked.shape[1])
    s = stacked @ z - wanted
    tight = z > 1e-12 * max(1.0, float(z.max()))
    if not tight.any():
        return np.zeros_like(y), False
    found = np.linalg.lstsq(G[tight], h[tight], rcond=None)[0]
    nearest = -s[:-1] / s[-1] * scale
    better = (G @ found - h).min() >= -1e-9 * scale
    return (found if better else nearest), False


def reference_solutions(program: LinearProgram) -> References:
    """Solve a batch, one instance after the other; instances without a solution are left out, and the ids say which.

    Args:
        program: the programs, float64.

    Returns:
        Solutions of the instances that have one, recomputed from the optimal basis where that is not degenerate.

    Raises:
        ValueError: none of them has a solution.
    """
    kept, ys, ps, unique = [], [], [], []
    for i in range(program.shape[0]):
        q = _parts(program, i)
        found = _highs(q)
        if found is None:
            continue
        y, only = _least_norm(q, *found)
        kept.append(i)
        ys.append(y)
        ps.append(found[1])
        unique.append(only)
    if not kept:
        message = "program: got no instance that has a solution, needed one; draw more"
        raise ValueError(message)
    there = rows_of(program, torch.tensor(kept))
    y, p = torch.from_numpy(np.stack(ys)), torch.from_numpy(np.stack(ps))
    one = torch.tensor(unique)
    basis = optimal_basis(there, y, p)
    exact = (basis.nondegenerate & one).unsqueeze(1)
    y, p = torch.where(exact, basis.y, y), torch.where(exact, basis.p, p)
    return References(there, y, p, (there.c * y).sum(dim=1), one)


def feasible_programs(count: int, generator: Generator, *, distribution: Distribution | None = None) -> References:
    """Draw until enough instances have a solution.

    Args:
        count: how many are wanted.
        generator: source of randomness.
        distribution: sizes and scales; the paper's by default.

    Returns:
        The first `count` of them with their solutions; ids count the infeasible draws as well.
    """
    batches: list[References] = []
    have = drawn = 0
    while have < count:
        fresh = draw(max(8, count - have), generator, distribution=distribution, first_id=drawn)
        drawn += fresh.shape[0]
        try:
            batches.append(reference_solutions(fresh))
        except ValueError:
            continue
        have += batches[-1].program.shape[0]
    return _first(batches, count)


def _first(batches: list[References], count: int) -> References:
    def joined(tensors: list[Tensor]) -> Tensor:
        return torch.cat(tensors)[:count]

    programs = [b.program for b in batches]
    names = ("entries", "rows", "columns", "b", "equality", "c", "l", "u", "ids")
    program = LinearProgram(**{name: joined([getattr(q, name) for q in programs]) for name in names})
    y, p, value, unique = (joined([getattr(b, name) for b in batches]) for name in ("y", "p", "value", "unique"))
    return References(program, y, p, value, unique)


def largest_exact_weight(program: LinearProgram, y: Tensor, instance: int = 0) -> float:
    """Find the largest `lam` for which the least-norm solution also minimises `c . y + lam |y|^2 / 2`.

    Args:
        program: the programs.
        y: their least-norm solutions, shape `(batch, n)`.
        instance: which one.

    Returns:
        The largest weight, infinity where every weight will do.

    Raises:
        ValueError: no weight will do, so `y` is no solution of least norm.
    """
    q, at = _parts(program, instance), y[instance].numpy()
    n = len(at)
    near = 1e-7 * (1 + np.abs(at))
    low, high = at - q.l <= near, q.u - at <= near
    tight = q.equality | (q.b - q.A @ at <= 1e-7 * (1 + np.abs(q.b)))
    # Unknown: lam, multipliers of the tight rows, and z in the normal cone of the box: z <= 0 at lower, z >= 0 at upper bounds.
    equations = sparse.hstack([sparse.csr_matrix(at[:, None]), q.A[tight].T, sparse.eye(n)])
    bounds: list[tuple[float | None, float | None]] = [(0.0, None)]
    bounds += [(None, None) if e else (0.0, None) for e in q.equality[tight]]
    bounds += [(None if a else 0.0, None if o else 0.0) for a, o in zip(low, high, strict=True)]
    aim = np.zeros(equations.shape[1])
    aim[0] = -1.0
    found = linprog(aim, A_eq=equations, b_eq=-q.c, bounds=bounds, method="highs")
    if found.status == 3:
        return float("inf")
    if found.status != 0:
        message = "y: got a point that no weight makes a minimiser, needed the solution of least norm; see reference_solutions"
        raise ValueError(message)
    return float(found.x[0])
