"""T14 under attack: adversarial evaluation errors, and the rounding of real floating-point iterations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, target
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.norms import Euclidean
from eqtheory.roundoff import Rounding, unit_roundoff
from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.margins import exact_margin, relative_margin, settle
from eqtheory.theorems.inexactness import inexact_fixed_point, inexact_limit
from proofs_check import controls
from proofs_check.instances import MANY, SHAPES, Contractions, draw_contractions, generator

NORM = Euclidean()
STEPS = 40
Sides = Callable[..., tuple[Any, Any]]
HONEST: dict[str, Sides] = {"inexact_limit": inexact_limit.sides, "inexact_fixed_point": inexact_fixed_point.sides}

WRONG: dict[str, tuple[str, Sides]] = {
    "kappa left out of the denominator": (
        "inexact_limit",
        lambda *, error, mu, theta, kappa, solution_norm: (error, (theta + kappa * solution_norm) / (1 - mu)),
    ),
    "theta alone": ("inexact_limit", lambda *, error, mu, theta, kappa, **_: (error, theta / (1 - mu - kappa))),
    "the condition number forgotten": (
        "inexact_limit",
        lambda *, error, theta, kappa, solution_norm, **_: (error, theta + kappa * solution_norm),
    ),
    "mu off by 1%": ("inexact_limit", lambda *, mu, **q: inexact_limit.sides(mu=0.99 * mu, **q)),
    "the error of one step only": (
        "inexact_fixed_point",
        lambda *, error, theta, kappa, computed_norm, **_: (error, theta + kappa * computed_norm),
    ),
    "mu off by 1% at a fixed point": (
        "inexact_fixed_point",
        lambda *, mu, **q: inexact_fixed_point.sides(mu=0.99 * mu, **q),
    ),
    "kappa left out at a fixed point": (
        "inexact_fixed_point",
        lambda *, error, mu, theta, **_: (error, theta / (1 - mu)),
    ),
}


def outward(G: Contractions, y: Tensor) -> Tensor:
    """The worst direction of an error: away from the fixed point, or along the solution where the state sits on it."""
    away = y - G.solution
    away = torch.where((NORM(away) > 0).unsqueeze(1), away, G.solution)
    return away / NORM(away).clamp_min(1e-300).unsqueeze(1)


def comparisons(G: Contractions, theta: Tensor, kappa: Tensor) -> Iterator[tuple[str, dict[str, Any], Tensor]]:
    """Iterates started at the fixed point obey the limit's bound at every step, so nothing has to converge first."""
    size = NORM(G.solution)
    y = G.solution
    for _ in range(STEPS):
        exact = G(y)
        y = exact + (theta + kappa * NORM(y)).unsqueeze(1) * outward(G, exact)
        quantities = {
            "error": NORM.distance(y, G.solution),
            "mu": G.mu,
            "theta": theta,
            "kappa": kappa,
            "solution_norm": size,
        }
        yield "inexact_limit", quantities, G.slack(y)
    # Any state is a fixed point of the operator perturbed by exactly its own residual; kappa |y| and theta share it.
    residual = NORM.distance(G(y), y)
    part = (residual / (theta + kappa * NORM(y))).clamp_max(1e300)
    quantities = {
        "error": NORM.distance(y, G.solution),
        "mu": G.mu,
        "theta": part * theta,
        "kappa": part * kappa,
        "computed_norm": NORM(y),
    }
    yield "inexact_fixed_point", quantities, G.slack(y)


def draw(seed: int, dimension: int, nearness: float, batch: int) -> tuple[Contractions, Tensor, Tensor]:
    g = generator(seed)
    G = draw_contractions(batch=batch, dimension=dimension, nearness=nearness, scale=1.0, g=g)
    theta = 10.0 ** (-6 * torch.rand(batch, generator=g, dtype=torch.float64))
    # kappa takes up to nine tenths of what is left of 1 - mu.
    kappa = (1 - G.mu) * 0.9 * torch.rand(batch, generator=g, dtype=torch.float64)
    return G, theta, kappa


@pytest.mark.theorem("T14", part="holds")
def test_holds(evidence: Recorder) -> None:
    @given(st.integers(0, 2**32), st.integers(1, 6), st.floats(0.5, 6))
    def attack(seed: int, dimension: int, nearness: float) -> None:
        G, theta, kappa = draw(seed, dimension, nearness, batch=768)
        margins: dict[str, list[Tensor]] = {name: [] for name in HONEST}
        for name, quantities, slack in comparisons(G, theta, kappa):
            margins[name].append(relative_margin(HONEST[name](**quantities), slack))
        for name, found in margins.items():
            worst = settle(evidence, Kind.SAMPLED, name, torch.stack(found), instances=len(G), witness=G.describe)
        evidence.regimes(G.counts())
        target(-worst)

    attack()
    evidence.require_regimes(*SHAPES, "mu above 0.999", "mu below 0.5")


def float_floors(dtype: torch.dtype, mu: float, seed: int) -> tuple[Tensor, Tensor]:
    """Errors of converged floating-point iterations of `y -> mu y + b`, and the bound T14 derives for them."""
    rounding = Rounding(relative=2.0, constant=lambda b: b.abs())
    b = torch.rand(512, generator=generator(seed), dtype=torch.float64).to(dtype) + 0.5
    factor = torch.tensor(mu, dtype=dtype)
    y = torch.zeros_like(b)
    for _ in range(int(40 / (1 - mu))):
        y = factor * y + b
    solution = b.double() / (1 - factor.double())
    error = (y.double() - solution).abs()
    theta = rounding.error(torch.zeros_like(b), b).double()
    kappa = 2 * unit_roundoff(dtype)
    bound = inexact_limit.sides(error=error, mu=float(factor), theta=theta, kappa=kappa, solution_norm=solution.abs())[
        1
    ]
    return error, bound


