"""Wrong bounds and wrong schedules differ from the honest ones, each in the one way its name says."""

from __future__ import annotations

import inspect
from fractions import Fraction

import pytest

from eqtheory.constructions import greatest_on_line
from eqtheory.testing.zoo import BROKEN_BOUNDS, BROKEN_SCHEDULES, BrokenBound, broken_bounds
from eqtheory.theorems import Inequality, theorem
from eqtheory.theorems.averaged_growth import averaged_growth

WITH_BOUNDS = ("T4", "T4b", "T5", "T5b", "T6", "T10")


def honest(bound: BrokenBound) -> Inequality:
    return next(i for i in theorem(bound.theorem).inequalities if i.name == bound.about)


class Flippable(Fraction):
    """A rational with the one method of tensors that a wrong bound uses: the other point of a pair is a third as large."""

    def flip(self, _: int) -> Fraction:
        return self / 3


def test_every_theorem_with_wrong_bounds_has_at_least_five_of_their_own_names() -> None:
    for identifier in WITH_BOUNDS:
        assert len(broken_bounds(identifier)) >= 5
    assert len({(b.theorem, b.name) for b in BROKEN_BOUNDS}) == len(BROKEN_BOUNDS)
    assert sum(len(broken_bounds(t)) for t in WITH_BOUNDS) == len(BROKEN_BOUNDS)
    assert len({c.name for c in BROKEN_SCHEDULES}) == len(BROKEN_SCHEDULES) >= 5


@pytest.mark.parametrize("bound", BROKEN_BOUNDS, ids=lambda b: f"{b.theorem}: {b.name}")
def test_a_broken_bound_takes_the_quantities_of_an_honest_one_and_claims_something_else(bound: BrokenBound) -> None:
    names = inspect.signature(honest(bound).sides).parameters
    values = {n: 3 if n == "steps" else Flippable(2 * k + 3, 61) for k, n in enumerate(names)}
    right, wrong = honest(bound).sides(**values), bound.sides(**values)
    assert (right[0], right[1]) != (wrong[0], wrong[1])


def test_the_other_bounds_are_left_as_they_are() -> None:
    bound = broken_bounds("T4b")["L0 dropped"]
    values = {n: Fraction(k + 1) for k, n in enumerate(inspect.signature(averaged_growth.sides).parameters)}
    assert bound.sides(**values) == averaged_growth.sides(**{**values, "L0": 0})


def test_each_broken_schedule_differs_from_the_greatest_one() -> None:
    Q = Fraction
    lines = [
        ([Q(0), Q(1, 10), Q(2, 10), Q(3, 10)], [Q(1), Q(100), Q(1), Q(100)]),
        ([Q(0), Q(1, 100)], [Q(1), Q(101, 100)]),
        ([Q(0), Q(1, 4), Q(1, 2)], [Q(0), Q(0), Q(1)]),
    ]
    for claim in BROKEN_SCHEDULES:
        if not claim.two_signs:
            assert any(claim.steps(x, F, Q(1), Q(1)) != greatest_on_line(x, F, Q(1), Q(1)) for x, F in lines), (
                claim.name
            )
