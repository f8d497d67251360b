r"""A relaxation of a table with a step chosen point by point, and how a nearly admissible one is made admissible.

On a finite set the relaxations of budget `(L0, L1)` are exactly those with `0 < eps <= 1` and, for all pairs,

    |eps_i - eps_j| <= L1 d_ij,        |eps_i F_i - eps_j F_j| <= L0 d_ij                               (T6a)

*Repair.* The left sides are homogeneous in `eps`, the right sides do not depend on it. If every left side is at most `q >= 1`
times its right side, `eps / q` is admissible, and no step has lost more than the factor `q`. In floating point let `q` be the
largest of `(left + error) / (right - error)` with bounds on the rounding of both and on that of the steps that will be stored; all
these errors of the left sides scale with `eps` too, so after one division by `q (1 + 8 u)` every pair holds for the stored numbers
exactly. Steps that are equal stay equal under division, so close points of one value cost nothing.
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from eqtheory.bounds import Bound, Bracket, Evidence, Side
from eqtheory.constructions._certificate import SimplicityCertificate, certify_simplicity, require_pairs
from eqtheory.constructions._measured_pairs import MeasuredPairs, line_order, measured_neighbours, measured_pairs
from eqtheory.constructions._relaxation import StepRelaxation
from eqtheory.errors import InputError
from eqtheory.norms import Euclidean, Sum, Sup
from eqtheory.roundoff import unit_roundoff
from eqtheory.targets import SampleTable

__all__ = ["ScheduledRelaxation", "all_positive", "largest_ratio", "repaired", "schedulable"]


@final
class ScheduledRelaxation(StepRelaxation):
    """`G(y, i) = y + eps_i (F_i - y)` on the points of a table, with one stored step for each.

    Args:
        table: the map; inputs of the operator are indices of its points.
        eps: the steps, shape `(n,)`, each in `(0, 1]`.
        L0: the budget they keep at the zero state.
        L1: the budget they keep for large states.
        slowest: lower and upper bound on the largest minimum any admissible schedule has, where they were found.

    Theorem: T6a.
    """

    def __init__(
        self, table: SampleTable, eps: Tensor, *, L0: float, L1: float, slowest: Bracket | None = None
    ) -> None:
        assumptions = ("admissible by construction; certify() decides the stored steps",)
        norm = table.output_norm
        bounds = [Bound(c, Side.UPPER, "T6a", Evidence.PROVED, norm.name, assumptions) for c in (float(L0), float(L1))]
        super().__init__(L0=bounds[0], L1=bounds[1], output_norm=norm, input_metric=table)
        self.table, self.L0, self.L1, self.slowest = table, float(L0), float(L1), slowest
        self.eps = eps.clone()

    def target(self, x: Tensor) -> Tensor:
        """Look the values up.

        Args:
            x: indices, shape `(batch,)`.

        Returns:
            Values, shape `(batch, ...)`.
        """
        return self.table(x)

    def relaxation(self, x: Tensor) -> Tensor:
        """Look the steps up.

        Args:
            x: indices, shape `(batch,)`.

        Returns:
            Shape `(batch,)`.
        """
        return self.eps[self.table.check_indices("x", x)]

    @property
    def total(self) -> float:
        """`sum 1/eps_i`: in units of one logarithm of the accuracy, the evaluations all points need together."""
        return float((1 / self.eps).sum())

    def certify(self) -> SimplicityCertificate:
        """Check the stored steps against the budget over all pairs, in exact arithmetic.

        Returns:
            The certificate; its verdict is `proved` or `refuted`, never an estimate.

        Raises:
            ShapeError: fewer than two points, so there is no pair to check.
        """
        require_pairs(self.table)
        return certify_simplicity(self.table, self.eps, self.L0, self.L1)


def schedulable(table: SampleTable, L0: float, L1: float) -> None:
    """Require a table and a budget for which stored steps can be admissible.

    Args:
        table: what came.
        L0: budget at the zero state.
        L1: budget for large states.

    Raises:
        InputError: no table, not in float64, a norm without exact arithmetic, or a budget that is not usable.
    """
    if not isinstance(table, SampleTable):
        raise InputError("table", type(table).__name__, "a SampleTable", "use targets.from_samples(inputs, values)")
    if table.values.dtype != torch.float64:
        raise InputError("table", str(table.values.dtype), "float64", "convert inputs and values with .double()")
    if not isinstance(table.output_norm, (Euclidean, Sup, Sum)):
        raise InputError(
            "table.output_norm", table.output_norm.name, "l2, sup or l1", "measure the values in one of these norms"
        )
    if not isinstance(table.input_norm, (Euclidean, Sup, Sum)):
        raise InputError(
            "table.input_norm", table.input_norm.name, "l2, sup or l1", "measure the inputs in one of these norms"
        )
    for name, value in (("L0", L0), ("L1", L1)):
        if not 0 <= value < float("inf"):
            raise InputError(name, str(value), "a finite number >= 0", f"pass for example {name}=2.0")
    if L0 == 0:
        raise InputError(
            "L0",
            str(L0),
            "L0 > 0",
            "with L0 = 0 all eps_i F_i would have to agree to the last digit; use exact_greatest_schedule in rationals",
        )


def all_positive(eps: Tensor, L0: float) -> Tensor:
    """Require steps that float64 and the linear programs can tell from 0; a step of 0 moves nothing and solves nothing.

    Args:
        eps: the steps, shape `(n,)`.
        L0: budget at the zero state.

    Returns:
        The steps, unchanged.

    Raises:
        InputError: the smallest step is 0 or not a number.
    """
    smallest = float(eps.min())
    if not smallest > 0:
        raise InputError(
            "L0",
            f"{L0:g}, which leaves a smallest step of {smallest:g}",
            "steps that can be told from 0",
            "raise L0, or rescale the values",
        )
    return eps


def largest_ratio(
    table: SampleTable, eps: Tensor, L0: float, L1: float, *, stored_anew: bool = False
) -> tuple[float, tuple[int, int]]:
    """Largest ratio of a left side to its right side over all pairs, an upper bound in spite of rounding.

    Args:
        table: the map.
        eps: one step per point, shape `(n,)`.
        L0: budget at the zero state.
        L1: budget for large states.
        stored_anew: count also what one more rounding of every step can add; equal steps stay equal and add nothing.

    Returns:
        The ratio, and the pair. Infinite where a distance is lost in the rounding of its own points. Cost: O(n^2) in blocks.
    """
    again = 4 * unit_roundoff(eps.dtype) if stored_anew else 0.0
    order = line_order(table)
    if order is not None:
        i, j = order[:-1], order[1:]
        ratio = _ratios(measured_neighbours(table, eps, order), L0, L1, again * (eps[i] + eps[j]), (i, j), again)
        k = int(ratio.argmax())
        return float(ratio[k]), (int(i[k]), int(j[k]))
    worst, pair = 0.0, (0, 0)
    every = slice(None)
    for rows in table.blocks():
        found = measured_pairs(table, eps, rows)
        ratio = _ratios(found, L0, L1, again * (eps[rows, None] + eps), ((rows, None), every), again)
        index = int(ratio.argmax())
        if float(ratio.reshape(-1)[index]) > worst:
            worst = float(ratio.reshape(-1)[index])
            pair = (rows.start + index // len(table), index % len(table))
    return worst, pair


def _ratios(
    found: MeasuredPairs, L0: float, L1: float, step_again: Tensor, of: tuple[Any, Any], again: float
) -> Tensor:
    """The larger ratio of the two halves for every pair, `of` being the indices of its points."""
    allowed = found.distance * (1 - 4 * found.distance_error)
    step = found.step + found.step_error + step_again
    offset = found.offset + found.offset_error + again * (found.sizes[of[0]] + found.sizes[of[1]])
    equal = found.step == 0  # equal steps stay equal, and equal values then leave nothing to round apart
    worst = torch.zeros_like(found.step)
    for needed, constant, free in ((step, L1, equal), (offset, L0, equal & (found.offset == 0))):
        room = constant * allowed
        quotient = torch.where(room > 0, needed / torch.where(room > 0, room, 1.0), torch.inf)
        worst = torch.maximum(worst, torch.where(free, 0.0, quotient))
    return worst


def repaired(table: SampleTable, eps: Tensor, L0: float, L1: float) -> Tensor:
    """Divide a nearly admissible schedule by the factor that makes it admissible.

    Args:
        table: the map.
        eps: one step per point, shape `(n,)`, in `(0, 1]`.
        L0: budget at the zero state.
        L1: budget for large states.

    Returns:
        Admissible steps, which `certify_simplicity` proves.

    Raises:
        InputError: two points are so close that no stored steps can be told to be admissible there, or a step is 0.
    """
    all_positive(eps, L0)
    ratio, (i, j) = largest_ratio(table, eps, L0, L1)
    if ratio <= 1:
        return eps
    ratio, (i, j) = largest_ratio(table, eps, L0, L1, stored_anew=True)
    if ratio < float("inf") and float(eps.min()) / ratio > torch.finfo(eps.dtype).tiny:
        eps = eps / (ratio * (1 + 8 * unit_roundoff(eps.dtype)))
        ratio, (i, j) = largest_ratio(table, eps, L0, L1)
        if ratio <= 1:
            return eps
    raise InputError(
        "table",
        f"points {i} and {j}, closer than the rounding of their steps or with values too large",
        "distances that float64 steps can tell apart",
        "merge such points or rescale the table",
    )
