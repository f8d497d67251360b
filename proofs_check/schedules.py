"""Instances for T6a: rational maps on the line and in the plane, batches of finite spaces, and tables of every norm."""

from __future__ import annotations

from fractions import Fraction

import torch
from hypothesis import strategies as st

from eqtheory.constructions import ExactRelaxation
from eqtheory.norms import Euclidean, Norm, Sum, Sup
from eqtheory.targets import RationalTable, SampleTable, from_samples
from eqtheory.testing.margins import exact_margin
from eqtheory.theorems.fastest_schedule import schedule_offset, schedule_step

__all__ = ["NORMS", "budgets", "lines", "pair_margins", "planes", "random_table", "t3b_steps", "tight"]

NORMS: tuple[tuple[Norm, int], ...] = ((Sup(), 1), (Sup(), 3), (Sum(), 2), (Euclidean(), 2), (Euclidean(), 3))
"""Norm and length of the values: scalars, both polyhedral norms, and cones."""

_VALUE = st.one_of(
    st.fractions(min_value=0, max_value=4, max_denominator=6), st.integers(0, 300).map(Fraction), st.just(Fraction(0))
)
_PLACE = st.one_of(
    st.fractions(min_value=-2, max_value=2, max_denominator=8), st.integers(1, 60).map(lambda k: Fraction(1, k))
)

budgets = st.tuples(
    st.fractions(min_value=Fraction(1, 8), max_value=3, max_denominator=8),
    st.fractions(min_value=0, max_value=3, max_denominator=8),
)
"""`(L0, L1)`."""

lines = st.dictionaries(_PLACE, _VALUE, min_size=2, max_size=6).map(lambda rows: dict(sorted(rows.items())))
"""Increasing points with values of one sign."""


def planes() -> st.SearchStrategy[RationalTable]:
    """Values of one sign on points of the plane, in the sup and the l1 metric."""
    rows = st.dictionaries(st.tuples(_PLACE, _PLACE), _VALUE, min_size=2, max_size=5)
    return st.tuples(rows, st.sampled_from([Sup(), Sum()])).map(
        lambda data: RationalTable.of_points(list(data[0]), list(data[0].values()), input_norm=data[1])
    )


def pair_margins(table: RationalTable, eps: tuple[Fraction, ...], L0: Fraction, L1: Fraction) -> dict[str, Fraction]:
    """Worst margins of both halves over all pairs; 1 where there are none."""
    worst = {"schedule_step": Fraction(1), "schedule_offset": Fraction(1)}
    for i in range(len(table)):
        for j in range(i):
            delta = table.distances[i][j]
            offset = table.output_norm.exact(
                [eps[i] * a - eps[j] * b for a, b in zip(table.values[i], table.values[j], strict=True)]
            )
            sides = {
                "schedule_step": schedule_step.sides(gap=abs(eps[i] - eps[j]), delta=delta, L1=L1),
                "schedule_offset": schedule_offset.sides(gap=offset, delta=delta, L0=L0),
            }
            for name, pair in sides.items():
                worst[name] = min(worst[name], exact_margin(pair))
    return worst


def tight(table: RationalTable, eps: tuple[Fraction, ...], i: int, L0: Fraction, L1: Fraction) -> bool:
    """Whether a step is 1 or meets one of its upper bounds, as in a greatest schedule it must."""
    F = [abs(value[0]) for value in table.values]
    others = [j for j in range(len(table)) if j != i]
    return eps[i] == 1 or any(
        eps[i] == eps[j] + L1 * table.distances[i][j] or eps[i] * F[i] == eps[j] * F[j] + L0 * table.distances[i][j]
        for j in others
    )


def t3b_steps(table: RationalTable) -> tuple[Fraction, ...]:
    """The steps of T3b, which are admissible for the budget (2, 2)."""
    return ExactRelaxation(table).eps


def random_table(norm: Norm, length: int, points: int, g: torch.Generator) -> SampleTable:
    """A steep map on points of the square or, for a third of the seeds, on two clusters of it."""
    x = torch.rand(points, 2, generator=g, dtype=torch.float64)
    if int(torch.randint(0, 3, (), generator=g)) == 0:
        x = 0.05 * x + (torch.arange(points) % 2).unsqueeze(1)
    scale = 10.0 ** (3 * torch.rand((), generator=g, dtype=torch.float64) - 1)
    values = scale * torch.randn(points, length, generator=g, dtype=torch.float64)
    return from_samples(x, values[:, 0] if length == 1 else values, output_norm=norm)
