"""T8 under attack: no constant step has a budget for a map that is not globally Lipschitz, and where one has it is exact."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
import sympy
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.bounds import VerdictKind
from eqtheory.constructions import ConstantRelaxation, adaptive_relaxation
from eqtheory.roundoff import gamma
from eqtheory.targets import CATALOGUE, OscillatingMap, ReciprocalMap, TanMap, Target
from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.margins import relative_margin, settle
from eqtheory.theorems.naive_averaging import constant_step_budget, violation
from eqtheory.theorems.sufficiency import BUDGET
from proofs_check import controls
from proofs_check.instances import MANY, generator

LIPSCHITZ: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "sin": (torch.sin, 1.0),
    "tanh(7x)": (lambda x: torch.tanh(7 * x), 7.0),
    "|x|": (torch.abs, 1.0),
    "3 clip(x, -1, 1)": (lambda x: 3 * x.clamp(-1, 1), 3.0),
}


@pytest.mark.theorem("T8", part="holds")
@pytest.mark.parametrize("represented", CATALOGUE, ids=lambda t: t.name)
def test_holds(evidence: Recorder, represented: Target) -> None:
    """Every claim of a budget is refuted by a pair of inputs, for every map of the catalogue."""

    @given(st.floats(0, 3).map(lambda e: 10.0**-e), st.floats(-2, 3).map(lambda e: 10.0**e))
    def attack(eps: float, L0: float) -> None:
        verdict = ConstantRelaxation(represented, eps).refute(L0)
        assert verdict.kind is VerdictKind.REFUTED, (
            f"no violation found for {represented.name} at eps = {eps}, L0 = {L0}"
        )
        # The theorem's inequality is `claimed < actual`; its margin is minus the margin of the claim.
        evidence.record(
            Kind.SAMPLED, instances=1, worst_margin=-verdict.worst_margin, quantity=f"violation: {represented.name}"
        )

    attack()


@pytest.mark.theorem("T8", part="holds")
def test_converse_holds(evidence: Recorder) -> None:
    """On globally Lipschitz maps the constant step has exactly the budget of the statement."""

    @given(st.integers(0, 2**32), st.floats(0.001, 1))
    def attack(seed: int, eps: float) -> None:
        g = generator(seed)
        a = 6 * torch.rand(1024, generator=g, dtype=torch.float64) - 3
        b = a + 10.0 ** (-8 * torch.rand(1024, generator=g, dtype=torch.float64))
        for name, (F, slope) in LIPSCHITZ.items():
            sides = constant_step_budget.sides(
                offset_gap=(eps * F(a) - eps * F(b)).abs(), eps=eps, slope=slope, delta=(a - b).abs()
            )
            # The functions round to a few ulps of values at most 3, after a product of the argument with the slope.
            margins = relative_margin(sides, gamma(32, torch.float64) * eps * slope * 4)
            settle(
                evidence,
                Kind.SAMPLED,
                f"constant_step_budget: {name}",
                margins,
                instances=1024,
                witness=lambda i: f"x = {float(a[i])}",
            )

    attack()


@pytest.mark.theorem("T8", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    positive = st.fractions(min_value=Fraction(1, 1000), max_value=1000, max_denominator=1000)

    @MANY
    @given(positive, st.fractions(min_value=Fraction(1, 100), max_value=1, max_denominator=100), positive)
    def equality(slope: Fraction, eps: Fraction, delta: Fraction) -> None:
        lhs, rhs = constant_step_budget.sides(offset_gap=eps * slope * delta, eps=eps, slope=slope, delta=delta)
        assert lhs == rhs
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="constant_step_budget")
        evidence.caught("L0 = 0.99 eps l for F = l x", (Fraction(99, 100) * rhs - lhs) / rhs, kind="tightened")

    equality()


@pytest.mark.theorem("T8", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    controls.constant_step(evidence)
    # With a globally Lipschitz map the conclusion fails: the claimed budget eps l cannot be refuted at any of these pairs.
    x = torch.linspace(-10, 10, 2001, dtype=torch.float64)
    slopes = (torch.sin(x[1:]) - torch.sin(x[:-1])).abs() / (x[1:] - x[:-1])
    assert float(slopes.max()) <= 1 + 1e-12
    evidence.control(
        "N3", f"with F = sin, which is globally Lipschitz, no slope exceeds 1 (largest seen {float(slopes.max()):.9f})"
    )


def steps_that_do_not_adapt() -> dict[str, tuple[Target, Callable[[Target, Tensor], Tensor]]]:
    """Steps that claim the budget of T3 on some map and do not have it."""

    def size_only(F: Target, x: Tensor) -> Tensor:
        return 1 / (1 + F.output_norm(F(x)))

    return {
        "constant step 1/2 on 1/x": (ReciprocalMap(), lambda _, x: torch.full_like(x, 0.5)),
        "constant step 1/1000 on 1/x": (ReciprocalMap(), lambda _, x: torch.full_like(x, 1e-3)),
        "constant step 1/2 on tan": (TanMap(), lambda _, x: torch.full_like(x, 0.5)),
        "a step that sees sizes only, on x sin(1/x^2)": (OscillatingMap(), size_only),
        "a step linear in the distance to the singularity, on x sin(1/x^2)": (
            OscillatingMap(),
            lambda _, x: x.abs().clamp_max(1.0),
        ),
    }


def offset_margin(F: Target, step: Callable[[Target, Tensor], Tensor]) -> float:
    """Worst margin of `|eps F - eps' F'| <= 2 d` over close pairs approaching the singularity."""
    worst = float("inf")
    for slope in (1e2, 1e4, 1e6, 1e8):
        a, b = F.steep_pair(slope)
        gap = (step(F, a) * F(a) - step(F, b) * F(b)).abs()
        lhs, rhs = constant_step_budget.sides(offset_gap=gap, eps=1, slope=BUDGET, delta=(a - b).abs())
        worst = min(worst, float(relative_margin((lhs, rhs), gamma(64, torch.float64) * F(a).abs()).min()))
    return worst


@pytest.mark.theorem("T8", part="rejects")
@pytest.mark.parametrize("name", steps_that_do_not_adapt())
def test_rejects(evidence: Recorder, name: str) -> None:
    F, step = steps_that_do_not_adapt()[name]
    evidence.caught(name, offset_margin(F, step))


@pytest.mark.theorem("T8", part="rejects")
def test_does_not_reject_the_adaptive_step(evidence: Recorder) -> None:
    for F in (ReciprocalMap(), TanMap(), OscillatingMap()):
        margin = offset_margin(F, lambda target, x: adaptive_relaxation(target).step(x))
        assert margin >= 0
        evidence.record(Kind.SAMPLED, instances=4, worst_margin=margin, quantity=f"adaptive step: {F.name}")


@pytest.mark.theorem("T8", part="exact")
def test_exact(evidence: Recorder) -> None:
    x, h, eps, L = sympy.symbols("x h eps L", positive=True)
    # The slope of 1/x between x and 2x is 1/(2 x^2): above L/eps as soon as x < sqrt(eps / (2 L)).
    slope = sympy.simplify((1 / x - 1 / (2 * x)) / x)
    assert sympy.simplify(slope - 1 / (2 * x**2)) == 0
    witness = sympy.sqrt(eps / (4 * L))
    assert sympy.simplify(eps * slope.subs(x, witness) - 2 * L) == 0
    statement = "1/x: for every eps, L > 0 the pair x = sqrt(eps/(4L)), 2x has |G(0,x) - G(0,2x)| = 2 L d"
    evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(1, 2), quantity="violation: 1/x", proved=statement)
    square = sympy.simplify(((x + h) ** 2 - x**2) / h - 2 * x - h)
    assert square == 0
    statement = "x^2: the slope between x and x + h is 2x + h, above L/eps at x = L/eps"
    evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(1, 2), quantity="violation: x^2", proved=statement)

    positive = st.fractions(min_value=Fraction(1, 1000), max_value=10**6, max_denominator=1000)

    @MANY
    @given(positive, st.fractions(min_value=Fraction(1, 1000), max_value=1, max_denominator=1000))
    def attack(L0: Fraction, step: Fraction) -> None:
        n = int(L0 / step) + 2
        a, b = Fraction(1, n), Fraction(1, 2 * n)
        claimed, actual = violation.sides(gap=step * abs(1 / a - 1 / b), delta=abs(a - b), L0=L0)
        assert claimed < actual
        evidence.record(Kind.EXACT, instances=1, worst_margin=1 - claimed / actual, quantity="violation: 1/x")

    attack()
