"""Finite metric spaces in rational arithmetic: axioms are checked, distances and slopes are exact, balls are complete."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqtheory.errors import InputError, ShapeError
from eqtheory.norms import Euclidean, Spectral, Sum, Sup
from eqtheory.targets import RationalTable

F = Fraction
MODEST = settings(max_examples=50, deadline=None, derandomize=True)


def points_and_values() -> st.SearchStrategy[dict[tuple[Fraction, ...], Fraction]]:
    coordinate = st.fractions(min_value=-2, max_value=2, max_denominator=6)
    value = st.fractions(min_value=-9, max_value=9, max_denominator=4)
    return st.dictionaries(st.tuples(coordinate, coordinate), value, min_size=1, max_size=7)


def test_anything_a_fraction_accepts_is_a_coordinate() -> None:
    table = RationalTable.of_points([0, "1/3", 0.5, F(2, 3)], ["1/7", 0, 0.25, F(-1)])
    assert table.distances[1][3] == F(1, 3)
    assert table.distances[0][2] == F(1, 2)
    assert table.values == ((F(1, 7),), (F(0),), (F(1, 4),), (F(-1),))
    assert RationalTable.of_points([0.1], [0]).distances == ((F(0),),)
    assert RationalTable.of_points([0, 0.1], [0, 0]).distances[0][1] == F(0.1)  # the float that is stored, not 1/10


def test_distances_are_measured_in_the_norm_given() -> None:
    points = [[0, 0], [3, -4]]
    assert RationalTable.of_points(points, [0, 1]).distances[0][1] == 4
    assert RationalTable.of_points(points, [0, 1], input_norm=Sum()).distances[0][1] == 7
    for norm in (Euclidean(), Spectral()):
        with pytest.raises(InputError, match=rf"norm: got {norm.name}, needed a norm that is rational on rational"):
            RationalTable.of_points(points, [0, 1], input_norm=norm)
        assert RationalTable.of_points([[0], [3]], [0, 1], input_norm=norm).distances[0][1] == 3


@MODEST
@given(rows=points_and_values(), norm=st.sampled_from([Sup(), Sum()]))
def test_what_is_computed_is_what_the_formulas_say(rows: dict[tuple[Fraction, ...], Fraction], norm: Sup | Sum) -> None:
    table = RationalTable.of_points(list(rows), list(rows.values()), input_norm=norm)
    fold = max if isinstance(norm, Sup) else sum
    slopes = [F(0)]
    for i, (p, v) in enumerate(rows.items()):
        assert table.size(i) == abs(v)
        for j, (q, w) in enumerate(rows.items()):
            distance = fold(abs(a - b) for a, b in zip(p, q, strict=True))
            assert table.distances[i][j] == distance
            assert table.gap(i, j) == abs(v - w)
            if i != j:
                assert table.slope(i, j) == abs(v - w) / distance
                slopes.append(table.slope(i, j))
    assert table.lipschitz_constant() == max(slopes)
    assert len(table) == len(rows)


def test_vector_values_are_measured_in_the_output_norm() -> None:
    points, values = [0, 2], [[1, 2], [-1, 5]]
    assert RationalTable.of_points(points, values).lipschitz_constant() == F(3, 2)
    assert RationalTable.of_points(points, values, output_norm=Sum()).lipschitz_constant() == F(5, 2)
    assert RationalTable.of_points(points, values, output_norm=Sum()).size(1) == 6


def test_one_point_and_coinciding_points_have_no_slope() -> None:
    assert RationalTable.of_points([5], [7]).lipschitz_constant() == 0
    assert RationalTable.of_points([5, 5], [7, 7]).slope(0, 1) == 0


@MODEST
@given(rows=points_and_values(), norm=st.sampled_from([Sup(), Sum()]))
def test_the_list_of_balls_is_every_open_ball(rows: dict[tuple[Fraction, ...], Fraction], norm: Sup | Sum) -> None:
    table = RationalTable.of_points(list(rows), list(rows.values()), input_norm=norm)
    for i in range(len(table)):
        balls = table.balls(i)
        assert [b for b, _, _ in balls[1:]] == [e for _, _, e in balls[:-1]]
        assert balls[0][0] == 0
        assert balls[-1][2] is None
        members: set[int] = set()
        for inner, new, outer in balls:
            members |= set(new)
            end = inner + 1 if outer is None else outer
            for r in (inner + (end - inner) / 1000, (inner + end) / 2, end):
                assert members == {j for j, d in enumerate(table.distances[i]) if d < r}
        assert members == set(range(len(table)))


def test_balls_worked_by_hand() -> None:
    assert RationalTable.of_points([0, 1, -1, 3], [0, 0, 0, 0]).balls(0) == [
        (F(0), [0], F(1)),
        (F(1), [1, 2], F(3)),
        (F(3), [3], None),
    ]


# Given matrices.


def test_a_matrix_of_distances_is_taken_as_it_is() -> None:
    table = RationalTable.of_distances([[0, 1, 2], [1, 0, "3/2"], [2, 1.5, 0]], [0, 1, 5])
    assert table.lipschitz_constant() == F(8, 3)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[0, 1], [2, 0]], "distances: got d[1][0] = 2, d[0][1] = 1, needed a metric; make it symmetric"),
        ([[0, -1], [-1, 0]], "distances: got d[1][0] = -1, d[0][1] = -1, needed a metric"),
        ([[0, 1], [1, "1/2"]], "distances: got d[1][1] = 1/2, d[1][1] = 1/2, needed a metric"),
        ([[1, 1], [1, 0]], "distances: got d[0][0] = 1, d[0][0] = 1, needed a metric"),
        ([[0, 0], [0, 0]], "values: got points 0 and 1 coincide but have two values, needed a map; drop one"),
    ],
)
def test_what_is_no_metric_is_refused(matrix: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        RationalTable.of_distances(matrix, [1, 2])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("excess", [F(1), F(1, 10**30)])
def test_the_triangle_inequality_is_checked_without_tolerance(excess: Fraction) -> None:
    matrix = [[0, 1, 2], [1, 0, 1], [2, 1, 0]]
    RationalTable.of_distances(matrix, [0, 1, 2])
    for i, j in ((0, 2), (0, 1), (1, 2)):
        broken: list[list[Any]] = [list(row) for row in matrix]
        largest = {(0, 2): 2, (0, 1): 3, (1, 2): 3}[i, j]
        broken[i][j] = broken[j][i] = largest + excess
        with pytest.raises(
            InputError, match=r"distances: got d\[\d\]\[\d\] > d\[\d\]\[\d\] \+ d\[\d\]\[\d\], needed a"
        ):
            RationalTable.of_distances(broken, [0, 1, 2])


def test_a_pair_of_points_at_distance_zero_must_agree_in_the_distance_to_others() -> None:
    with pytest.raises(InputError, match="needed a metric; use shortest-path distances"):
        RationalTable.of_distances([[0, 0, 1], [0, 0, 2], [1, 2, 0]], [5, 5, 6])


@pytest.mark.parametrize(
    ("points", "values", "kind", "message"),
    [
        ([], [], ShapeError, "values: got no points, needed at least one point; pass a non-empty table"),
        ([0, 1], [0], ShapeError, "distances: got 2 rows, needed a 1 x 1 matrix; one row per point"),
        ([0], [0, 1], ShapeError, "distances: got 1 rows, needed a 2 x 2 matrix"),
        (
            [0, 1],
            [[0], [0, 1]],
            ShapeError,
            "values: got vectors of different lengths, needed one length; pad or split",
        ),
        ([0, 0], [0, 1], InputError, "values: got points 0 and 1 coincide but have two values, needed a map"),
        ([[0], [0, 1]], [0, 1], ShapeError, "points: got "),
        ([math.nan], [0], InputError, "points: got "),
        ([0, math.inf], [0, 1], InputError, "points: got "),
        ([0], [math.nan], InputError, "values: got "),
        (["x"], [0], InputError, "points: got "),
    ],
)
def test_what_is_no_table_is_refused(points: Any, values: Any, kind: type[InputError], message: str) -> None:
    with pytest.raises(InputError) as caught:
        RationalTable.of_points(points, values)
    assert isinstance(caught.value, kind)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1


def test_a_matrix_that_is_not_square_is_refused() -> None:
    with pytest.raises(ShapeError, match="distances: got 2 rows, needed a 2 x 2 matrix; one row per point"):
        RationalTable.of_distances([[0, 1, 2], [1, 0, 1]], [0, 1])
