"""The Lipschitz constant on a finite set is a maximum over pairs; along iterations it grows as the closed form says."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.bounds import Evidence, Side
from eqtheory.constructions import ExactRelaxation, SquaredRadius, adaptive_relaxation
from eqtheory.errors import InputError, NonFiniteError, ShapeError
from eqtheory.lipschitz import growth_on_table, largest_slope
from eqtheory.norms import Euclidean, Norm, Spectral, Sum, Sup
from eqtheory.operators import FunctionOperator
from eqtheory.targets import SampleTable, _samples

NORMS: tuple[Norm, ...] = (Euclidean(), Sup(), Sum())
ROUNDINGS = 16 * 2.0**-53
"""Distances and gaps of at most 3 coordinates round up to 5 times each, the quotient once."""


def table(
    n: int = 30, *, seed: int = 1, input_norm: Norm | None = None, output_norm: Norm | None = None
) -> SampleTable:
    g = torch.Generator().manual_seed(seed)
    return SampleTable(
        torch.rand(n, 2, generator=g, dtype=torch.float64),
        10 * torch.randn(n, 3, generator=g, dtype=torch.float64),
        input_norm=input_norm or Sup(),
        output_norm=output_norm or Sup(),
    )


def brute_force(data: SampleTable, values: Tensor, norm: Norm) -> float:
    """One pair after the other, with `distance` in place of `pairwise`."""
    best = 0.0
    for i in range(len(data)):
        for j in range(i):
            gap = float(norm.distance(values[i : i + 1], values[j : j + 1]))
            best = max(best, gap / float(data.distance(torch.tensor([i]), torch.tensor([j]))))
    return best


@pytest.mark.parametrize("input_norm", NORMS, ids=lambda n: n.name)
@pytest.mark.parametrize("output_norm", NORMS, ids=lambda n: n.name)
def test_the_constant_is_the_largest_slope_of_all_pairs(input_norm: Norm, output_norm: Norm) -> None:
    for seed in range(3):
        data = table(seed=seed, input_norm=input_norm, output_norm=output_norm)
        found = largest_slope(data, data.values)
        assert found.value == pytest.approx(brute_force(data, data.values, output_norm), rel=ROUNDINGS)
        assert (found.side, found.evidence, found.norm) == (Side.EXACT, Evidence.PROVED, output_norm.name)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(rows=st.dictionaries(st.floats(-100, 100), st.floats(-1e6, 1e6), min_size=1, max_size=8))
def test_scalar_tables_agree_with_rational_arithmetic(rows: dict[float, float]) -> None:
    points = torch.tensor(list(rows), dtype=torch.float64)
    data = SampleTable(
        points, torch.tensor(list(rows.values()), dtype=torch.float64), input_norm=Sup(), output_norm=Sup()
    )
    exact = data.rational().lipschitz_constant()
    if exact >= 2**1024:
        with pytest.raises(NonFiniteError, match="values: got a slope too large for its type"):
            largest_slope(data, data.values)
        return
    if exact > Fraction(1e308) or (exact and exact < Fraction(1e-307)):
        return  # at the edge of the range of normal numbers
    found = largest_slope(data, data.values).value
    assert abs(Fraction(found) - exact) <= 4 * Fraction(2) ** -53 * exact


def test_a_pair_that_is_left_out_would_be_seen() -> None:
    # All pairs have slope 1 but one, whichever it is.
    for i, j in ((0, 29), (28, 29), (0, 1)):
        points = torch.arange(30, dtype=torch.float64)
        values = points.clone()
        values[j] += 1000.0 if j == 29 else 0.0
        data = SampleTable(points, values, input_norm=Sup(), output_norm=Sup())
        assert largest_slope(data, values).value == brute_force(data, values, Sup())
        assert (largest_slope(data, values).value == 1.0) == (j != 29)
        assert i < j


def test_another_norm_may_measure_the_values() -> None:
    data = table(output_norm=Sup())
    for norm in NORMS:
        found = largest_slope(data, data.values, norm=norm)
        assert found.value == pytest.approx(brute_force(data, data.values, norm), rel=ROUNDINGS)
        assert found.norm == norm.name
    matrices = torch.randn(30, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = largest_slope(data, matrices, norm=Spectral())
    assert found.value == pytest.approx(brute_force(data, matrices, Spectral()), rel=4 * ROUNDINGS)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = table()
    whole = largest_slope(data, data.values).value
    for entries in (1, 30, 100):
        monkeypatch.setattr(_samples, "_BLOCK_ENTRIES", entries)
        assert len(data.blocks()) > 1
        assert largest_slope(data, data.values).value == whole


def test_one_point_and_coinciding_points_have_no_slope() -> None:
    single = SampleTable(torch.zeros(1), torch.ones(1), input_norm=Sup(), output_norm=Sup())
    assert largest_slope(single, single.values).value == 0.0
    twice = SampleTable(torch.zeros(2), torch.ones(2), input_norm=Sup(), output_norm=Sup())
    assert largest_slope(twice, twice.values).value == 0.0


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (torch.ones(29), ShapeError, "values: got 29 rows, needed 30, one per point; evaluate the map at table.points"),
        (torch.ones(0), ShapeError, r"values: got an empty batch of shape \(0,\), needed at least one sample"),
        (torch.full((30,), torch.nan), NonFiniteError, r"values: got nan at index \(0,\), needed finite numbers"),
        (torch.ones(30).long(), InputError, "values: got dtype torch.int64, needed a floating-point tensor"),
        ([1.0] * 30, InputError, "values: got list, needed a torch.Tensor"),
    ],
)
def test_values_that_are_no_map_on_the_table_are_refused(values: Any, kind: type[InputError], message: str) -> None:
    with pytest.raises(kind, match=message):
        largest_slope(table(), values)


# Growth along iterations.


def relaxation() -> Any:
    g = torch.Generator().manual_seed(3)
    points = torch.rand(12, 1, generator=g, dtype=torch.float64)
    values = 3 * torch.randn(12, 1, generator=g, dtype=torch.float64)
    return adaptive_relaxation(SampleTable(points, values, input_norm=Sup(), output_norm=Sup()), rule=SquaredRadius())


def test_growth_follows_the_closed_form_of_the_iterates() -> None:
    # y_t = (1 - (1 - eps)^t) F, here from rational powers of the stored steps.
    G = relaxation()
    data, exact = G.table, G.table.rational()
    steps = [0, 1, 2, 7, 30]
    curve = growth_on_table(G, data, steps)
    eps = [Fraction(e) for e in G.eps.tolist()]
    for t, bound in zip(steps, curve, strict=True):
        y = [(1 - (1 - e) ** t) * v[0] for e, v in zip(eps, exact.values, strict=True)]
        slope = max(abs(y[i] - y[j]) / exact.distances[i][j] for i in range(12) for j in range(i))
        # Each iterate rounds 3 times on quantities of the size of the values: 3 t u |F| over the smallest distance.
        least = min(exact.distances[i][j] for i in range(12) for j in range(i))
        slack = 8 * (t + 1) * 2.0**-53 * (float(data.values.abs().max()) / float(least) + float(slope))
        assert bound.value == pytest.approx(float(slope), abs=slack)
        assert bound.side is Side.EXACT
    assert curve[0].value == 0.0


def test_growth_agrees_with_the_exact_twin() -> None:
    G = relaxation()
    twin = ExactRelaxation(G.table.rational(), rule=SquaredRadius())
    curve = growth_on_table(G, G.table, [1, 3])
    for t, bound in zip((1, 3), curve, strict=True):
        y = [twin.iterate([Fraction(0)], i, t)[0] for i in range(12)]
        d = twin.table.distances
        slope = max(abs(y[i] - y[j]) / d[i][j] for i in range(12) for j in range(i))
        # The stored steps differ from the exact ones by about 20 roundoffs.
        assert bound.value == pytest.approx(float(slope), rel=1e-12)


def test_one_step_buys_at_most_one_budget_of_slope_and_the_curve_arrives() -> None:
    G = relaxation()
    data = G.table
    curve = [bound.value for bound in growth_on_table(G, data, range(40))]
    size = float(data.output_norm(data.values).max())
    for before, after in pairwise(curve):
        assert after <= before + 2 * (1 + size) * (1 + 1e-12)
    points = 0.5 * torch.arange(6, dtype=torch.float64)
    gentle = adaptive_relaxation(SampleTable(points, torch.sin(9 * points), input_norm=Sup(), output_norm=Sup()))
    arrived = growth_on_table(gentle, gentle.table, [2000])[0].value
    assert arrived == pytest.approx(largest_slope(gentle.table, gentle.table.values).value, rel=1e-12)


def test_only_the_wanted_iterations_are_measured_and_none_is_repeated() -> None:
    data, calls = table(), []

    def count(y: Tensor, x: Tensor) -> Tensor:
        calls.append(len(x))
        return y + data.values[x]

    G = FunctionOperator(count, initial_state=lambda x: torch.zeros(len(x), 3, dtype=torch.float64))
    curve = growth_on_table(G, data, [2, 5])
    assert calls == [30] * 5
    unit = largest_slope(data, data.values).value
    assert [c.value for c in curve] == pytest.approx([2 * unit, 5 * unit], rel=1e-12)


@pytest.mark.parametrize("steps", [[], [-1], [-1, 0], [1, 1], [2, 1]])
def test_steps_increase_from_zero(steps: list[int]) -> None:
    with pytest.raises(InputError) as caught:
        growth_on_table(relaxation(), relaxation().table, steps)
    assert str(caught.value) == (
        f"steps: got {steps}, needed increasing integers >= 0; pass for example [0, 1, 2, 4, 8]"
    )
