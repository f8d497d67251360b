"""A margin is negative exactly where rounding cannot explain a violation, and a negative one stops the check."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.errors import InputError
from eqtheory.testing.evidence import Kind, Recorder, Refuted
from eqtheory.testing.margins import exact_margin, relative_margin, settle

INF = math.inf


def t(*entries: float) -> Tensor:
    return torch.tensor(entries, dtype=torch.float64)


@pytest.mark.parametrize(
    ("lhs", "rhs", "slack", "margin"),
    [
        (0.0, 2.0, 0.0, 1.0),
        (1.0, 2.0, 0.0, 0.5),
        (2.0, 2.0, 0.0, 0.0),
        (3.0, 2.0, 0.0, -0.5),
        (3.0, 2.0, 1.0, 0.0),  # explained by rounding
        (3.0, 2.0, 0.5, -0.2),
        (0.0, 0.0, 0.0, 0.0),
        (1e-300, 0.0, 0.0, -INF),
        (1.0, 0.0, 2.0, 0.5),
        (INF, 2.0, 0.0, -INF),
        (INF, 0.0, 0.0, -INF),
        (5.0, INF, 0.0, 1.0),
        (-1.0, 0.0, 0.0, 0.0),
        (0.0, -1.0, 0.0, -INF),
        (1e-308, 5e-324, 0.0, None),
    ],
)
def test_margins_worked_by_hand(lhs: float, rhs: float, slack: float, margin: float | None) -> None:
    found = relative_margin((t(lhs), t(rhs)), slack)
    assert found.shape == (1,)
    if margin is None:
        assert float(found) < 0
    else:
        assert float(found) == pytest.approx(margin, abs=1e-15)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    lhs=st.floats(0, 1e300),
    rhs=st.floats(0, 1e300),
    slack=st.sampled_from([0.0, 1e-12, 1.0]),
)
def test_the_sign_decides_the_inequality(lhs: float, rhs: float, slack: float) -> None:
    found = float(relative_margin((t(lhs), t(rhs)), slack))
    assert (found < 0) == (lhs > rhs + slack)
    assert found <= 1


def test_slack_may_differ_by_instance_and_shapes_are_kept() -> None:
    found = relative_margin((torch.full((2, 3), 2.0), torch.full((2, 3), 1.0)), torch.tensor([[0.0, 1.0, 3.0]]))
    assert found.shape == (2, 3)
    assert found[0].tolist() == [-1.0, 0.0, 0.5]


def test_plain_numbers_are_instances_too() -> None:
    assert float(relative_margin((1.0, 4.0))) == 0.75  # type: ignore[arg-type]


@pytest.mark.parametrize(("lhs", "rhs", "slack"), [(math.nan, 1.0, 0.0), (1.0, math.nan, 0.0), (1.0, 1.0, math.nan)])
def test_nan_settles_nothing(lhs: float, rhs: float, slack: float) -> None:
    with pytest.raises(InputError, match="sides: got NaN, needed numbers; find where the construction produced it"):
        relative_margin((t(0.0, lhs), t(1.0, rhs)), t(0.0, slack))


@pytest.mark.parametrize(
    ("lhs", "rhs", "margin"),
    [("1", "3", "2/3"), ("3", "3", "0"), ("4", "3", "-1/3"), ("0", "0", "0"), ("1/9", "0", "-1"), ("0", "5", "1")],
)
def test_rational_margins_are_exact(lhs: str, rhs: str, margin: str) -> None:
    found = exact_margin((Fraction(lhs), Fraction(rhs)))
    assert isinstance(found, Fraction)
    assert found == Fraction(margin)
    assert exact_margin((Fraction(10**40 + 1), Fraction(10**40))) < 0


# Settling.


@pytest.fixture
def recorder() -> Recorder:
    return Recorder("T3", "holds")


def test_the_worst_margin_is_recorded_and_returned(recorder: Recorder) -> None:
    margins = t(0.5, 0.25, 1.0).reshape(3, 1)
    worst = settle(recorder, Kind.SAMPLED, "joint_budget", margins, instances=3, witness=str)
    assert worst == 0.25
    (measurement,) = recorder.measurements
    assert (measurement.kind, measurement.quantity) == (Kind.SAMPLED, "joint_budget")
    assert (measurement.instances, measurement.worst_margin) == (3, 0.25)


def test_an_attained_bound_is_no_violation(recorder: Recorder) -> None:
    assert settle(recorder, Kind.SAMPLED, "joint_budget", t(0.0, 0.5), instances=2, witness=str) == 0.0


def test_a_negative_margin_stops_the_check_with_its_witness_and_is_recorded(recorder: Recorder) -> None:
    margins = torch.tensor([[0.5, 0.25], [-1e-18, 0.5]], dtype=torch.float64)
    with pytest.raises(Refuted, match="instance 2") as caught:
        settle(recorder, Kind.SAMPLED, "joint_budget", margins, instances=2, witness=lambda i: f"instance {i}")
    assert "joint_budget" in str(caught.value)
    assert recorder.measurements[0].worst_margin == -1e-18


def test_the_witness_is_described_only_when_there_is_one(recorder: Recorder) -> None:
    def never(index: int) -> str:
        raise AssertionError(index)

    settle(recorder, Kind.SAMPLED, "joint_budget", t(0.5), instances=1, witness=never)


def test_a_margin_that_is_nan_is_not_passed_over(recorder: Recorder) -> None:
    with pytest.raises(InputError, match="worst_margin: got nan, needed a number below"):
        settle(recorder, Kind.SAMPLED, "joint_budget", t(0.5, math.nan, 1.0), instances=3, witness=str)


def test_minus_infinity_is_a_violation(recorder: Recorder) -> None:
    with pytest.raises(Refuted):
        settle(recorder, Kind.SAMPLED, "joint_budget", t(0.5, -INF), instances=2, witness=str)
