"""T5 under attack: what approaches a steep map is steep or wrong, at every step and for every pair."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
import sympy
import torch
from hypothesis import given, target
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.norms import Norm, Sum, Sup
from eqtheory.roundoff import gamma
from eqtheory.solvers import OnFailure, Picard, Stop, fixed_point
from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.finite_spaces import METRIC_REGIMES, VALUE_REGIMES, FiniteBatch, draw_finite_spaces
from eqtheory.testing.margins import exact_margin, relative_margin, settle
from eqtheory.testing.zoo import BrokenBound, broken_bounds
from eqtheory.theorems.arrival import arrival, arrival_in_the_limit
from proofs_check.instances import MANY, generator

WRONG = broken_bounds("T5")


def sequences(spaces: FiniteBatch, g: torch.Generator) -> Iterator[tuple[int, Tensor]]:
    """Iterates that converge to the values of the spaces: a relaxation with its own step at every point, plus a fading wobble."""
    eps = 0.25 + 0.75 * torch.rand(spaces.sizes.shape, generator=g, dtype=torch.float64)
    wobble = torch.randn(spaces.values.shape, generator=g, dtype=torch.float64)
    first = (spaces.distances == 0).double().argmax(dim=2)  # coinciding points carry one iterate
    eps, wobble = eps.gather(1, first), wobble.gather(1, first.unsqueeze(-1).expand_as(wobble))
    for t in (0, 1, 2, 5, 20, 200):
        reached = 1 - (1 - eps) ** t
        yield t, reached.unsqueeze(-1) * spaces.values + (1 / 8) ** t * wobble


def slack_of(spaces: FiniteBatch, y: Tensor) -> Tensor:
    """Gaps, errors and the slope times its distance are differences of stored numbers: a few roundings of their sizes."""
    size = spaces.sizes + spaces.norm(y.flatten(0, 1)).reshape(spaces.sizes.shape)
    return gamma(16, y.dtype) * (size.unsqueeze(2) + size.unsqueeze(1))


def quantities_of(spaces: FiniteBatch, y: Tensor) -> dict[str, Tensor]:
    """What the finite form speaks about, for all pairs."""
    flat = (y - spaces.values).flatten(0, 1)
    errors = spaces.norm(flat).reshape(spaces.sizes.shape)
    gaps = spaces.gaps(y)
    apart = spaces.distances > 0
    slopes = torch.where(apart, gaps / torch.where(apart, spaces.distances, 1.0), 0.0)
    return {
        "target_gap": spaces.gaps(spaces.values),
        "slope": slopes.amax(dim=(1, 2), keepdim=True) * (1 + gamma(16, y.dtype)),
        "delta": spaces.distances,
        "error": errors.unsqueeze(2),
        "error_other": errors.unsqueeze(1),
    }


@pytest.mark.theorem("T5", part="holds")
def test_holds(evidence: Recorder) -> None:
    @given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 3), st.sampled_from([Sup(), Sum()]))
    def attack(seed: int, points: int, dimension: int, norm: Norm) -> None:
        g = generator(seed)
        spaces = draw_finite_spaces(batch=192, points=points, dimension=dimension, norm=norm, generator=g)
        worst = torch.ones(len(spaces), dtype=torch.float64)
        for t, y in sequences(spaces, g):
            found = quantities_of(spaces, y)
            margins = relative_margin(arrival.sides(**found), slack_of(spaces, y))
            # Pairs of coinciding points hold trivially and would hide how close the others come.
            margins = torch.where(spaces.distances > 0, margins, 1.0)
            worst = torch.minimum(worst, margins.flatten(1).amin(dim=1))
            if t == 200:
                # The errors are below 0.75^200 of the values: what the finite form leaves is the limit.
                apart = torch.where(spaces.distances > 0, spaces.distances, torch.inf)
                fading = found["error"] + found["error_other"] + slack_of(spaces, y)
                limit = relative_margin(
                    arrival_in_the_limit.sides(
                        target_slope=spaces.slopes().amax(dim=(1, 2)), limit_slope=found["slope"].flatten()
                    ),
                    2 * (fading / apart).amax(dim=(1, 2)),
                )
                settle(
                    evidence,
                    Kind.SAMPLED,
                    "arrival_in_the_limit",
                    limit,
                    instances=len(spaces),
                    witness=spaces.describe,
                )
        evidence.regimes(spaces.regime_counts())
        target(-settle(evidence, Kind.SAMPLED, "arrival", worst, instances=len(spaces), witness=spaces.describe))

    attack()
    evidence.require_regimes(*METRIC_REGIMES, *VALUE_REGIMES)


@pytest.mark.theorem("T5", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    """`y_t = (1 - c) F` on two points with `F(x') = -F(x)`: equality at every step, and slopes rise to `lip F` from below."""
    positive = st.fractions(min_value=Fraction(1, 50), max_value=50, max_denominator=50)

    @MANY
    @given(positive, positive, st.fractions(min_value=0, max_value=1, max_denominator=40))
    def equality(value: Fraction, delta: Fraction, c: Fraction) -> None:
        slope = (1 - c) * 2 * value / delta
        lhs, rhs = arrival.sides(target_gap=2 * value, slope=slope, delta=delta, error=c * value, error_other=c * value)
        assert lhs == rhs
        evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity="arrival")
        evidence.caught("right side 1% smaller", exact_margin((lhs, Fraction(99, 100) * rhs)), kind="tightened")
        limit = arrival_in_the_limit.sides(target_slope=2 * value / delta, limit_slope=2 * value / delta)
        evidence.record(Kind.EXACT, instances=1, worst_margin=exact_margin(limit), quantity="arrival_in_the_limit")
        smaller = arrival_in_the_limit.sides(
            target_slope=2 * value / delta, limit_slope=Fraction(199, 100) * value / delta
        )
        evidence.caught("limit 0.5% smaller", exact_margin(smaller), kind="tightened")

    equality()


@pytest.mark.theorem("T5", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    """Without convergence nothing has to arrive: `G = -y + 2 x` has the fixed point x, and every second Picard iterate is 0."""
    x = torch.tensor([0.0, 1.0], dtype=torch.float64)
    swing = fixed_point(
        lambda y, u: -y + 2 * u,
        x,
        torch.zeros_like(x),
        solver=Picard(),
        stop=Stop(max_steps=40),
        on_failure=OnFailure.RETURN,
    )
    assert not bool(swing.converged.all())
    y, slopes = x * 0, []
    for _ in range(6):
        y = -y + 2 * x
        slopes.append(float(y[1] - y[0]))
    assert min(slopes) == 0.0
    assert arrival_in_the_limit.margin(target_slope=1.0, limit_slope=min(slopes)) < 0
    evidence.control("N2", f"-y + 2 x: slopes {slopes} around a fixed point of slope 1; the lower limit is 0")
    # Convergence at all points but one is not enough either: y_t = 0 tends to F = 0 except at 1, where F = 1.
    assert arrival_in_the_limit.margin(target_slope=1, limit_slope=0) < 0
    # And nothing is bounded from above: F + sin(t^2 x)/t tends to F uniformly, with slope t near 0.
    t = sympy.Symbol("t", positive=True)
    u = sympy.Symbol("u")
    assert sympy.diff(sympy.sin(t**2 * u) / t, u).subs(u, 0) == t


def steep_approach(t: int) -> tuple[FiniteBatch, Tensor]:
    """`y_t = sin(t^2 x)/t` at `F = 0` on three points, one pair of which sees the slope."""
    x = torch.tensor([0.0, torch.pi / 2 / t**2, 1.0], dtype=torch.float64)
    distances = (x.unsqueeze(1) - x).abs().unsqueeze(0)
    values = torch.zeros(1, 3, 1, dtype=torch.float64)
    return FiniteBatch(distances, values, Sup(), ("sin(t^2 x)/t",)), (torch.sin(t**2 * x) / t).reshape(1, 3, 1)


@pytest.mark.theorem("T5", part="rejects")
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_rejects(evidence: Recorder, wrong: BrokenBound) -> None:
    def all_of() -> Iterator[tuple[FiniteBatch, Tensor]]:
        for norm in (Sup(), Sum()):
            spaces = draw_finite_spaces(batch=96, points=4, dimension=2, norm=norm, generator=generator(1))
            for _, y in sequences(spaces, generator(2)):
                yield spaces, y
        two = FiniteBatch(
            torch.tensor([[[0.0, 1.0], [1.0, 0.0]]], dtype=torch.float64),
            torch.tensor([[[3.0], [-3.0]]], dtype=torch.float64),
            Sup(),
        )
        yield two, 0.5 * two.values
        yield steep_approach(50)

    worst = float("inf")
    for spaces, y in all_of():
        found = quantities_of(spaces, y)
        slack = slack_of(spaces, y)
        assert float(relative_margin(arrival.sides(**found), slack).min()) >= 0
        worst = min(worst, float(relative_margin(wrong.sides(**found), slack).min()))
    evidence.caught(wrong.name, worst)


@pytest.mark.theorem("T5", part="exact")
def test_exact(evidence: Recorder) -> None:
    number = st.fractions(min_value=-4, max_value=4, max_denominator=10)
    rows: Any = st.dictionaries(number, st.tuples(number, number), min_size=2, max_size=5)

    @MANY
    @given(rows)
    def attack(table: dict[Fraction, tuple[Fraction, Fraction]]) -> None:
        x = list(table)
        F, wobble = (list(column) for column in zip(*table.values(), strict=True))
        pairs = [(i, j) for i in range(len(x)) for j in range(i)]
        for t in (1, 3, 9):
            y = [v + w / 2**t for v, w in zip(F, wobble, strict=True)]
            slope = max(abs(y[i] - y[j]) / abs(x[i] - x[j]) for i, j in pairs)
            margins = [
                exact_margin(
                    arrival.sides(
                        target_gap=abs(F[i] - F[j]),
                        slope=slope,
                        delta=abs(x[i] - x[j]),
                        error=abs(y[i] - F[i]),
                        error_other=abs(y[j] - F[j]),
                    )
                )
                for i, j in pairs
            ]
            evidence.record(Kind.EXACT, instances=1, worst_margin=min(margins), quantity="arrival")

    attack()
    # Slopes of (1 - c_t) F are (1 - c_t) lip F, so their limit is lip F: the lower limit is attained.
    c, slope = sympy.symbols("c slope", positive=True)
    assert sympy.limit((1 - c) * slope, c, 0) == slope
    evidence.record(
        Kind.EXACT,
        instances=1,
        worst_margin=Fraction(0),
        quantity="arrival_in_the_limit",
        proved="lip((1 - c) F) = (1 - c) lip F tends to lip F as c -> 0",
    )
