r"""The greatest schedule of scalar values of one sign: larger at every point than any other admissible one (T6a).

For `F >= 0` the budget reads `eps_i <= T(eps)_i = min(1, min_j phi_ij(eps_j))` with two affine increasing bounds for each pair,

    step:   eps_j + L1 d_ij,          offset:   (eps_j F_j + L0 d_ij) / F_i    (none where F_i = 0).

So the larger of two admissible schedules is admissible, and the greatest one is the limit of `eps <- T(eps)` from 1. That limit is
not reached in finitely many rounds: two points of nearly equal values hand a bound back and forth and gain `F_j / F_i` each time.

*Policy iteration* reaches it. Let every point name the bound that is smallest at the current `eps`, or the constant 1. The named
bounds form a graph in which every point has one predecessor, so each component has at most one cycle. Around it the bounds
compose to `e -> g e + c`, whose iterates from above tend to `c / (1 - g)` if `g < 1`; from there the values of the tree follow.
If `g >= 1`, a cycle that lowers anything has `g e + c < e`, impossible for `c >= 0`, so only `e` itself is left. The new values
are not larger, and not smaller than the greatest schedule, since the named bounds are at least `T`. A policy comes up at most
once while values fall, and there are finitely many: in exact arithmetic the greatest schedule is reached.

*On the line* sorted neighbours imply all other pairs, and two sweeps are exact. Let `R` be the bound that a point puts on its
right neighbour, `L` the one in the other direction, and let each value start at its cap, the greatest it can have beside either
neighbour alone. Below the cap of a pair `L(R(e)) >= e`: the admissible partners of `e` form an interval, which is not empty, as
multiples of the greatest pair are admissible; its upper end is `R(e)`, and `L(e') >= e` holds on it. Sweep to the right,
`V_i = min(cap_i, R(V_{i-1}))`, and back, `W_i = min(V_i, L(W_{i+1}))`. If `W_i = V_i`, then `W_{i+1} <= V_{i+1} <= R(W_i)`; otherwise
`W_i = L(W_{i+1})` and `R(W_i) >= W_{i+1}`, by the same argument from the other side. So `W` is admissible, and every bound that
was used binds every admissible schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Bracket, Evidence, Side
from eqtheory.constructions._fastest_schedule import distinct_points
from eqtheory.constructions._schedules import ScheduledRelaxation, repaired, schedulable
from eqtheory.errors import InputError
from eqtheory.roundoff import gamma
from eqtheory.targets import RationalTable, SampleTable

__all__ = ["exact_greatest_schedule", "greatest_on_line", "greatest_schedule"]

_ROUNDS = 100
"""Policies tried; what is left then is divided away by the repair. Tables seen needed fewer than twenty."""


def _offset_bound(e: Any, own: Any, other: Any, room: Any) -> Any:
    """`(e F_j + L0 d) / F_i`; 1, which never binds, where `F_i = 0`."""
    return (e * other + room) / own if own > 0 else 1


def _pair_cap(own: Any, other: Any, delta: Any, L0: Any, L1: Any) -> Any:
    """The greatest step a point can have beside one other point: the offset alone, or both constraints around their cycle."""
    cap = min(1, _offset_bound(1, own, other, L0 * delta))
    return min(cap, (L0 + L1 * other) * delta / (own - other)) if own > other else cap


def greatest_on_line(points: Sequence[Any], values: Sequence[Any], L0: Any, L1: Any) -> list[Any]:
    """Find the greatest schedule on the line by the caps of neighbours and two sweeps.

    Args:
        points: increasing numbers.
        values: numbers of one sign, one per point.
        L0: budget at the zero state.
        L1: budget for large states.

    Returns:
        The steps, exact where the numbers are rationals. Cost: linear.

    Theorem: T6a.

    Example:
        >>> from fractions import Fraction as Q
        >>> greatest_on_line([Q(1, 4), Q(1, 2), Q(1)], [4, 2, 1], 0, Q(1, 3))
        [Fraction(1, 12), Fraction(1, 6), Fraction(1, 3)]
    """
    F = [abs(v) for v in values]
    gaps = [b - a for a, b in pairwise(points)]
    n = len(F)
    eps: list[Any] = [1] * n
    for i, d in enumerate(gaps):
        eps[i] = min(eps[i], _pair_cap(F[i], F[i + 1], d, L0, L1))
        eps[i + 1] = min(eps[i + 1], _pair_cap(F[i + 1], F[i], d, L0, L1))
    for i in range(1, n):
        d = gaps[i - 1]
        eps[i] = min(eps[i], eps[i - 1] + L1 * d, _offset_bound(eps[i - 1], F[i], F[i - 1], L0 * d))
    for i in reversed(range(n - 1)):
        d = gaps[i]
        eps[i] = min(eps[i], eps[i + 1] + L1 * d, _offset_bound(eps[i + 1], F[i], F[i + 1], L0 * d))
    return eps


@dataclass
class _Policy:
    """The bound that every point has named: `eps_i = slope_i eps_{parent_i} + constant_i`; no parent where it is 1.

    In floating point every result is raised by the factor `up`, more than its own rounding can have lowered it. All quantities are
    positive and bounds increase in them, so by induction no value falls below the greatest schedule, in `c / (1 - g)` neither,
    however close to 1 the raised `g` is.
    """

    parent: list[int]
    slope: list[Any]
    constant: list[Any]
    up: Any = 1

    def values(self, current: Sequence[Any]) -> list[Any]:
        """Largest values that satisfy the named bounds, starting from the current ones."""
        n = len(self.parent)
        out, state = list(current), [0] * n  # 0 unseen, 1 on the path, 2 done
        for start in range(n):
            path, i = [], start
            while i >= 0 and state[i] == 0:
                state[i] = 1
                path.append(i)
                i = self.parent[i]
            if i >= 0 and state[i] == 1:
                self._close(path[path.index(i) :], out)
            for k in reversed(path):
                j = self.parent[k]
                if state[k] == 1 and j >= 0:
                    out[k] = min(out[k], (self.slope[k] * out[j] + self.constant[k]) * self.up)
                state[k] = 2
        return out

    def _close(self, cycle: list[int], out: list[Any]) -> None:
        """Set the first point of a cycle to the limit of its bounds around it."""
        g: Any = 1
        c: Any = 0
        for k in cycle:  # from a point to its parent: the outermost bound first
            c = (c + g * self.constant[k]) * self.up
            g = g * self.slope[k] * self.up
        if g < 1:
            out[cycle[0]] = min(out[cycle[0]], c / (1 - g) * self.up)


def _iterate(start: list[Any], improve: Callable[[list[Any]], _Policy | None]) -> list[Any]:
    """Alternate between naming bounds and evaluating them until nothing improves."""
    eps = start
    for _ in range(_ROUNDS):
        policy = improve(eps)
        if policy is None:
            break
        eps = policy.values(eps)
    return eps


def exact_greatest_schedule(table: RationalTable, L0: Fraction | int, L1: Fraction | int) -> tuple[Fraction, ...]:
    """Find the greatest schedule of a rational table in rational arithmetic.

    Args:
        table: a scalar map of one sign on a finite metric space.
        L0: budget at the zero state; may be 0 where no two values differ in being zero.
        L1: budget for large states.

    Returns:
        The steps, exactly. A step is 0 where no positive one is admissible, which only `L0 = 0` can cause.

    Raises:
        InputError: values that are not scalar or not of one sign.

    Theorem: T6a.

    Example:
        >>> table = RationalTable.of_points(["1/4", "1/2", 1], [4, 2, 1])
        >>> exact_greatest_schedule(table, 0, Fraction(1, 3))
        (Fraction(1, 12), Fraction(1, 6), Fraction(1, 3))
    """
    F = [abs(v) for v in _one_sign([value[0] for value in table.values], len(table.values[0]))]
    n = len(F)
    named = _Policy([-1] * n, [Fraction(0)] * n, [Fraction(1)] * n)

    def improve(eps: list[Any]) -> _Policy | None:
        changed = False
        for i in range(n):
            for j in range(n):
                if i == j:
                    continue
                d = table.distances[i][j]
                bounds = [(Fraction(1), L1 * d)] + ([(F[j] / F[i], L0 * d / F[i])] if F[i] > 0 else [])
                for slope, constant in bounds:
                    at_parent = named.slope[i] * eps[named.parent[i]] if named.parent[i] >= 0 else Fraction(0)
                    if slope * eps[j] + constant < min(eps[i], at_parent + named.constant[i]):
                        named.parent[i], named.slope[i], named.constant[i] = j, slope, constant
                        changed = True
        return named if changed else None

    eps = [Fraction(1)] * n
    while (policy := improve(eps)) is not None:
        eps = policy.values(eps)
    return tuple(eps)


def greatest_schedule(table: SampleTable, L0: float, L1: float) -> ScheduledRelaxation:
    """Build the relaxation of a scalar table of one sign whose step is the largest possible at every point at once.

    Args:
        table: scalar values of one sign (zeros allowed), any number of points, float64.
        L0: budget at the zero state, positive.
        L1: budget for large states, not negative.

    Returns:
        The operator; steps are admissible, which `certify()` decides exactly, and within the reported `slowest` of the greatest
        ones. Cost: linear after a sort for points on the line; otherwise O(n^2) for each of usually fewer than twenty policies.

    Raises:
        InputError: an unusable table or budget, values that are not scalar or not of one sign.

    Theorem: T6a.

    Example:
        >>> from eqtheory.targets import from_samples
        >>> G = greatest_schedule(from_samples([0.0, 1.0, 3.0], [1.0, 9.0, 2.0]), 2.0, 1.0)
        >>> [round(e, 6) for e in G.eps.tolist()], G.certify().verdict.kind.value
        ([1.0, 0.333333, 1.0], 'proved')
    """
    schedulable(table, L0, L1)
    flat = table.values.reshape(len(table), -1)
    _one_sign(flat[:, 0].tolist(), flat.shape[1])
    distinct, group = distinct_points(table)
    points, F = distinct.inputs.reshape(len(distinct), -1), distinct.values.reshape(-1).abs()
    if points.shape[1] == 1:
        order = points[:, 0].argsort()
        found = greatest_on_line(points[order, 0].tolist(), F[order].tolist(), L0, L1)
        eps = torch.empty_like(F)
        eps[order] = torch.tensor(found, dtype=F.dtype)
    else:
        eps = torch.tensor(_iterate([1.0] * len(F), _improvement(distinct, F, L0, L1)), dtype=F.dtype)
    above = eps.min()
    if len(distinct) > 1:
        eps = repaired(distinct, eps, L0, L1)
    # Policies raise what they round. On the line at most 2 n bounds of fewer than eight roundings each follow one another, and none
    # cancels: differences are of stored numbers.
    room = 1 + gamma(16 * len(F) + 16, torch.float64) if points.shape[1] == 1 else 1.0
    slowest = Bracket(
        Bound(float(eps.min()), Side.LOWER, "an admissible schedule", Evidence.PROVED),
        Bound(float(above) * room, Side.UPPER, "bounds that every admissible schedule obeys", Evidence.PROVED),
    )
    return ScheduledRelaxation(table, eps[group], L0=L0, L1=L1, slowest=slowest)


def _improvement(table: SampleTable, F: Tensor, L0: float, L1: float) -> Callable[[list[Any]], _Policy | None]:
    """Naming of bounds for floating-point tables: all pairs in blocks, keeping a name unless another is clearly smaller."""
    n = len(F)
    parent = torch.full((n,), -1)
    slope, constant = torch.zeros_like(F), torch.ones_like(F)
    clearly = 1 - gamma(64, torch.float64)
    up = 1 + gamma(8, torch.float64)  # a product, a sum, a quotient, and the raise itself
    # A named bound holds in spite of the rounding of its distance, of the quotient and of the product.
    raised = 1 + gamma(2 * table.inputs[0].numel() + 24, torch.float64)
    own = torch.where(F > 0, F, 1.0).unsqueeze(1)

    def improve(eps: list[Any]) -> _Policy | None:
        e = torch.tensor(eps, dtype=F.dtype)
        z, changed = e * F, False
        for rows in table.blocks():
            d = table.input_norm.pairwise(table.inputs[rows], table.inputs)
            d[torch.arange(d.shape[0]), torch.arange(rows.start, rows.stop)] = torch.inf  # no bound on itself
            step = torch.add(e, d, alpha=L1) if L1 > 0 else torch.where(d < torch.inf, e, torch.inf)
            by_step = step.min(dim=1)
            by_offset = torch.add(z, d, alpha=L0).min(dim=1)
            offset = torch.where(F[rows] > 0, by_offset.values / own[rows, 0], torch.inf)
            j = torch.where(by_step.values <= offset, by_step.indices, by_offset.indices)
            k = (torch.minimum(by_step.values, offset) < e[rows] * clearly).nonzero().squeeze(1)
            if len(k):
                changed = True
                i, delta = k + rows.start, d[k, j[k]]
                stepped = by_step.values[k] <= offset[k]
                parent[i] = j[k]
                slope[i] = torch.where(stepped, 1.0, F[j[k]] / own[i, 0] * up)
                constant[i] = torch.where(stepped, L1 * delta, L0 * delta / own[i, 0]) * raised
        return _Policy(parent.tolist(), slope.tolist(), constant.tolist(), up) if changed else None

    return improve


def _one_sign(values: list[Any], length: int) -> list[Any]:
    if length != 1:
        raise InputError("table.values", f"vectors of length {length}", "scalars", "use fastest_schedule for vectors")
    if min(values) < 0 < max(values):
        raise InputError(
            "table.values",
            f"values from {min(values)} to {max(values)}",
            "one sign",
            "use fastest_schedule for both signs",
        )
    return values
