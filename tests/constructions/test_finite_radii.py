"""Radii on finite spaces: closed forms in floating point and the walk over balls in rationals, both against the definition."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.constructions import (
    ExactBalls,
    ExactRelaxation,
    RadiusProduct,
    SlopeMajorant,
    SquaredRadius,
    _tables,
    adaptive_relaxation,
    exact_ball_radii,
    exact_radii,
    majorant_radii,
)
from eqtheory.norms import Euclidean, Sum, Sup
from eqtheory.roundoff import gamma
from eqtheory.targets import RationalTable, SampleTable
from eqtheory.testing.finite_spaces import draw_finite_spaces
from tests.constructions.brute_force import (
    majorant_by_definition,
    metric_tables,
    radii_by_definition,
    rational_tables,
)

MODEST = settings(max_examples=40, deadline=None, derandomize=True)
# A slope rounds 3 times after its gap and distance, each of which rounds up to 4 times on two coordinates; sum and reciprocal
# round 3 times more. r h(r) grows at least like r, so relative errors of h and of distances are no larger in the radius.
RELATIVE = gamma(16, torch.float64)


def in_floats(table: RationalTable) -> tuple[Tensor, Tensor, Tensor]:
    """Distances, sizes and slopes, each rounded once from the exact number."""
    n = range(len(table))
    distances = torch.tensor([[float(d) for d in row] for row in table.distances], dtype=torch.float64)
    sizes = torch.tensor([float(table.size(i)) for i in n], dtype=torch.float64)
    slopes = torch.tensor([[float(table.slope(i, j)) for j in n] for i in n], dtype=torch.float64)
    return distances, sizes, slopes


def close(found: Tensor, exact: list[Fraction]) -> bool:
    return all(abs(Fraction(f) - e) <= Fraction(RELATIVE) * e for f, e in zip(found.tolist(), exact, strict=True))


@MODEST
@given(table=st.one_of(rational_tables(), metric_tables()))
def test_the_rational_walk_over_balls_is_the_definition(table: RationalTable) -> None:
    assert [exact_radii(table, i) for i in range(len(table))] == radii_by_definition(table)


@MODEST
@given(table=st.one_of(rational_tables(), metric_tables()))
def test_the_closed_form_is_the_definition_up_to_rounding(table: RationalTable) -> None:
    distances, sizes, slopes = in_floats(table)
    n = len(table)
    rho, sigma = exact_ball_radii(distances, sizes.expand(n, n), slopes.expand(n, n, n))
    exact = radii_by_definition(table)
    assert close(rho, [r for r, _ in exact])
    assert close(sigma, [s for _, s in exact])


@MODEST
@given(table=rational_tables())
def test_tables_in_floating_point_agree_with_their_exact_twin(table: RationalTable) -> None:
    # Stored numbers are rationals, so the twin is built from what the table really holds.
    values = torch.tensor([[float(v) for v in value] for value in table.values], dtype=torch.float64)
    points = torch.rand(len(table), 2, generator=torch.Generator().manual_seed(len(table)), dtype=torch.float64)
    for norm in (Sup(), Sum()):
        held = SampleTable(points, values, input_norm=norm, output_norm=norm)
        for rule in (SquaredRadius(), RadiusProduct()):
            G = adaptive_relaxation(held, rule=rule, scale=0.75)
            twin = ExactRelaxation(held.rational(), rule=rule, scale=Fraction(3, 4))
            assert close(G.rho, [r for r, _ in twin.radii])
            assert close(G.sigma, [s for _, s in twin.radii])
            worst = max(abs(Fraction(f) - e) / e for f, e in zip(G.eps.tolist(), twin.eps, strict=True))
            assert worst <= 3 * Fraction(RELATIVE)  # two radii and two products
            assert G.budget == twin.budget == Fraction(3, 2)


def test_hostile_spaces_agree_with_the_definition() -> None:
    spaces = draw_finite_spaces(batch=48, points=4, dimension=2, norm=Sup(), generator=torch.Generator().manual_seed(3))
    rho, sigma = spaces.radii()
    for b in range(len(spaces)):
        table = RationalTable(
            tuple(tuple(map(Fraction, row)) for row in spaces.distances[b].tolist()),
            tuple(tuple(map(Fraction, value)) for value in spaces.values[b].tolist()),
            Sup(),
        )
        exact = radii_by_definition(table)
        assert close(rho[b], [r for r, _ in exact]), spaces.describe(b)
        assert close(sigma[b], [s for _, s in exact]), spaces.describe(b)


# Worked by hand. Balls are open: at X = {0, 1} the unit ball around 0 does not hold 1.
BY_HAND: list[tuple[list[object], list[object], list[str], list[str]]] = [
    ([0], [0], ["1"], ["1"]),
    ([0], [3], ["1/4"], ["1/4"]),
    ([0, 1], [0, 10], ["1", "1/11"], ["1", "1/11"]),
    ([0, 2], [1, -1], ["1/2", "1/2"], ["1/2", "1/2"]),
    (["0", "1/4"], [1, -1], ["1/4", "1/4"], ["1/2", "1/2"]),  # stopped at the distance: 1/h = 1/10 is below it
    (["0", "1/2"], [0, 1], ["1/2", "1/2"], ["1/2", "1/2"]),
    (["0", "1/2"], [0, "1/4"], ["4/7", "4/7"], ["4/5", "4/5"]),  # h = 1 + 1/4 + 1/2 on the ball of both
    (["0", "1/1000", "1"], [0, 0, 10], ["1", "999/1000", "1/11"], ["1", "999/1000", "1/11"]),
]


@pytest.mark.parametrize(("points", "values", "rho", "sigma"), BY_HAND)
def test_values_worked_by_hand(points: list[object], values: list[object], rho: list[str], sigma: list[str]) -> None:
    table = RationalTable.of_points(points, values)
    exact = list(zip(map(Fraction, rho), map(Fraction, sigma), strict=True))
    assert radii_by_definition(table) == exact
    assert [exact_radii(table, i) for i in range(len(table))] == exact
    distances, sizes, slopes = in_floats(table)
    n = len(table)
    found = exact_ball_radii(distances, sizes.expand(n, n), slopes.expand(n, n, n))
    assert close(found[0], [r for r, _ in exact])
    assert close(found[1], [s for _, s in exact])


def test_a_closed_ball_or_a_forgotten_slope_would_be_seen() -> None:
    # The fourth and fifth rows above separate the definition from its two nearest misreadings.
    closed = RationalTable.of_points([0, Fraction(999, 1000)], [0, 10])  # as if the ball of radius 1 held its boundary
    assert radii_by_definition(closed)[0] != radii_by_definition(RationalTable.of_points([0, 1], [0, 10]))[0]
    rho, sigma = radii_by_definition(RationalTable.of_points(["0", "1/4"], [1, -1]))[0]
    assert rho != sigma


# The majorant.


@MODEST
@given(table=st.one_of(rational_tables(), metric_tables()))
def test_the_majorant_radius_is_its_definition_up_to_rounding(table: RationalTable) -> None:
    n = len(table)
    distances, sizes, _ = in_floats(table)
    gaps = torch.tensor([[float(table.gap(i, j)) for j in range(n)] for i in range(n)], dtype=torch.float64)
    for width in (1, 2, n):
        blocks = [slice(k, min(k + width, n)) for k in range(0, n, width)]
        rho, sigma = majorant_radii(blocks, lambda b: distances[b], lambda b: gaps[b], sizes)
        assert close(rho, majorant_by_definition(table))
        assert close(sigma, [s for _, s in radii_by_definition(table)])


@MODEST
@given(table=st.one_of(rational_tables(), metric_tables()))
def test_the_majorant_has_the_three_properties_the_theorem_asks_for(table: RationalTable) -> None:
    # In exact arithmetic: steps from the majorant obey the joint budget, with either rule.
    rho, sigma = majorant_by_definition(table), [s for _, s in radii_by_definition(table)]
    for rule in (SquaredRadius(), RadiusProduct()):
        G = ExactRelaxation(table)
        G.eps = tuple(rule(r, max(r, s)) for r, s in zip(rho, sigma, strict=True))
        assert G.certify().kind.value == "proved"


@pytest.mark.parametrize("norm", [Euclidean(), Sup(), Sum()])
def test_both_ways_of_a_table_stay_between_their_bounds(norm: Euclidean | Sup | Sum) -> None:
    g = torch.Generator().manual_seed(5)
    points = torch.rand(120, 3, generator=g, dtype=torch.float64)
    table = SampleTable(
        points, torch.randn(120, 2, generator=g, dtype=torch.float64), input_norm=norm, output_norm=norm
    )
    exact, majorant = ExactBalls()(table), SlopeMajorant()(table)
    assert torch.allclose(exact[1], majorant[1], rtol=4 * RELATIVE, atol=0)  # sigma needs no majorant
    for rho, sigma in (exact, majorant):
        assert bool((rho > 0).all())
        assert bool((rho <= sigma).all())
        assert bool((sigma <= 1).all())
        gap = (rho.unsqueeze(1) - rho).abs()
        allowed = table.input_norm.pairwise(points, points) + RELATIVE * (rho.unsqueeze(1) + rho)
        assert bool((gap <= allowed).all())  # 1-Lipschitz


def test_exact_balls_do_not_depend_on_how_the_work_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    g = torch.Generator().manual_seed(6)
    table = SampleTable(
        torch.rand(50, 2, generator=g, dtype=torch.float64),
        torch.randn(50, generator=g, dtype=torch.float64),
        input_norm=Sup(),
        output_norm=Sup(),
    )
    whole = ExactBalls()(table)
    monkeypatch.setattr(_tables, "_BLOCK_ENTRIES", 1)
    one_by_one = ExactBalls()(table)
    assert torch.equal(whole[0], one_by_one[0])
    assert torch.equal(whole[1], one_by_one[1])


def test_coinciding_points_have_one_radius_and_no_slope() -> None:
    table = RationalTable.of_points([0, 0, "1/2"], [2, 2, 0])
    assert radii_by_definition(table)[0] == radii_by_definition(table)[1] == exact_radii(table, 0)
    held = SampleTable(
        torch.tensor([0.0, -0.0, 0.5], dtype=torch.float64),
        torch.tensor([2.0, 2.0, 0.0], dtype=torch.float64),
        input_norm=Sup(),
        output_norm=Sup(),
    )
    for way, expected in (
        (ExactBalls(), [r for r, _ in radii_by_definition(table)]),
        (SlopeMajorant(), majorant_by_definition(table)),
    ):
        rho, sigma = way(held)
        assert close(rho, expected)
        assert close(sigma, [s for _, s in radii_by_definition(table)])
