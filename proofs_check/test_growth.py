"""T4 under attack: how steep Picard iterates get, with every constant of the three forms."""

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

from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.margins import exact_margin, relative_margin, settle
from eqtheory.testing.zoo import BrokenBound, broken_bounds
from eqtheory.theorems.growth import (
    accumulated_budget,
    geometric_growth,
    linear_growth,
    one_step,
    quadratic_growth,
    size_growth,
)
from proofs_check import controls
from proofs_check.bound_parts import Comparison, rejects
from proofs_check.growths import KINDS, Growth, affine, draw_growth, reciprocals
from proofs_check.instances import MANY, generator

STEPS = 10
HONEST = {
    bound.name: bound.sides for bound in (one_step, geometric_growth, linear_growth, size_growth, quadratic_growth)
}
WRONG = broken_bounds("T4")


def comparisons(G: Growth) -> Iterator[Comparison]:
    """Quantities of every form along Picard's path, with the slack that rounding is granted."""
    y, sizes = G.start, []
    budget = {"L0": G.L0, "L1": G.L1}
    start = G.slopes(y)
    i, j = torch.triu_indices(y.shape[1], y.shape[1], 1)
    i, j = torch.cat([i, j]), torch.cat([j, i])
    for t in range(1, STEPS + 1):
        sizes.append(G.sizes(y))
        after = G(y)
        largest = torch.stack([*sizes, G.sizes(after)]).amax(dim=0)
        pairs = {
            "gap_after": G.gaps(after)[:, i, j],
            "gap_before": G.gaps(y)[:, i, j],
            "mu_other": G.mu[:, j],
            "state_norm": y.abs().amax(dim=-1)[:, i],
            "delta": G.distances[:, i, j],
            "L0": G.L0.unsqueeze(1),
            "L1": G.L1.unsqueeze(1),
        }
        yield "one_step", pairs, 4 * G.rounding(largest, t).unsqueeze(1).expand(-1, len(i))
        slack, slope = G.slope_slack(largest, t), G.slopes(after)
        common = {"slope": slope, "start_slope": start, "steps": t}
        accumulated = accumulated_budget(sizes, mu=G.m, **budget)
        yield "geometric_growth", {**common, "mu": G.m, "accumulated": accumulated}, slack
        yield "linear_growth", {**common, "size": torch.stack(sizes).amax(dim=0), **budget}, slack
        zero = {"image_of_zero": G.image_of_zero}
        yield "quadratic_growth", {**common, "start_size": sizes[0], **zero, **budget}, slack
        yield (
            "size_growth",
            {"size": G.sizes(after), "start_size": sizes[0], "steps": t, **zero},
            G.rounding(largest, t),
        )
        y = after


@pytest.mark.theorem("T4", part="holds")
def test_holds(evidence: Recorder) -> None:
    @given(st.integers(0, 2**32), st.integers(2, 5), st.integers(1, 3))
    def attack(seed: int, points: int, dimension: int) -> None:
        G = draw_growth(batch=480, points=points, dimension=dimension, g=generator(seed))
        worst: dict[str, Tensor] = {}
        for name, quantities, slack in comparisons(G):
            margins = relative_margin(HONEST[name](**quantities), slack).reshape(len(G), -1).amin(dim=1)
            worst[name] = torch.minimum(worst.get(name, margins), margins)
        found = [
            settle(evidence, Kind.SAMPLED, name, margins, instances=len(G), witness=G.describe)
            for name, margins in worst.items()
        ]
        evidence.regimes(G.counts())
        target(-min(found))

    attack()
    evidence.require_regimes(*KINDS, "factor exactly one", "factor below a half", "start not constant")


@pytest.mark.theorem("T4", part="sharp")
def test_sharp_geometric(evidence: Recorder) -> None:
    """`G = mu y + L0 x` from `y_0 = s x`: equality for every t, for one pair and for every pair, factor 1 included."""
    unit = st.fractions(min_value=0, max_value=1, max_denominator=60)

    @MANY
    @given(unit, st.fractions(min_value=Fraction(1, 20), max_value=9, max_denominator=20), unit, unit)
    def equality(mu: Fraction, L0: Fraction, start: Fraction, x: Fraction) -> None:
        y, other, steps = start * x, start * (x + 1), 6
        for t in range(1, steps + 1):
            before, size = abs(y - other), abs(y)
            y, other = mu * y + L0 * x, mu * other + L0 * (x + 1)
            slope = abs(y - other)
            step = one_step.sides(
                gap_after=slope, gap_before=before, mu_other=mu, state_norm=size, delta=1, L0=L0, L1=0
            )
            accumulated = accumulated_budget([0] * t, mu=mu, L0=L0, L1=0)
            whole = geometric_growth.sides(slope=slope, start_slope=start, mu=mu, steps=t, accumulated=accumulated)
            for name, (lhs, rhs) in (("one_step", step), ("geometric_growth", whole)):
                assert lhs == rhs
                evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity=name)
                evidence.caught(f"{name} 1% smaller", exact_margin((lhs, Fraction(99, 100) * rhs)), kind="tightened")
            if mu == 1:
                lhs, rhs = linear_growth.sides(slope=slope, start_slope=start, steps=t, size=0, L0=L0, L1=0)
                assert lhs == rhs

    equality()