@pytest.mark.theorem("T14", part="holds")
@pytest.mark.parametrize(
    ("dtype", "mu"), [(torch.float32, 0.9), (torch.float32, 0.99), (torch.float32, 0.999), (torch.bfloat16, 0.9)]
)
def test_derived_tolerances_are_neither_violated_nor_vacuous(evidence: Recorder, dtype: torch.dtype, mu: float) -> None:
    """Two roundings per step: `|fl(mu y + b) - (mu y + b)| <= u (2 |mu y| + |b|)` to first order."""
    error, bound = float_floors(dtype, mu, seed=3)
    margins = relative_margin((error, bound), unit_roundoff(dtype) * bound)
    name = f"inexact_limit: {str(dtype).removeprefix('torch.')} at mu = {mu}"
    settle(
        evidence, Kind.SAMPLED, name, margins, instances=512, witness=lambda i: f"sample {i}: error {float(error[i])}"
    )
    # Not vacuous: some sample comes within a factor of 4 of the bound.
    assert float((error / bound).max()) > 1 / 4, (
        f"bound {float(bound.max()):.3g}, largest error {float(error.max()):.3g}"
    )


@pytest.mark.theorem("T14", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    unit = st.fractions(min_value=Fraction(1, 100), max_value=Fraction(1, 3), max_denominator=100)

    @MANY
    @given(
        unit,
        unit,
        st.fractions(min_value=0, max_value=5, max_denominator=20),
        st.fractions(min_value=Fraction(1, 100), max_value=1, max_denominator=100),
    )
    def equality(mu: Fraction, kappa: Fraction, b: Fraction, theta: Fraction) -> None:
        solution = b / (1 - mu)
        # The inexact operator (mu + kappa) y + b + theta on y >= 0 has this fixed point, which is also its limit.
        computed = (b + theta) / (1 - mu - kappa)
        assert mu * computed + b + theta + kappa * computed == computed
        error = abs(computed - solution)
        for name, sides in (
            (
                "inexact_limit",
                inexact_limit.sides(error=error, mu=mu, theta=theta, kappa=kappa, solution_norm=solution),
            ),
            (
                "inexact_fixed_point",
                inexact_fixed_point.sides(error=error, mu=mu, theta=theta, kappa=kappa, computed_norm=computed),
            ),
        ):
            lhs, rhs = sides
            assert lhs == rhs
            evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity=name)
            evidence.caught(name, (Fraction(99, 100) * rhs - lhs) / rhs, kind="tightened")

    equality()


@pytest.mark.theorem("T14", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    controls.no_contraction(evidence)
    # mu + kappa = 1: errors grow by theta + kappa |y*| at every step, without end, although mu = 1/2 alone contracts.
    mu = kappa = Fraction(1, 2)
    y = Fraction(0)
    for _ in range(1000):
        y = mu * y + Fraction(1, 1000) + kappa * y
    assert y == 1
    evidence.control(
        "N2",
        "mu = kappa = 1/2, theta = 1/1000, b = 0: the error after 1000 steps is exactly 1 and grows by 1/1000 a step",
    )


@pytest.mark.theorem("T14", part="rejects")
@pytest.mark.parametrize("name", WRONG)
def test_rejects(evidence: Recorder, name: str) -> None:
    about, wrong = WRONG[name]
    worst = float("inf")
    for dimension in (1, 3):
        G, theta, kappa = draw(5, dimension, 0.8, batch=600)
        for inequality, quantities, slack in comparisons(G, theta, kappa):
            if inequality == about:
                worst = min(worst, float(relative_margin(wrong(**quantities), slack).min()))
    evidence.caught(name, worst)


@pytest.mark.theorem("T14", part="exact")
def test_exact(evidence: Recorder) -> None:
    """Rational scalar iterations with errors of varying sign and size, all within the allowance."""
    unit = st.fractions(min_value=0, max_value=Fraction(2, 5), max_denominator=50)
    signed = st.fractions(min_value=-1, max_value=1, max_denominator=10)

    @MANY
    @given(
        unit,
        unit,
        st.fractions(min_value=0, max_value=1, max_denominator=20),
        signed,
        st.lists(signed, min_size=1, max_size=8),
    )
    def attack(mu: Fraction, kappa: Fraction, theta: Fraction, b: Fraction, errors: list[Fraction]) -> None:
        solution = b / (1 - mu)
        y, margins = solution, []
        for share in errors:
            y = mu * y + b + share * (theta + kappa * abs(y))
            lhs, rhs = inexact_limit.sides(
                error=abs(y - solution), mu=mu, theta=theta, kappa=kappa, solution_norm=abs(solution)
            )
            margins.append(exact_margin((lhs, rhs)))
        evidence.record(Kind.EXACT, instances=1, worst_margin=min(margins), quantity="inexact_limit")
        residual = abs(mu * y + b - y)
        sides = inexact_fixed_point.sides(error=abs(y - solution), mu=mu, theta=residual, kappa=0, computed_norm=abs(y))
        evidence.record(Kind.EXACT, instances=1, worst_margin=exact_margin(sides), quantity="inexact_fixed_point")

    attack()
