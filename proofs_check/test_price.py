"""T6 under attack: the number of Picard steps a slope costs, and the constant step that pays about as much."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import ceil, log

import pytest
import torch
from hypothesis import given, target
from hypothesis import strategies as st

from eqtheory.roundoff import gamma
from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.margins import exact_margin, relative_margin, settle
from eqtheory.testing.zoo import BrokenBound, broken_bounds
from eqtheory.theorems.naive_averaging import constant_step_budget
from eqtheory.theorems.price import constant_step_error, price_of_slope
from proofs_check import controls
from proofs_check.bound_parts import Comparison, rejects
from proofs_check.growths import KINDS, Growth, affine, draw_growth
from proofs_check.instances import MANY, generator

STEPS = 8
WRONG = broken_bounds("T6")
HONEST = {bound.name: bound.sides for bound in (price_of_slope, constant_step_error)}


def prices(G: Growth, g: torch.Generator) -> Iterator[Comparison]:
    """For every pair and step: targets that differ from the iterate by a random or by the worst error."""
    m = G.start.shape[1]
    i, j = torch.triu_indices(m, m, 1)
    delta = G.distances[:, i, j]
    budget = {"L0": G.L0.unsqueeze(1), "L1": G.L1.unsqueeze(1)}
    y, size = G.start, G.sizes(G.start)
    start_slope = G.gaps(y)[:, i, j] / delta
    for t in range(1, STEPS + 1):
        size = torch.maximum(size, G.sizes(y))  # of the iterates stepped from
        y = G(y)
        for worst in (True, False):
            off = torch.sign(y) if worst else 2 * torch.rand(y.shape, generator=g, dtype=torch.float64) - 1
            F = y + 0.5 * (1 + y.abs().amax(dim=(1, 2), keepdim=True)) * off
            error = (F - y).abs().amax(dim=-1)
            quantities = {
                "target_gap": G.gaps(F)[:, i, j],
                "error": torch.maximum(error[:, i], error[:, j]),
                "start_slope": start_slope,
                "delta": delta,
                "size": size.unsqueeze(1),
                "steps": t * torch.ones_like(delta),
                **budget,
            }
            # Rounding of the iterates and of the target, in units of the budget.
            largest = torch.maximum(size, F.abs().amax(dim=(1, 2)))
            bought = delta * (budget["L0"] + budget["L1"] * size.unsqueeze(1))
            slack = 8 * G.rounding(largest, t).unsqueeze(1) / bought + gamma(32, torch.float64) * (t + 1)
            yield "price_of_slope", quantities, slack


def constant_steps(slope: float, share: float) -> Iterator[Comparison]:
    """`y + (L0/l)(F - y)` from 0 towards `F(x) = l x` on [-1,1], whose largest error is attained at 1."""
    L0 = torch.tensor([share * slope], dtype=torch.float64)
    y, F = torch.zeros(1, dtype=torch.float64), torch.tensor([slope], dtype=torch.float64)
    for t in range(1, 4 * STEPS):
        y = y + L0 / slope * (F - y)
        quantities = {"error": (F - y).abs(), "L0": L0, "slope": slope, "steps": t, "start_error": F}
        yield "constant_step_error", quantities, gamma(8 * t, torch.float64) * F


@pytest.mark.theorem("T6", part="holds")
def test_holds(evidence: Recorder) -> None:
    @given(st.integers(0, 2**32), st.integers(2, 4), st.integers(1, 3))
    def attack(seed: int, points: int, dimension: int) -> None:
        g = generator(seed)
        G = draw_growth(batch=240, points=points, dimension=dimension, g=g)
        worst = torch.ones(len(G), dtype=torch.float64)
        for name, quantities, slack in prices(G, g):
            worst = torch.minimum(worst, relative_margin(HONEST[name](**quantities), slack).amin(dim=1))
        evidence.regimes(G.counts())
        target(-settle(evidence, Kind.SAMPLED, "price_of_slope", worst, instances=len(G), witness=G.describe))

    attack()
    evidence.require_regimes(*KINDS, "factor exactly one", "start not constant")


@pytest.mark.theorem("T6", part="holds")
def test_holds_for_constant_steps(evidence: Recorder) -> None:
    @given(st.floats(0.1, 1e4), st.floats(0.001, 1.0), st.floats(1e-6, 0.2))
    def attack(slope: float, share: float, eta: float) -> None:
        for _, quantities, slack in constant_steps(slope, share):
            margins = relative_margin(constant_step_error.sides(**quantities), slack)
            settle(
                evidence,
                Kind.SAMPLED,
                "constant_step_error",
                margins,
                instances=1,
                witness=lambda _: f"l = {slope}, L0/l = {share}",
            )
        # After (l/L0) log(M/eta) steps the error is at most eta; the lower bound asks for l/(2 L0) of them.
        enough = ceil(log(1 / eta) / share)
        assert (1 - share) ** enough <= eta * (1 + 1e-9)
        lower, _ = price_of_slope.sides(
            target_gap=2 * slope,
            error=eta * slope,
            start_slope=0.0,
            delta=2.0,
            L0=share * slope,
            L1=0.0,
            size=0.0,
            steps=0,
        )
        if 4 * eta <= 2:
            assert lower >= 1 / (2 * share) * (1 - 1e-12)
            assert lower <= enough

    attack()


@pytest.mark.theorem("T6", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    positive = st.fractions(min_value=Fraction(1, 9), max_value=9, max_denominator=9)

    @MANY
    @given(positive, st.fractions(min_value=0, max_value=5, max_denominator=9), positive, st.integers(1, 30))
    def equality(L0: Fraction, eta: Fraction, start: Fraction, steps: int) -> None:
        # y_t = (start + t L0) x on {-1, 1}; F = (start + T L0) x + eta sign(x).
        gap = 2 * (start + steps * L0 + eta)
        quantities = {"start_slope": start, "delta": Fraction(2), "L0": L0, "L1": 0, "size": 0, "steps": steps}
        lhs, rhs = price_of_slope.sides(target_gap=gap, error=eta, **quantities)
        assert lhs == rhs
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="price_of_slope")
        evidence.caught("budget 1% smaller", exact_margin((lhs * 100 / 99, Fraction(rhs))), kind="tightened")
        # Regular operators approach it: G = mu y + L0 x with mu = 1 - 10^-9 needs T steps for what the bound prices at T (1 - 5 T 10^-10).
        mu = 1 - Fraction(1, 10**9)
        reached = mu**steps * start + L0 * (1 - mu**steps) / (1 - mu)
        lhs, rhs = price_of_slope.sides(target_gap=2 * (reached + eta), error=eta, **quantities)
        assert rhs * (1 - Fraction(1, 10**6) * (1 + start / L0)) <= lhs <= rhs
        # The constant step: its error is an equality for every t.
        share = L0 / (L0 + 1)
        lhs, rhs = constant_step_error.sides(
            error=(1 - share) ** steps * gap, L0=L0, slope=L0 + 1, steps=steps, start_error=gap
        )
        assert lhs == rhs
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="constant_step_error")
        evidence.caught("error 1% smaller", exact_margin((lhs, Fraction(99, 100) * rhs)), kind="tightened")

    equality()


@pytest.mark.theorem("T6", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    controls.adaptive_weights(evidence)
    # What Anderson computes in 2 evaluations on 0.999 y + x costs Picard at least 1000 (1 - eta) steps.
    needed, _ = price_of_slope.sides(target_gap=1000, error=0, start_slope=0, delta=1, L0=1, L1=0, size=0, steps=2)
    assert needed == 1000
    evidence.control(
        "N8", "a slope of 1000 within budget L0 = 1: Picard's price is 1000 steps, Anderson paid 2 evaluations"
    )


@pytest.mark.theorem("T6", part="rejects")
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_rejects(evidence: Recorder, wrong: BrokenBound) -> None:
    def all_of() -> Iterator[Comparison]:
        for G in (
            affine(1.0, 1.0, 0.0),
            affine(1.0, 1.0, 3.0),
            draw_growth(batch=96, points=3, dimension=2, g=generator(5)),
        ):
            yield from prices(G, generator(3))
        # A state of size 10^3 that drifts by L1 |y| a step and nothing else: the start is opposite at the two points.
        drift = Growth(
            torch.tensor([[[[1.0]], [[0.999]]]], dtype=torch.float64),
            torch.zeros(1, 2, 1, dtype=torch.float64),
            torch.tensor([False]),
            torch.tensor([[[0.0, 1.0], [1.0, 0.0]]], dtype=torch.float64),
            torch.full((1, 2, 1), 1000.0, dtype=torch.float64),
            ("drift",),
        )
        nudged = Growth(
            drift.A, torch.tensor([[[1e-3], [0.0]]], dtype=torch.float64), *list(drift.__dict__.values())[2:6]
        )
        yield from prices(nudged, generator(3))
        yield from constant_steps(1.0, 0.5)

    rejects(evidence, wrong, HONEST, all_of())


@pytest.mark.theorem("T6", part="exact")
def test_exact(evidence: Recorder) -> None:
    """Rational pairs of scalar operators and arbitrary targets; and the budget of the constant step, which T8's converse gives."""
    factor = st.fractions(min_value=-1, max_value=1, max_denominator=12)
    number = st.fractions(min_value=-5, max_value=5, max_denominator=12)
    positive = st.fractions(min_value=Fraction(1, 12), max_value=5, max_denominator=12)

    @MANY
    @given(st.tuples(factor, factor), st.tuples(number, number), st.tuples(number, number), number, positive)
    def attack(
        a: tuple[Fraction, Fraction],
        b: tuple[Fraction, Fraction],
        start: tuple[Fraction, Fraction],
        off: Fraction,
        delta: Fraction,
    ) -> None:
        L0, L1 = abs(b[0] - b[1]) / delta, abs(a[0] - a[1]) / delta
        y, size = start, Fraction(0)
        for t in range(1, 5):
            size = max(size, *map(abs, y))
            y = (a[0] * y[0] + b[0], a[1] * y[1] + b[1])
            if L0 + L1 * size == 0:
                return
            sides = price_of_slope.sides(
                target_gap=abs(y[0] - y[1] + 2 * off),
                error=abs(off),
                start_slope=abs(start[0] - start[1]) / delta,
                delta=delta,
                L0=L0,
                L1=L1,
                size=size,
                steps=Fraction(t),
            )
            margin = exact_margin(sides) if sides[0] > 0 else Fraction(1)
            evidence.record(Kind.EXACT, instances=1, worst_margin=margin, quantity="price_of_slope")

    attack()

    @MANY
    @given(number, number, positive, st.fractions(min_value=Fraction(1, 9), max_value=1, max_denominator=9))
    def constant(value: Fraction, other: Fraction, delta: Fraction, share: Fraction) -> None:
        slope = abs(value - other) / delta
        if slope == 0:
            return
        eps = share  # L0 / l
        lhs, rhs = constant_step_budget.sides(offset_gap=eps * abs(value - other), eps=eps, slope=slope, delta=delta)
        assert lhs == rhs == share * slope * delta
        y = Fraction(0)
        for t in range(1, 6):
            y += eps * (value - y)
            sides = constant_step_error.sides(
                error=abs(y - value), L0=share * slope, slope=slope, steps=t, start_error=max(abs(value), abs(other))
            )
            evidence.record(Kind.EXACT, instances=1, worst_margin=exact_margin(sides), quantity="constant_step_error")

    constant()
