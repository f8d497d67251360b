r"""Linear programs that find schedules: few pairs bind, so pairs are added as they are violated, and norms by their tangents.

With `x = eps / unit`, where `unit` bounds the largest minimum from above, every constraint is a row `r . x <= 1`:

    step,    pair (i, j):    unit / (L1 d) (x_i - x_j) <= 1,
    offset,  pair (i, j):    unit / (L0 d) u . (F_i x_i - F_j x_j) <= 1,      |u|_* = 1.

A norm is the largest of `u . v` over dual vectors `u` of norm 1. At `v = eps_i F_i - eps_j F_j` the vector with `u . v = |v|` is the
sign of the largest entry (sup), the signs of all (l1), or `v / |v|` (l2). For polyhedral norms finitely many rows describe
everything; for l2 the rows tend to the tangents that bind. Rows are always valid, so a program's optimum bounds the true one.

*Multipliers.* For any `lambda >= 0` on the rows `R x <= 1` and any `nu >= 0` of sum 1, and `0 <= x <= c`,

    min x <= nu . x = lambda . R x + (nu - R^T lambda) . x <= sum lambda + sum_i c_i max(0, nu_i - (R^T lambda)_i),

which is `schedule_optimality` in these units. It holds for whatever a solver returns, so no trust in the solver is needed.
"""

from __future__ import annotations

import time
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eqtheory.constructions._measured_pairs import measured_pairs
from eqtheory.constructions._schedules import all_positive
from eqtheory.errors import InputError, MissingDependencyError, SolverError
from eqtheory.norms import Norm, Sum, Sup
from eqtheory.roundoff import gamma
from eqtheory.targets import SampleTable
from eqtheory.theorems.fastest_schedule import pair_cap, schedule_optimality

__all__ = ["CuttingPlanes", "dual_vectors", "pair_caps"]

Array = npt.NDArray[np.float64]

_ROUNDS = 200
_NEW_ROWS_PER_POINT = 4
_CLOSE_ENOUGH = 1e-9
"""Relative violation at which pairs are left to the repair, which then costs as much."""


def dual_vectors(norm: Norm, v: Tensor) -> Tensor:
    """Vectors `u` of dual norm 1 with `u . v = |v|`; zero where `v` is zero.

    Args:
        norm: l2, sup or l1.
        v: shape `(batch, k)`.

    Returns:
        Shape `(batch, k)`.
    """
    if v.shape[1] == 1 or isinstance(norm, Sum):
        return torch.sign(v)
    if isinstance(norm, Sup):
        index = v.abs().argmax(dim=1, keepdim=True)
        return torch.zeros_like(v).scatter(1, index, torch.sign(v.gather(1, index)))
    size = norm(v).unsqueeze(1)
    return torch.where(size > 0, v / torch.where(size > 0, size, 1.0), 0.0)


def pair_caps(table: SampleTable, L0: float, L1: float) -> Tensor:
    """Largest step each point can have, whatever the others are, from all pairs (T2).

    Args:
        table: the map.
        L0: budget at the zero state.
        L1: budget for large states.

    Returns:
        Shape `(n,)`, in `(0, 1]`, raised by the rounding of its formula.
    """
    caps = torch.ones(len(table), dtype=torch.float64)
    sizes = table.output_norm(table.values)
    up = 1 + gamma(4 * table.values[0].numel() + 4 * table.inputs[0].numel() + 64, torch.float64)
    for rows in table.blocks():
        gap = table.output_norm.pairwise(table.values[rows], table.values)
        distance = table.input_norm.pairwise(table.inputs[rows], table.inputs)
        _, room = pair_cap.sides(eps_other=1.0, value_gap=gap, value_norm=sizes[None, :], delta=distance, L0=L0, L1=L1)
        # Where the gap is rounding, the quotient is large and does not bind.
        error = gamma(8, torch.float64) * (sizes[rows, None] + sizes[None, :])
        sure = gap - error
        bound = torch.where(sure > 0, room * up / torch.where(sure > 0, sure, 1.0), torch.inf)
        caps[rows] = torch.minimum(caps[rows], bound.amin(dim=1))
    return caps


