r"""Is a relaxation within its budget? Decided for every pair of a table in exact arithmetic.

On a finite set the relaxation `G(y, i) = y + eps_i (F_i - y)` has budget `(B, B)`, jointly `B max(1, |y|)`, iff for all pairs

    |eps_i - eps_j| + |eps_i F_i - eps_j F_j| <= B d(i, j).

Stored floating-point numbers are dyadic rationals. Scaled by a power of two they are integers, and the comparison is one of
integers: for sup and l1 distances directly, for Euclidean ones after squaring both sides. On large tables a floating-point
filter settles the pairs whose margin exceeds its own rounding error, and only the others go to integers; either way every
pair is decided rigorously. For Euclidean vector values the two halves of the budget are decided separately, since their
joint form would need two square roots.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eqtheory.bounds import Verdict, VerdictKind
from eqtheory.errors import InputError
from eqtheory.norms import Euclidean, Norm, Sum, Sup
from eqtheory.roundoff import gamma
from eqtheory.targets import SampleTable
from eqtheory.theorems.sufficiency import BUDGET, joint_budget, relaxation_step
from eqtheory.validate import batch_of

__all__ = ["BudgetCertificate", "certify_budget"]

Integers = npt.NDArray[np.object_]

_FILTERED = "stored numbers, by floating point with a rigorous rounding bound and integers where that leaves it open"

_ALL_EXACT_PAIRS = 500_000
"""Up to here every pair goes through integers; beyond, the filter runs first. A second or two either way."""


@dataclass(frozen=True)
class BudgetCertificate:
    """What was decided about a relaxation of a table.

    Args:
        budget: the common value of `L0` and `L1` that was checked.
        pairs: pairs of points decided; all of them.
        exact_pairs: how many of these needed integers.
        joint: whether the joint form was decided, or the two halves.
        verdict: `proved`, or `refuted` with the violating pair.
    """

    budget: float
    pairs: int
    exact_pairs: int
    joint: bool
    verdict: Verdict

    def __str__(self) -> str:
        form = f"|G(y,x) - G(y,x')| <= {self.budget:g} max(1,|y|) d" if self.joint else f"L0 = L1 = {self.budget:g}"
        return f"{form} on all {self.pairs:,} pairs: {self.verdict}"


@dataclass(frozen=True)
class _Dyadic:
    """An array of rationals `numbers * 2^exponent`."""

    numbers: Integers
    exponent: int

    @staticmethod
    def of(t: Tensor) -> _Dyadic:
        mantissa, exponents = np.frexp(t.detach().cpu().double().numpy())
        whole = np.ldexp(mantissa, 53).astype(np.int64).astype(object)
        powers = exponents.astype(np.int64) - 53
        nonzero = powers[mantissa != 0]
        least = int(nonzero.min()) if nonzero.size else 0
        shift = np.where(mantissa != 0, powers - least, 0).astype(object)
        return _Dyadic(whole * (2**shift), least)

    def scaled(self, exponent: int) -> Integers:
        return self.numbers << (self.exponent - exponent)


def _power(norm: Norm) -> int:
    """Return 2 where only the square of the norm is rational, else 1."""
    return 2 if isinstance(norm, Euclidean) else 1


def _measure(norm: Norm, v: Integers) -> Integers:
    """Norm (its square for Euclidean) of integer vectors along the last axis."""
    if isinstance(norm, Euclidean):
        return (v * v).sum(axis=-1)
    if isinstance(norm, Sup):
        return np.abs(v).max(axis=-1)
    if isinstance(norm, Sum):
        return np.abs(v).sum(axis=-1)
    raise InputError("norm", norm.name, "l2, sup or l1", "measure the table in one of these norms")


class _ExactPairs:
    """The inequality in integers, for any list of pairs."""

    def __init__(self, table: SampleTable, eps: Tensor, budget: float) -> None:
        self.table, self.budget = table, Fraction(budget)
        scalar = table.values[0].numel() == 1
        self.output_norm: Norm = Sup() if scalar else table.output_norm  # every norm of a scalar is its absolute value
        self.joint = _power(self.output_norm) == 1
        points = _Dyadic.of(table.inputs.reshape(len(table), -1))
        values = _Dyadic.of(table.values.reshape(len(table), -1))
        steps = _Dyadic.of(eps)
        offsets = _Dyadic(steps.numbers[:, None] * values.numbers, steps.exponent + values.exponent)
        # One common unit for all four quantities, so that they can be added and compared.
        unit = min(points.exponent, steps.exponent, offsets.exponent)
        self.points, self.steps, self.offsets = points.scaled(unit), steps.scaled(unit), offsets.scaled(unit)

    def sides(self, i: npt.NDArray[np.intp], j: npt.NDArray[np.intp]) -> list[tuple[Integers, Integers, int]]:
        """Left and right sides, as integers of equal scale, with the power that was taken of both."""
        distance = _measure(self.table.input_norm, self.points[i] - self.points[j])
        power = _power(self.table.input_norm)
        step = np.abs(self.steps[i] - self.steps[j])
        offset = _measure(self.output_norm, self.offsets[i] - self.offsets[j])
        # At delta = 1 the inequality of the registry reads `lhs <= rate`; times the distance it is the claim.
        scale = self.budget / BUDGET
        if self.joint:
            lhs, rate = joint_budget.sides(step_gap=step, offset_gap=offset, delta=1, scale=scale)
            return [((lhs * rate.denominator) ** power, distance * rate.numerator**power, power)]
        _, rate = relaxation_step.sides(gap=0, delta=1, scale=scale)
        square = distance if power == 2 else distance * distance
        return [(part * rate.denominator**2, square * rate.numerator**2, 2) for part in (step * step, offset)]


def _relative(lhs: int, rhs: int, power: int) -> float:
    if rhs == 0:
        return 0.0 if lhs == 0 else -float("inf")
    try:
        ratio = lhs / rhs
    except OverflowError:  # the ratio of two integers can exceed the largest float; its sign is what was decided
        return -float("inf")
    return 1.0 - (sqrt(ratio) if power == 2 else ratio)


def _undecided(table: SampleTable, eps: Tensor, budget: float, rows: slice) -> tuple[Tensor, Tensor, float]:
    """Pairs (i, j), j < i, that floating point cannot settle, for i in a block of rows.

    With unit roundoff u: products round once, differences once, a norm of q entries at most q + 2 times, so the left side
    errs by at most gamma_{q+8} (|eps_i - eps_j| + |eps_i F_i| + |eps_j F_j|), the right by gamma_{p+8} of itself.

    Returns:
        Indices of the undecided pairs, and a lower bound on the relative margins of the settled ones.
    """
    inputs, flat, eps = table.inputs.double(), table.values.reshape(len(table), -1).double(), eps.double()
    offsets = eps[:, None] * flat
    size = table.output_norm(offsets)
    step = (eps[rows, None] - eps[None, :]).abs()
    lhs = step + table.output_norm.pairwise(offsets[rows], offsets)
    rhs = budget * table.input_norm.pairwise(inputs[rows], inputs)
    slack_left = gamma(flat.shape[1] + 8, eps.dtype) * (step + size[rows, None] + size[None, :])
    slack_right = gamma(table.inputs[0].numel() + 8, eps.dtype) * rhs
    tiny = 8 * torch.finfo(eps.dtype).tiny  # underflow of products
    room = rhs - slack_right
    needed = lhs + slack_left + tiny
    settled = needed <= room
    index = torch.arange(rows.start, rows.stop, device=eps.device)
    below = torch.arange(len(table), device=eps.device)[None, :] < index[:, None]
    margins = torch.where(below & settled, 1 - needed / torch.where(room > 0, room, 1.0), torch.inf)
    i, j = (below & ~settled).nonzero(as_tuple=True)
    return i + rows.start, j, float(margins.amin())


def certify_budget(table: SampleTable, eps: Tensor, budget: float) -> BudgetCertificate:
    """Decide whether a relaxation of a table has the budget `L0 = L1 = budget`.

    Args:
        table: the map, in l2, sup or l1 norms.
        eps: one relaxation per point, shape `(n,)`, each in `(0, 1]`.
        budget: the claimed constant, finite and not negative.

    Returns:
        The certificate, with a verdict that is `proved` or `refuted`.

    Raises:
        InputError: a step outside `(0, 1]`, the wrong number of steps, a budget that is no constant, or a norm without exact arithmetic.

    Example:
        >>> from eqtheory.targets import from_samples
        >>> table = from_samples([0.0, 1.0], [5.0, -5.0])
        >>> certify_budget(table, torch.tensor([1.0, 1.0]).double(), 2.0).verdict.kind.value
        'refuted'
    """
    batch_of("eps", eps, trailing=())
    if eps.shape[0] != len(table):
        raise InputError("eps", f"{eps.shape[0]} steps", f"{len(table)}, one per point", "pass one relaxation per row")
    if not bool(((eps > 0) & (eps <= 1)).all()):
        raise InputError("eps", f"{eps.min().item()} .. {eps.max().item()}", "0 < eps <= 1", "clip the steps")
    if not 0 <= budget < float("inf"):
        raise InputError("budget", str(budget), "a finite number >= 0", "pass the constant you want decided")
    n = len(table)
    exact = _ExactPairs(table, eps, budget)
    pairs, used = n * (n - 1) // 2, 0
    worst: tuple[float, Any] = (float("inf"), None)
    for rows in table.blocks():
        if pairs > _ALL_EXACT_PAIRS:
            open_i, open_j, settled = _undecided(table, eps, budget, rows)
            i, j = open_i.cpu().numpy(), open_j.cpu().numpy()
            worst = min(worst, (settled, None), key=lambda w: w[0])
        else:
            i, j = (
                t[rows.start * (rows.start - 1) // 2 : rows.stop * (rows.stop - 1) // 2] for t in np.tril_indices(n, -1)
            )
        used += len(i)
        for lhs, rhs, power in exact.sides(i, j) if len(i) else ():
            worst = min(worst, _worst_of(lhs, rhs, power, i, j), key=lambda w: w[0])
    refuted = worst[0] < 0
    verdict = Verdict(
        VerdictKind.REFUTED if refuted else VerdictKind.PROVED,
        pairs,
        worst[0],
        "exact integer comparison of the stored numbers" if used == pairs else _FILTERED,
        worst[1] if refuted else None,
    )
    return BudgetCertificate(float(budget), pairs, used, exact.joint, verdict)


def _worst_of(
    lhs: Integers, rhs: Integers, power: int, i: npt.NDArray[np.intp], j: npt.NDArray[np.intp]
) -> tuple[float, Any]:
    # The sign of the comparison is exact; only the reported size of the margin is rounded.
    gaps = rhs - lhs
    broken = np.flatnonzero(gaps < 0)
    if broken.size:
        k = max(
            (int(b) for b in broken), key=lambda b: Fraction(int(lhs[b]), int(rhs[b])) if rhs[b] else Fraction(10**400)
        )
        margin = min(_relative(lhs[k], rhs[k], power), -5e-324)
    else:
        ratios = (lhs / np.where(rhs == 0, 1, rhs)).astype(
            float
        )  # integer true division rounds correctly, whatever the size
        k = int(ratios.argmax())
        margin = max(_relative(lhs[k], rhs[k], power), 0.0)
    return margin, f"points {int(i[k])} and {int(j[k])}"
