"""Both halves of a budget, or their sum, as comparisons of integers: stored floating-point numbers are dyadic rationals."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.norms import Euclidean, Norm, Sum, Sup
from eqtheory.targets import SampleTable
from eqtheory.theorems.fastest_schedule import schedule_offset, schedule_step
from eqtheory.theorems.sufficiency import BUDGET, joint_budget

__all__ = ["ExactPairs", "worst_of"]

Integers = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Dyadic:
    """An array of rationals `numbers * 2^exponent`."""

    numbers: Integers
    exponent: int

    @staticmethod
    def of(t: Tensor) -> Dyadic:
        mantissa, exponents = np.frexp(t.detach().cpu().double().numpy())
        whole = np.ldexp(mantissa, 53).astype(np.int64).astype(object)
        powers = exponents.astype(np.int64) - 53
        nonzero = powers[mantissa != 0]
        least = int(nonzero.min()) if nonzero.size else 0
        shift = np.where(mantissa != 0, powers - least, 0).astype(object)
        return Dyadic(whole * (2**shift), least)

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


class ExactPairs:
    """The inequality in integers, for any list of pairs; jointly where that is asked for and rational."""

    def __init__(self, table: SampleTable, eps: Tensor, L0: float, L1: float, *, joint: bool) -> None:
        self.table, self.L0, self.L1 = table, Fraction(L0), Fraction(L1)
        scalar = table.values[0].numel() == 1
        self.output_norm: Norm = Sup() if scalar else table.output_norm  # every norm of a scalar is its absolute value
        self.joint = joint and _power(self.output_norm) == 1
        points = Dyadic.of(table.inputs.reshape(len(table), -1))
        values = Dyadic.of(table.values.reshape(len(table), -1))
        steps = Dyadic.of(eps)
        offsets = Dyadic(steps.numbers[:, None] * values.numbers, steps.exponent + values.exponent)
        # One common unit for all four quantities, so that they can be added and compared.
        unit = min(points.exponent, steps.exponent, offsets.exponent)
        self.points, self.steps, self.offsets = points.scaled(unit), steps.scaled(unit), offsets.scaled(unit)

    def sides(self, i: npt.NDArray[np.intp], j: npt.NDArray[np.intp]) -> list[tuple[Integers, Integers, int]]:
        """Left and right sides, as integers of equal scale, with the power that was taken of both."""
        distance = _measure(self.table.input_norm, self.points[i] - self.points[j])
        power = _power(self.table.input_norm)
        step = np.abs(self.steps[i] - self.steps[j])
        offset = _measure(self.output_norm, self.offsets[i] - self.offsets[j])
        # At delta = 1 an inequality of the registry reads `lhs <= rate`; times the distance it is the claim.
        if self.joint:
            lhs, rate = joint_budget.sides(step_gap=step, offset_gap=offset, delta=1, scale=self.L0 / BUDGET)
            return [((lhs * rate.denominator) ** power, distance * rate.numerator**power, power)]
        square = distance if power == 2 else distance * distance
        offset = offset if _power(self.output_norm) == 2 else offset * offset
        rates = (
            schedule_step.sides(gap=0, delta=1, L1=self.L1)[1],
            schedule_offset.sides(gap=0, delta=1, L0=self.L0)[1],
        )
        return [
            (part * rate.denominator**2, square * rate.numerator**2, 2)
            for part, rate in zip((step * step, offset), rates, strict=True)
        ]


def _relative(lhs: int, rhs: int, power: int) -> float:
    if rhs == 0:
        return 0.0 if lhs == 0 else -float("inf")
    try:
        ratio = lhs / rhs
    except OverflowError:  # the ratio of two integers can exceed the largest float; its sign is what was decided
        return -float("inf")
    return 1.0 - (sqrt(ratio) if power == 2 else ratio)


def worst_of(
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