@final
class CuttingPlanes:
    """The rows found so far, and the programs over them.

    Args:
        table: the map, without repeated points.
        L0: budget at the zero state, positive.
        L1: budget for large states, positive.
        time_limit: seconds for everything together.
    """

    def __init__(self, table: SampleTable, L0: float, L1: float, *, time_limit: float) -> None:
        try:
            from scipy import optimize, sparse
        except ImportError as error:
            raise MissingDependencyError("scipy", "schedules") from error
        self._optimize, self.sparse = optimize, sparse
        self.table, self.L0, self.L1 = table, L0, L1
        self.caps = pair_caps(table, L0, L1)
        self.unit = float(all_positive(self.caps, L0).min())
        self.ends = time.monotonic() + time_limit
        self.time_limit = time_limit
        self.rows: Any = sparse.csr_matrix((0, len(table)))
        self._magnitudes: Any = self.rows  # what the entries of the rows are sums of, without signs
        self.upper = self.unit
        self._flat = table.values.reshape(len(table), -1)
        self.separate(self.caps)

    def separate(self, eps: Tensor) -> float:
        """Add rows for the pairs that a schedule violates most, a few for every point.

        Args:
            eps: the schedule, shape `(n,)`.

        Returns:
            The largest ratio of a left side to its right side.
        """
        worst = 0.0
        for rows in self.table.blocks():
            found = measured_pairs(self.table, eps, rows)
            index = torch.arange(rows.start, rows.stop)
            below = torch.arange(len(self.table))[None, :] < index[:, None]
            for kind, gap, constant in (("step", found.step, self.L1), ("offset", found.offset, self.L0)):
                ratio = torch.where(below & (gap > 0), gap / (constant * found.distance), 0.0)
                worst = max(worst, float(ratio.max()))
                top = ratio.topk(min(_NEW_ROWS_PER_POINT, ratio.shape[1]), dim=1)
                i, k = (top.values > 1 + _CLOSE_ENOUGH / 4).nonzero(as_tuple=True)
                if len(i):
                    self._add(kind, eps, i + rows.start, top.indices[i, k], constant)
        return worst

    def _add(self, kind: str, eps: Tensor, i: Tensor, j: Tensor, constant: float) -> None:
        distance = self.table.input_norm.distance(self.table.inputs[i], self.table.inputs[j])
        scale = self.unit / (constant * distance)
        if kind == "step":
            sign = torch.sign(eps[i] - eps[j])
            at_i, at_j = sign * scale, -sign * scale
            size_i, size_j = scale, scale
        else:
            u = dual_vectors(self.table.output_norm, eps[i, None] * self._flat[i] - eps[j, None] * self._flat[j])
            at_i, at_j = (u * self._flat[i]).sum(dim=1) * scale, -(u * self._flat[j]).sum(dim=1) * scale
            size_i, size_j = ((u * self._flat[k]).abs().sum(dim=1) * scale for k in (i, j))
        self.rows = self._appended(self.rows, i, j, at_i, at_j)
        self._magnitudes = self._appended(self._magnitudes, i, j, size_i, size_j)

    def _appended(self, matrix: Any, i: Tensor, j: Tensor, at_i: Tensor, at_j: Tensor) -> Any:
        line = np.arange(len(i))
        data = np.concatenate([at_i.numpy(), at_j.numpy()])
        place = (np.concatenate([line, line]), np.concatenate([i.numpy(), j.numpy()]))
        new = self.sparse.csr_matrix((data, place), shape=(len(i), len(self.table)))
        return self.sparse.vstack([matrix, new], format="csr")

    def solve(self, cost: Array, rows: Any, right: Array, bounds: Array) -> Any:
        """Solve one linear program within what is left of the time.

        Args:
            cost: objective, to be minimised.
            rows: left sides, sparse.
            right: right sides.
            bounds: shape `(variables, 2)`.

        Returns:
            The result of `scipy.optimize.linprog`.

        Raises:
            InputError: the time is over, or the numbers of the table are too far apart for rows in float64.
            SolverError: the solver gave up.
        """
        if not bool(np.isfinite(rows.data).all()):
            raise InputError(
                "table",
                "a pair whose row overflows",
                "values, distances and budget of sizes that float64 can divide by each other",
                "rescale inputs, values and budget together",
            )
        left = self.ends - time.monotonic()
        if left > 0:
            options = {"time_limit": left, "primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
            result = self._optimize.linprog(cost, A_ub=rows, b_ub=right, bounds=bounds, method="highs", options=options)
            if result.status == 0:
                return result
            if result.status != 1:
                message = (
                    f"the linear program of {rows.shape[0]} rows was not solved: {result.message}; rescale the table"
                )
                raise SolverError(message, result)
        raise InputError(
            "time_limit",
            f"{self.time_limit:g} s",
            f"more time for {len(self.table)} points",
            "raise it, or use greatest_schedule for values of one sign",
        )

    def largest_minimum(self) -> Tensor:
        """Maximise the smallest step, and keep an upper bound on it in `upper`.

        Returns:
            A schedule that violates no pair by more than rounding, shape `(n,)`.
        """
        n = len(self.table)
        eps = self.caps
        cost = np.zeros(n + 1)
        cost[n] = -1.0
        bounds = np.stack([np.zeros(n + 1), np.append(self.caps.numpy() / self.unit, 1.0)], axis=1)
        slower = self.sparse.hstack([-self.sparse.identity(n), np.ones((n, 1))])
        for _ in range(_ROUNDS):
            wide = self.sparse.hstack([self.rows, self.sparse.csr_matrix((self.rows.shape[0], 1))])
            rows = self.sparse.vstack([wide, slower], format="csr")
            right = np.concatenate([np.ones(self.rows.shape[0]), np.zeros(n)])
            result = self.solve(cost, rows, right, bounds)
            multipliers = -np.asarray(result.ineqlin.marginals)
            self.upper = min(self.upper, self._bound(multipliers[: self.rows.shape[0]], multipliers[-n:]))
            eps = torch.from_numpy(np.clip(result.x[:n] * self.unit, 0.0, self.caps.numpy()))
            if self.separate(eps) <= 1 + _CLOSE_ENOUGH:
                break
        return eps

    def _bound(self, on_rows: Array, on_points: Array) -> float:
        """What the multipliers prove about the largest minimum, raised by the rounding of the sums and of the rows."""
        weight, share = np.clip(on_rows, 0.0, None), np.clip(on_points, 0.0, None)
        if not share.sum() > 0:
            return self.unit
        share /= share.sum()
        caps = self.caps.numpy() / self.unit
        met = self.rows.T @ weight
        price, leftover = weight.sum(), (caps * np.clip(share - met, 0.0, None)).sum()
        spread = price + (caps * (share + self._magnitudes.T @ weight)).sum()
        # A row's entries pass through norms, distances and products, and may cancel: they err in units of their magnitudes. Sums
        # over at most all rows follow.
        slack = (
            gamma(4 * self._flat.shape[1] + 4 * self.table.inputs[0].numel() + len(weight) + 64, torch.float64) * spread
        )
        _, bound = schedule_optimality.sides(slowest=0.0, price=price, leftover=leftover)
        return float((bound + slack) * self.unit)