@pytest.mark.theorem("T4", part="sharp")
def test_sharp_quadratic(evidence: Recorder) -> None:
    """T7 on (0,1]: slopes approach `eta^2 t (t-1)/2` at 0, where the operator is `y + eta`, and sizes approach `t eta`."""
    for eta in (Fraction(1, 3), Fraction(1, 2), Fraction(99, 100)):
        x, tiny = Fraction(1, 10**12), Fraction(1, 10**9)
        y, other = Fraction(0), Fraction(0)
        for t in range(1, 13):
            y, other = y - eta * (x * y - 1), other - eta * (tiny * other - 1)
            slope = abs(y - other) / (tiny - x)
            bounds = {
                "quadratic_growth": quadratic_growth.sides(
                    slope=slope, start_slope=0, steps=t, start_size=0, image_of_zero=eta, L0=0, L1=eta
                ),
                "size_growth": size_growth.sides(size=abs(y), start_size=0, steps=t, image_of_zero=eta),
            }
            for name, (lhs, rhs) in bounds.items():
                assert rhs * (1 - Fraction(1, 10**6)) <= lhs <= rhs
                evidence.record(Kind.EXACT, instances=1, worst_margin=exact_margin((lhs, rhs)), quantity=name)
                if rhs:
                    tight = exact_margin((lhs, Fraction(99, 100) * rhs))
                    evidence.caught(f"{name} 1% smaller", tight, kind="tightened")


@pytest.mark.theorem("T4", part="sharp")
def test_sharp_linear_for_all_steps(evidence: Recorder) -> None:
    """`F = sin log(1/x)`, `eps = x`: `L1 = 1`, `L0 = sqrt(2)`, `R <= 1`, and slopes at least `sqrt(2) t`, in balls.

    `y_t = (1 - (1-x)^t) F`. At `x = exp(-u)`, `u = 3 pi/4 + 2 pi n`, the slope of `y_t` is
    `t (1-x)^(t-1) sin u - (1 - (1-x)^t)/x cos u`, and tends to `sqrt(2) t` as `n` grows.
    """
    from flint import arb, ctx

    ctx.prec = 400
    u = 3 * arb.pi() / 4 + 2 * arb.pi() * 8
    x = (-u).exp()
    assert ((x * u.sin()) / x - u.cos() - arb(2).sqrt()).contains(0)  # the slope of x F is L0 there
    for t in (1, 10, 1000, 10**6):
        slope = t * (1 - x) ** (t - 1) * u.sin() - (1 - (1 - x) ** t) / x * u.cos()
        # x is about 1e-23, so (1-x)^t differs from 1 - t x by less than t^2 x^2.
        assert slope > t * (arb(2).sqrt() - arb("1e-10"))
        lhs, rhs = linear_growth.sides(slope=slope, start_slope=0, steps=t, size=1, L0=arb(2).sqrt(), L1=1)
        margin = 1 - lhs / rhs
        assert margin > arb("0.4")
        assert margin < arb("0.415")  # 1 - sqrt(2)/(1 + sqrt(2)) = 0.4142...: linear growth is possible for all t
        evidence.record(
            Kind.BALL, instances=1, worst_margin=float(margin.lower()), quantity="linear_growth: sin log(1/x)"
        )
    evidence.caught(
        "growth by less than sqrt(2) a step", float((1 - slope / (t * arb("1.41"))).mid()), kind="tightened"
    )


