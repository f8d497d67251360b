"""A number cannot claim more than it was labelled with, and two sides that cross are refused."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from fractions import Fraction

import pytest
import torch

from eqtheory.bounds import Bound, Bracket, Evidence, LocalBound, Side, Verdict, VerdictKind
from eqtheory.errors import BoundOrderError, InputError

LABELS = [(side, evidence) for side in Side for evidence in Evidence]


def proved(value: object, side: Side) -> Bound:
    return Bound(value, side, method=f"T{value}", evidence=Evidence.PROVED)


@pytest.mark.parametrize(("side", "evidence"), LABELS)
def test_a_bound_is_an_estimate_exactly_when_it_was_estimated(side: Side, evidence: Evidence) -> None:
    consistent = (side is Side.ESTIMATE) == (evidence is Evidence.ESTIMATED)
    if consistent:
        assert Bound(1.0, side, "m", evidence).side is side
        assert LocalBound(abs, side, "m", evidence).side is side
        return
    expected = f"side: got {side.value} with evidence '{evidence.value}', needed an estimate to be labelled an estimate"
    for build in (lambda: Bound(1.0, side, "m", evidence), lambda: LocalBound(abs, side, "m", evidence)):
        with pytest.raises(InputError) as caught:
            build()
        assert str(caught.value).startswith(expected)
        assert "use Side.ESTIMATE with Evidence.ESTIMATED" in str(caught.value)


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (Bound(2.0, Side.UPPER, "T3", Evidence.PROVED), "<= 2.0 (upper bound, proved: T3)"),
        (Bound(2.0, Side.LOWER, "pairs", Evidence.PROVED), ">= 2.0 (lower bound, proved: pairs)"),
        (Bound(2.0, Side.EXACT, "all pairs", Evidence.PROVED), "= 2.0 (exact value, proved: all pairs)"),
        (Bound(2.0, Side.ESTIMATE, "fit", Evidence.ESTIMATED), "~ 2.0 (estimate: fit)"),
        (
            Bound(Fraction(1, 2), Side.UPPER, "argument", Evidence.DECLARED, norm="sup", assumptions=("a", "b")),
            "<= 1/2 in sup (upper bound, declared by the user: argument; assuming a; b)",
        ),
    ],
)
def test_a_bound_prints_its_side_and_its_origin(bound: Bound, text: str) -> None:
    assert str(bound) == text


def test_a_constant_bound_is_the_same_at_every_input() -> None:
    assert proved(0.5, Side.UPPER).at(torch.randn(3, generator=torch.Generator().manual_seed(0))) == 0.5


def test_a_local_bound_is_evaluated_at_the_inputs() -> None:
    mu = LocalBound(lambda x: 1 - x, Side.EXACT, "T7", Evidence.PROVED)
    assert torch.equal(mu.at(torch.tensor([0.25, 1.0])), torch.tensor([0.75, 0.0]))


def test_a_local_bound_needs_a_callable() -> None:
    with pytest.raises(InputError, match="function: got float, needed a callable of the input; use Bound for a const"):
        LocalBound(0.5, Side.UPPER, "m", Evidence.PROVED)


@pytest.mark.parametrize("value", [Bound(1.0, Side.UPPER, "m", Evidence.PROVED), proved(1, Side.EXACT)])
def test_labels_cannot_be_changed_afterwards(value: Bound) -> None:
    with pytest.raises(FrozenInstanceError):
        value.side = Side.EXACT  # type: ignore[misc]


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        (proved(1, Side.LOWER), proved(2, Side.UPPER)),
        (proved(2, Side.LOWER), proved(2, Side.UPPER)),
        (proved(1, Side.EXACT), proved(1, Side.EXACT)),
        (proved(Fraction(1, 3), Side.LOWER), proved(Fraction(1, 3), Side.EXACT)),
        (proved(0.0, Side.LOWER), proved(float("inf"), Side.UPPER)),
    ],
)
def test_a_bracket_keeps_two_sides_in_order(lower: Bound, upper: Bound) -> None:
    bracket = Bracket(lower, upper)
    assert (bracket.lower, bracket.upper) == (lower, upper)


def test_sides_that_cross_are_refused_with_both_numbers_and_methods() -> None:
    lower = Bound(3.0, Side.LOWER, "pair ratios", Evidence.PROVED)
    upper = Bound(2.5, Side.UPPER, "declared product", Evidence.DECLARED)
    with pytest.raises(BoundOrderError) as caught:
        Bracket(lower, upper)
    assert str(caught.value) == (
        "the lower bound 3.0 (pair ratios) exceeds the upper bound 2.5 (declared product): one of them is wrong"
    )


@pytest.mark.parametrize("bad", [float("nan")])
@pytest.mark.parametrize("which", ["lower", "upper"])
def test_a_bound_that_is_not_a_number_brackets_nothing(bad: float, which: str) -> None:
    sides = {"lower": proved(1.0, Side.LOWER), "upper": proved(2.0, Side.UPPER)}
    sides[which] = proved(bad, sides[which].side)
    with pytest.raises(BoundOrderError, match="nan"):
        Bracket(**sides)


@pytest.mark.parametrize(
    ("lower", "upper", "message"),
    [
        (proved(1, Side.UPPER), proved(2, Side.UPPER), "lower: got upper bound, needed a lower bound"),
        (proved(1, Side.LOWER), proved(2, Side.LOWER), "upper: got lower bound, needed a"),
        (
            Bound(1.0, Side.ESTIMATE, "fit", Evidence.ESTIMATED),
            proved(2, Side.UPPER),
            "lower: got estimate, needed a lower bound; an estimate or the other side proves nothing",
        ),
    ],
)
def test_a_bracket_takes_no_estimate_and_no_wrong_side(lower: Bound, upper: Bound, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Bracket(lower, upper)
    assert str(caught.value).startswith(message)


def test_a_bracket_of_numbers_per_sample_is_compared_sample_by_sample() -> None:
    lower, upper = torch.tensor([1.0, 2.0]), torch.tensor([1.5, 2.0])
    Bracket(proved(lower, Side.LOWER), proved(upper, Side.UPPER))
    with pytest.raises(BoundOrderError) as caught:
        Bracket(proved(lower, Side.LOWER), proved(upper - torch.tensor([0.0, 1.0]), Side.UPPER))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("kind", VerdictKind)
@pytest.mark.parametrize("witness", [None, "points 1 and 0", 0])
def test_a_verdict_has_a_witness_exactly_when_it_refutes(kind: VerdictKind, witness: object) -> None:
    if (witness is not None) == (kind is VerdictKind.REFUTED):
        assert Verdict(kind, 3, 0.5, "m", witness).witness is witness
        return
    with pytest.raises(InputError, match=r"witness: got .*, needed a witness exactly when refuted; pass the failing"):
        Verdict(kind, 3, 0.5, "m", witness)


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        (Verdict(VerdictKind.PROVED, 3, 0.25, "integers"), "proved (3 cases, smallest margin 0.25; integers)"),
        (
            Verdict(VerdictKind.REFUTED, 3, -1.5, "integers", "points 1 and 0"),
            "refuted (witness: points 1 and 0; margin -1.5; integers)",
        ),
        (
            Verdict(VerdictKind.NOT_REFUTED, 1000, 1.2345e-4, "pairs"),
            "not refuted (1000 trials, worst margin 0.000123; pairs)",
        ),
    ],
)
def test_a_verdict_prints_what_was_established(verdict: Verdict, text: str) -> None:
    assert str(verdict) == text
