"""The relaxation in rational arithmetic: every statement is exact, so it holds or it does not."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqtheory.bounds import VerdictKind
from eqtheory.constructions import ExactRelaxation, RadiusProduct, RelaxationRule, SquaredRadius
from eqtheory.errors import DomainError, InputError, ShapeError
from eqtheory.targets import RationalTable
from tests.constructions.brute_force import metric_tables, rational_tables

F = Fraction
MODEST = settings(max_examples=40, deadline=None, derandomize=True)
RULES = [SquaredRadius(), RadiusProduct()]


@dataclass(frozen=True)
class FirstPower(RelaxationRule):
    """`eps = rho`, one power short of T3."""

    theorem: str = "none"

    def __call__(self, rho: Any, sigma: Any) -> Any:
        return rho


def table_of_n5(K: int) -> RationalTable:
    """`X = {0, delta, 1/(1+K)}`, `F = (K, K, K+1)`: the control that shows why the power has to be 2."""
    return RationalTable.of_points([0, F(1, 2 + 2 * K), F(1, 1 + K)], [K, K, K + 1])


@MODEST
@given(table=st.one_of(rational_tables(), metric_tables()), scale=st.sampled_from([F(1), F(1, 3), F(1, 1000)]))
@pytest.mark.parametrize("rule", RULES, ids=lambda r: r.theorem)
def test_every_statement_of_the_theorem(rule: RelaxationRule, table: RationalTable, scale: Fraction) -> None:
    G = ExactRelaxation(table, rule=rule, scale=scale)
    n = len(table)
    assert G.certify().kind is VerdictKind.PROVED
    assert G.certify().trials == n * (n - 1) // 2
    assert G.budget == 2 * scale
    for i in range(n):
        assert 0 <= G.mu(i) < 1
        assert G(table.values[i], i) == table.values[i]
        y, z = (F(3), F(-1, 7)), (F(0), F(5))
        y, z = y[: len(table.values[i])], z[: len(table.values[i])]
        image = [a - b for a, b in zip(G(y, i), G(z, i), strict=True)]
        assert image == [G.mu(i) * (a - b) for a, b in zip(y, z, strict=True)]  # (R1) with equality
        closed = tuple((1 - G.mu(i) ** 4) * v + G.mu(i) ** 4 * a for v, a in zip(table.values[i], y, strict=True))
        assert G.iterate(y, i, 4) == closed
        assert G.iterate(y, i, 0) == y


@MODEST
@given(table=st.one_of(rational_tables(), metric_tables()), number=st.integers(1, 40))
def test_the_certified_budget_bounds_the_operator_at_every_state(table: RationalTable, number: int) -> None:
    # The certificate looks at offsets and steps only; here (R2) itself is evaluated, at states of all sizes and directions.
    G = ExactRelaxation(table)
    norm = table.output_norm
    for i in range(len(table)):
        for j in range(i):
            offset = [G.eps[i] * a - G.eps[j] * b for a, b in zip(table.values[i], table.values[j], strict=True)]
            for t in (F(0), F(number), -F(number), F(-1, number)):
                y = [t * o for o in offset]
                gap = norm.exact([a - b for a, b in zip(G(y, i), G(y, j), strict=True)])
                assert gap <= 2 * max(F(1), norm.exact(y)) * table.distances[i][j]


def test_the_product_of_radii_is_the_default_and_never_slower() -> None:
    table = RationalTable.of_points([0, "1/2", 3], [5, "-1/3", 40])
    assert ExactRelaxation(table).eps == ExactRelaxation(table, rule=RadiusProduct()).eps
    pairs = zip(ExactRelaxation(table).eps, ExactRelaxation(table, rule=SquaredRadius()).eps, strict=True)
    assert all(product >= square for product, square in pairs)


@pytest.mark.parametrize("K", [1, 10, 10**6])
def test_one_power_of_the_radius_is_refuted_at_the_predicted_pair(K: int) -> None:
    G = ExactRelaxation(table_of_n5(K), rule=FirstPower())
    offsets = [e * v[0] for e, v in zip(G.eps, G.table.values, strict=True)]
    slopes = {(i, j): abs(offsets[i] - offsets[j]) / G.table.distances[i][j] for i in range(3) for j in range(i)}
    assert max(slopes.values()) == K  # exactly, as predicted
    verdict = G.certify()
    joint = {p: s + abs(G.eps[p[0]] - G.eps[p[1]]) / G.table.distances[p[0]][p[1]] for p, s in slopes.items()}
    if K > 1:
        worst = max(joint, key=joint.__getitem__)
        assert verdict.kind is VerdictKind.REFUTED
        assert verdict.witness == f"points {worst[1]} and {worst[0]}"
        assert verdict.worst_margin == float(1 - joint[worst] / 2)


@MODEST
@given(table=st.one_of(rational_tables(), metric_tables()), data=st.data())
def test_the_verdict_on_any_steps_is_the_one_of_all_pairs(table: RationalTable, data: st.DataObject) -> None:
    steps = st.fractions(min_value=F(1, 1000), max_value=1, max_denominator=1000)
    G = ExactRelaxation(table)
    G.eps = tuple(data.draw(st.lists(steps, min_size=len(table), max_size=len(table))))
    norm, broken = table.output_norm, set()
    for i in range(len(table)):
        for j in range(i):
            offset = [G.eps[i] * a - G.eps[j] * b for a, b in zip(table.values[i], table.values[j], strict=True)]
            if abs(G.eps[i] - G.eps[j]) + norm.exact(offset) > 2 * table.distances[i][j]:
                broken.add(f"points {j} and {i}")
    verdict = G.certify()
    assert (verdict.kind is VerdictKind.REFUTED) == bool(broken)
    assert verdict.witness is None or verdict.witness in broken
    assert (verdict.worst_margin < 0) == bool(broken)


def test_coinciding_points_with_different_steps_are_refuted() -> None:
    G = ExactRelaxation(RationalTable.of_points([0, 0], [1, 1]))
    assert G.certify().kind is VerdictKind.PROVED
    G.eps = (F(1, 4), F(1, 5))
    assert G.certify().kind is VerdictKind.REFUTED


def test_a_single_point_has_no_pairs() -> None:
    verdict = ExactRelaxation(RationalTable.of_points([0], [7])).certify()
    assert (verdict.kind, verdict.trials) == (VerdictKind.PROVED, 0)


@pytest.mark.parametrize("i", [-1, 2, 100])
def test_there_is_no_point_outside_the_table(i: int) -> None:
    G = ExactRelaxation(RationalTable.of_points([0, 1], [0, 1]))
    with pytest.raises(DomainError) as caught:
        G([F(0)], i)
    assert str(caught.value) == f"i: got {i}, needed 0 <= i < 2; the map is defined on the table only"


@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_state_has_the_length_of_the_values(length: int) -> None:
    G = ExactRelaxation(RationalTable.of_points([0, 1], [[0, 1], [1, 2]]))
    with pytest.raises(ShapeError) as caught:
        G([F(0)] * length, 0)
    assert str(caught.value) == f"y: got {length} entries, needed 2 entries; pass a state of the values' length"


@pytest.mark.parametrize("scale", [0, 2, F(-1, 2), F(1001, 1000)])
def test_the_scale_lies_in_the_unit_interval(scale: Fraction) -> None:
    with pytest.raises(InputError, match=rf"scale: got {scale}, needed 0 < scale <= 1; scale = 1 is the step of T3"):
        ExactRelaxation(RationalTable.of_points([0, 1], [0, 1]), scale=scale)


def test_rules_keep_the_number_type_and_name_their_theorem() -> None:
    assert [r.theorem for r in RULES] == ["T3", "T3b"]
    assert SquaredRadius()(F(1, 3), F(1, 2)) == F(1, 9)
    assert RadiusProduct()(F(1, 3), F(1, 2)) == F(1, 6)
