r"""The fastest relaxation of a table within a budget: the slowest point first, then all of them together (T6a).

The contraction at point `i` is `1 - eps_i`, so an accuracy costs about `log(1/accuracy) / eps_i` evaluations there. First the
largest possible minimum of `eps` is found; then, among the schedules that keep it, the one with the smallest `sum 1/eps_i`, which is
unique because the sum is strictly convex. Each `1/x` is the largest of its tangents `2/a - x/a^2`, so this is a linear program too,
with tangents added where the last solution lies. The sum of `eps` itself is no objective: its maximum can set a step to 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eqtheory.bounds import Bound, Bracket, Evidence, Side
from eqtheory.constructions._adaptive import adaptive_relaxation
from eqtheory.constructions._cutting_planes import CuttingPlanes
from eqtheory.constructions._rules import SquaredRadius
from eqtheory.constructions._schedules import ScheduledRelaxation, all_positive, repaired, schedulable
from eqtheory.errors import InputError, SolverError
from eqtheory.lipschitz import largest_slope
from eqtheory.roundoff import gamma
from eqtheory.targets import SampleTable
from eqtheory.theorems.sufficiency import BUDGET
from eqtheory.validate import positive

__all__ = ["ScheduleComparison", "compare_schedules", "distinct_points", "fastest_schedule"]

_POINTS = 2000
"""Points beyond which the linear programs take more than minutes."""
_ROUNDS = 40
_FIRST_TANGENTS = 12
_TOTAL_TO = 1e-6
"""Relative gap between the total found and what the tangents prove, at which the second stage ends."""
_KEEP = 1e-8
"""What the second stage may give away of the largest minimum, the accuracy to which the first one knows it."""


def fastest_schedule(table: SampleTable, L0: float, L1: float, *, time_limit: float = 120.0) -> ScheduledRelaxation:
    """Build the relaxation of a table that is fastest at its slowest point, and then in total, within a budget.

    Args:
        table: the map, up to 2000 points, in l2, sup or l1 norms, float64.
        L0: budget at the zero state, positive.
        L1: budget for large states, not negative.
        time_limit: seconds for all linear programs together.

    Returns:
        The operator. Its steps are admissible, which `certify()` decides exactly; `slowest` brackets the largest minimum that any
        admissible schedule has. Cost: linear programs with a few rows per point; 500 points take some seconds.

    Raises:
        InputError: an unusable table or budget, one too small for positive steps, or no solution within the time.
        MissingDependencyError: scipy is not installed.
        SolverError: a linear program failed, or tangents did not settle the total.

    Theorem: T6a.

    Example:
        >>> from eqtheory.targets import from_samples
        >>> G = fastest_schedule(from_samples([0.0, 1.0], [100.0, -200.0]), 1.0, 1.0)
        >>> [round(e, 6) for e in G.eps.tolist()], G.certify().verdict.kind.value
        ([0.003333, 0.003333], 'proved')
    """
    schedulable(table, L0, L1)
    positive("time_limit", time_limit)
    distinct, group = distinct_points(table)
    if len(distinct) > _POINTS:
        raise InputError(
            "table",
            f"{len(distinct)} distinct points",
            f"at most {_POINTS}",
            "use greatest_schedule or adaptive_relaxation",
        )
    if len(distinct) == 1:
        eps, upper = torch.ones(1, dtype=torch.float64), 1.0
    elif L1 == 0:
        eps, upper = _constant(distinct, L0)
    else:
        planes = CuttingPlanes(distinct, L0, L1, time_limit=time_limit)
        first = all_positive(planes.largest_minimum(), L0)
        upper = planes.upper
        eps = _smallest_total(planes, first)
    if len(distinct) > 1:
        eps = repaired(distinct, eps, L0, L1)
    found = Bracket(
        Bound(float(eps.min()), Side.LOWER, "an admissible schedule", Evidence.PROVED),
        Bound(max(upper, float(eps.min())), Side.UPPER, "multipliers of its linear program", Evidence.PROVED),
    )
    return ScheduledRelaxation(table, eps[group], L0=L0, L1=L1, slowest=found)


def distinct_points(table: SampleTable) -> tuple[SampleTable, Tensor]:
    """Drop repeated points, which carry one value and get one step.

    Args:
        table: the map.

    Returns:
        The map on its distinct points, and for every row of the table the number of its point among them.
    """
    flat = table.inputs.reshape(len(table), -1) + 0.0
    _, group = torch.unique(flat, dim=0, return_inverse=True)
    count = int(group.max()) + 1
    first = torch.full((count,), len(table)).scatter_reduce(0, group, torch.arange(len(table)), "amin")
    if count == len(table):
        return table, torch.arange(len(table))
    norms = {"input_norm": table.input_norm, "output_norm": table.output_norm}
    return SampleTable(table.inputs[first], table.values[first], **norms), group


def _constant(table: SampleTable, L0: float) -> tuple[Tensor, float]:
    """With `L1 = 0` all steps are equal, and `L0 / lip F` is the largest that fits."""
    slope = float(largest_slope(table, table.values).value)
    step = min(1.0, L0 / slope) if slope > 0 else 1.0
    # The slope is a quotient of two norms of differences of stored numbers, which round k + 2 and p + 2 times.
    up = 1 + gamma(table.values[0].numel() + table.inputs[0].numel() + 16, torch.float64)
    return torch.full((len(table),), step, dtype=torch.float64), min(1.0, step * up)


def _smallest_total(planes: CuttingPlanes, first: Tensor) -> Tensor:
    """Minimise `sum 1/x` among the schedules that keep the largest minimum, by tangents."""
    sparse = planes.sparse
    n, unit = len(planes.table), planes.unit
    floor = float(first.min()) * (1 - _KEEP) / unit
    caps = np.maximum(planes.caps.numpy() / unit, floor)
    bounds = np.stack([np.full(2 * n, floor), np.concatenate([caps, np.full(n, np.inf)])], axis=1)
    bounds[n:, 0] = 0.0
    cost = np.concatenate([np.zeros(n), np.ones(n) / n])
    grid = [floor * (caps / floor) ** (k / (_FIRST_TANGENTS - 1)) for k in range(_FIRST_TANGENTS)]
    tangents, right = [], []

    def touch(a: Any) -> None:
        # 1/x >= 2/a - x/a^2, times a: s a + x/a >= 2.
        tangents.append(sparse.hstack([-sparse.diags(1 / a), -sparse.diags(a)]))
        right.append(np.full(n, -2.0))

    for a in grid:
        touch(a)
    best, least = first, float((1 / first).sum())
    for _ in range(_ROUNDS):
        wide = sparse.hstack([planes.rows, sparse.csr_matrix((planes.rows.shape[0], n))])
        rows = sparse.vstack([wide, *tangents], format="csr")
        result = planes.solve(cost, rows, np.concatenate([np.ones(planes.rows.shape[0]), *right]), bounds)
        x = np.clip(result.x[:n], floor, caps)
        eps = torch.from_numpy(x * unit)
        ratio = max(1.0, planes.separate(eps))
        # Divided by its ratio a schedule is admissible, so its total is one that can be had.
        total = float((1 / eps).sum()) * ratio
        if ratio <= 1 + _KEEP and total < least:
            best, least = eps, total
        if ratio <= 1 + _KEEP and float((1 / x).sum()) <= n * result.fun * (1 + _TOTAL_TO):
            return best
        touch(x)
    message = f"{_ROUNDS} rounds of tangents did not settle the smallest total of {n} steps; rescale the table"
    raise SolverError(message, best)


@dataclass(frozen=True)
class ScheduleComparison:
    """Three relaxations of one table with the same budget `L0 = L1 = 2 c`.

    Args:
        budget: the common constant.
        smallest_squared: smallest step of T3.
        smallest_product: smallest step of T3b.
        smallest_fastest: smallest step of the fastest schedule.
        total_squared: `sum 1/eps` of T3.
        total_product: `sum 1/eps` of T3b.
        total_fastest: `sum 1/eps` of the fastest schedule.
    """

    budget: float
    smallest_squared: float
    smallest_product: float
    smallest_fastest: float
    total_squared: float
    total_product: float
    total_fastest: float

    def __str__(self) -> str:
        return (
            f"L0 = L1 = {self.budget:g}: min eps {self.smallest_squared:.3g} (T3), {self.smallest_product:.3g} (T3b), "
            f"{self.smallest_fastest:.3g} (fastest); sum 1/eps {self.total_squared:.4g}, {self.total_product:.4g}, "
            f"{self.total_fastest:.4g}"
        )


def compare_schedules(table: SampleTable, *, scale: float = 1.0, time_limit: float = 120.0) -> ScheduleComparison:
    """Compare the steps of T3 and T3b with the fastest schedule of the same budget.

    The steps of T3 and T3b keep the stronger joint bound `2 c max(1, |y|)`; the schedule only has to keep `2 c (1 + |y|)`.

    Args:
        table: the map.
        scale: the factor `c` of T3a, in `(0, 1]`.
        time_limit: seconds for the linear programs.

    Returns:
        Smallest steps and totals.
    """
    squared = adaptive_relaxation(table, rule=SquaredRadius(), scale=scale).eps
    product = adaptive_relaxation(table, scale=scale).eps
    fastest = fastest_schedule(table, BUDGET * scale, BUDGET * scale, time_limit=time_limit)
    steps = (squared, product, fastest.eps)
    smallest, total = [float(e.min()) for e in steps], [float((1 / e).sum()) for e in steps]
    return ScheduleComparison(BUDGET * scale, *smallest, *total)