@pytest.mark.theorem("T4", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    controls.adaptive_weights(evidence)
    # A factor of 2: the slopes double and (a) fails, while the geometric form, which holds for any factor, is attained.
    slope, size = Fraction(0), 0
    for t in range(1, 11):
        slope = 2 * slope + 1
        accumulated = accumulated_budget([size] * t, mu=Fraction(2), L0=Fraction(1), L1=0)
        assert geometric_growth.margin(slope=slope, start_slope=0, mu=2, steps=t, accumulated=accumulated) == 0
    assert linear_growth.margin(slope=slope, start_slope=0, steps=t, size=0, L0=1, L1=0) < 0
    evidence.control("N2", f"2 y + x from 0: slope {slope} after {t} steps, against {t} for factors up to 1")


@pytest.mark.theorem("T4", part="rejects")
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_rejects(evidence: Recorder, wrong: BrokenBound) -> None:
    operators = [
        affine(1.0, 1.0, 0.0),
        affine(0.5, 1.0, 3.0),
        affine(0.99, 1.0, 1.0),
        reciprocals(0.9, (1e-9, 1e-6, 1.0)),
        *(draw_growth(batch=96, points=points, dimension=2, g=generator(points)) for points in (2, 4)),
    ]
    rejects(evidence, wrong, HONEST, (found for G in operators for found in comparisons(G)))


@pytest.mark.theorem("T4", part="exact")
def test_exact(evidence: Recorder) -> None:
    """Rational scalar operators `a_i y + b_i` on rational points: all forms, without rounding."""
    factor = st.fractions(min_value=-1, max_value=1, max_denominator=12)
    number = st.fractions(min_value=-5, max_value=5, max_denominator=12)
    rows = st.dictionaries(number, st.tuples(factor, number, number), min_size=2, max_size=4)

    @MANY
    @given(rows)
    def attack(table: dict[Fraction, tuple[Fraction, Fraction, Fraction]]) -> None:
        x = list(table)
        a, b, y = (list(column) for column in zip(*table.values(), strict=True))

        def lip(values: list[Fraction]) -> Fraction:
            return max(abs(values[i] - values[j]) / abs(x[i] - x[j]) for i in range(len(x)) for j in range(i))

        L0, L1, m, g = lip(b), lip(a), max(map(abs, a)), max(map(abs, b))
        sizes: list[Fraction] = []
        start, start_size = lip(y), max(map(abs, y))
        for t in range(1, 6):
            sizes.append(max(map(abs, y)))
            y = [p * v + q for p, v, q in zip(a, y, b, strict=True)]
            common: dict[str, Any] = {"slope": lip(y), "start_slope": start, "steps": t}
            accumulated = accumulated_budget(sizes, mu=m, L0=L0, L1=L1)
            found = (
                (geometric_growth, {**common, "mu": m, "accumulated": accumulated}),
                (linear_growth, {**common, "size": max(sizes), "L0": L0, "L1": L1}),
                (quadratic_growth, {**common, "start_size": start_size, "image_of_zero": g, "L0": L0, "L1": L1}),
                (size_growth, {"size": max(map(abs, y)), "start_size": start_size, "steps": t, "image_of_zero": g}),
            )
            for bound, quantities in found:
                margin = exact_margin(bound.sides(**quantities))
                evidence.record(Kind.EXACT, instances=1, worst_margin=margin, quantity=bound.name)

    attack()


@pytest.mark.theorem("T4", part="exact")
def test_exact_identities(evidence: Recorder) -> None:
    """For all t: T7's slope at 0 is `-eta^2 t (t-1)/2`, the affine iterate has slope `mu^t s + L0 (1-mu^t)/(1-mu)`."""
    x, eta, mu, L0, s, w = sympy.symbols("x eta mu L0 s w", positive=True)
    t = sympy.Symbol("t", integer=True, nonnegative=True)
    # The slope of T7 obeys D_{t+1} = (1 - eta x) D_t - eta y_t; at x = 0, y_t = t eta.
    slope = -(eta**2) * t * (t - 1) / 2
    identities = {
        "T7 at 0: D_{t+1} = D_t - eta (t eta), D_0 = 0, for D_t = -eta^2 t (t-1)/2": slope.subs(t, t + 1)
        - (slope - eta * (t * eta)),
        "mu y + L0 x from s x: slope mu^t s + L0 (1 - mu^t)/(1 - mu)": mu * (mu**t * s + L0 * (1 - mu**t) / (1 - mu))
        + L0
        - (mu ** (t + 1) * s + L0 * (1 - mu ** (t + 1)) / (1 - mu)),
        "eps = x, F = sin log(1/x): x F has the slope sin w - cos w at w = log(1/x)": (
            sympy.diff(x * sympy.sin(sympy.log(1 / x)), x).subs(x, sympy.exp(-w)) - (sympy.sin(w) - sympy.cos(w))
        ),
    }
    for statement, difference in identities.items():
        assert sympy.simplify(difference) == 0, statement
        evidence.record(
            Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity=statement.split(":")[0], proved=statement
        )
