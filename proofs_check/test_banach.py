"""T1 under attack: three error bounds, on iterates and on arbitrary states, honest and tampered with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, target
from hypothesis import strategies as st
from torch import Tensor

from eqtheory.norms import Euclidean, Sup
from eqtheory.testing.evidence import Kind, Recorder
from eqtheory.testing.margins import exact_margin, relative_margin, settle
from eqtheory.theorems import Inequality
from eqtheory.theorems.banach import a_posteriori, a_priori, residual_bound
from proofs_check import controls
from proofs_check.instances import MANY, SHAPES, Contractions, draw_contractions, generator

NORM = Euclidean()
STEPS = 12
Sides = Callable[..., tuple[Any, Any]]
HONEST: dict[str, Sides] = {bound.name: bound.sides for bound in (a_priori, a_posteriori, residual_bound)}

WRONG: dict[str, tuple[str, Sides]] = {
    "the residual taken for the error": ("residual_bound", lambda *, error, residual, **_: (error, residual)),
    "mu off by 1% in the residual bound": (
        "residual_bound",
        lambda *, mu, **q: residual_bound.sides(mu=0.99 * mu, **q),
    ),
    "the step of a relaxed iteration taken for the residual": (
        "residual_bound",
        lambda *, residual, **q: residual_bound.sides(residual=residual / 2, **q),
    ),
    "a-priori bound one step ahead": ("a_priori", lambda *, steps, **q: a_priori.sides(steps=steps + 1, **q)),
    "mu off by 1% in the a-priori bound": ("a_priori", lambda *, mu, **q: a_priori.sides(mu=0.99 * mu, **q)),
    "a-posteriori bound without 1/(1 - mu)": (
        "a_posteriori",
        lambda *, error, mu, last_step: (error, mu * last_step),
    ),
    "mu off by 1% in the a-posteriori bound": (
        "a_posteriori",
        lambda *, mu, **q: a_posteriori.sides(mu=0.99 * mu, **q),
    ),
}


def comparisons(G: Contractions, y0: Tensor, anywhere: Tensor) -> Iterator[tuple[str, dict[str, Any], Tensor]]:
    """Quantities of the three bounds: along Picard's path, and at a state nobody iterated to."""
    y, first = y0, None
    for t in range(1, STEPS + 1):
        after = G(y)
        last = NORM.distance(after, y)
        first = last if first is None else first
        error, slack = NORM.distance(after, G.solution), G.slack(y0, y, after)
        yield "a_priori", {"error": error, "mu": G.mu, "first_step": first, "steps": t}, slack
        yield "a_posteriori", {"error": error, "mu": G.mu, "last_step": last}, slack
        y = after
    residual = NORM.distance(G(anywhere), anywhere)
    quantities = {"error": NORM.distance(anywhere, G.solution), "mu": G.mu, "residual": residual}
    yield "residual_bound", quantities, G.slack(anywhere)


def draw(seed: int, dimension: int, nearness: float, exponent: int, batch: int) -> tuple[Contractions, Tensor, Tensor]:
    g = generator(seed)
    scale = 10.0**exponent
    G = draw_contractions(batch=batch, dimension=dimension, nearness=nearness, scale=scale, g=g)
    far = scale * 10 * torch.randn(2, batch, dimension, generator=g, dtype=torch.float64)
    return G, far[0], far[1]


@pytest.mark.theorem("T1", part="holds")
def test_holds(evidence: Recorder) -> None:
    @given(st.integers(0, 2**32), st.integers(1, 6), st.floats(0.5, 8), st.integers(-6, 6))
    def attack(seed: int, dimension: int, nearness: float, exponent: int) -> None:
        G, y0, anywhere = draw(seed, dimension, nearness, exponent, batch=1536)
        margins: dict[str, list[Tensor]] = {name: [] for name in HONEST}
        for name, quantities, slack in comparisons(G, y0, anywhere):
            margins[name].append(relative_margin(HONEST[name](**quantities), slack))
        worst = min(
            settle(evidence, Kind.SAMPLED, name, torch.stack(found), instances=len(G), witness=G.describe)
            for name, found in margins.items()
        )
        evidence.regimes(G.counts())
        target(-worst)

    attack()
    evidence.require_regimes(*SHAPES, "mu above 0.999", "mu below 0.5")


@pytest.mark.theorem("T1", part="sharp")
def test_sharp(evidence: Recorder) -> None:
    @MANY
    @given(
        st.fractions(min_value=0, max_value=1, max_denominator=10**6).filter(lambda q: 0 < q < 1),
        st.fractions(max_denominator=1000),
        st.fractions(max_denominator=1000),
    )
    def equality(mu: Fraction, b: Fraction, start: Fraction) -> None:
        solution = b / (1 - mu)
        y0 = start if start != solution else start + 1
        y, first = y0, abs(mu * y0 + b - y0)
        weakest: dict[str, Fraction] = {}
        for t in range(1, 6):
            after = mu * y + b
            error, last = abs(after - solution), abs(after - y)
            comparisons: tuple[tuple[str, dict[str, Any]], ...] = (
                ("a_priori", {"error": error, "mu": mu, "first_step": first, "steps": t}),
                ("a_posteriori", {"error": error, "mu": mu, "last_step": last}),
                ("residual_bound", {"error": abs(y - solution), "mu": mu, "residual": last}),
            )
            for name, quantities in comparisons:
                lhs, rhs = HONEST[name](**quantities)
                assert lhs == rhs, f"{name} is not attained at mu = {mu}, b = {b}, t = {t}"
                # The same inequality with its right side 1% smaller must fail here.
                weakest[name] = max(weakest.get(name, Fraction(-1)), (Fraction(99, 100) * rhs - lhs) / rhs)
            y = after
        for name, margin in weakest.items():
            evidence.record(Kind.EXACT, instances=1, worst_margin=Fraction(0), quantity=name)
            evidence.caught(f"{name} 1% smaller", margin, kind="tightened")

    equality()


@pytest.mark.theorem("T1", part="hypothesis_needed")
def test_hypothesis_needed(evidence: Recorder) -> None:
    controls.no_contraction(evidence)


@pytest.mark.theorem("T1", part="rejects")
@pytest.mark.parametrize("name", WRONG)
def test_rejects(evidence: Recorder, name: str) -> None:
    about, wrong = WRONG[name]
    worst = float("inf")
    for dimension in (1, 2, 5):
        G, y0, anywhere = draw(7, dimension, 4.0, 0, batch=600)
        for inequality, quantities, slack in comparisons(G, y0, anywhere):
            if inequality == about:
                worst = min(worst, float(relative_margin(wrong(**quantities), slack).min()))
    evidence.caught(name, worst)


@pytest.mark.theorem("T1", part="rejects")
def test_rejects_the_spectral_radius_as_a_factor(evidence: Recorder) -> None:
    # A nilpotent matrix has spectral radius 0; taken for the contraction factor it would promise convergence in one step.
    g = generator(11)
    G = draw_contractions(batch=600, dimension=4, nearness=1.0, scale=1.0, g=g)
    nilpotent = torch.tensor([label == "shift" for label in G.labels])
    y = torch.randn(600, 4, generator=g, dtype=torch.float64)
    quantities = {"error": NORM.distance(y, G.solution), "mu": torch.zeros(600), "residual": NORM.distance(G(y), y)}
    margins = relative_margin(residual_bound.sides(**quantities), G.slack(y))[nilpotent]
    evidence.caught("spectral radius in place of the norm", float(margins.min()))


@pytest.mark.theorem("T1", part="exact")
def test_exact(evidence: Recorder) -> None:
    """Rational 2 x 2 affine maps in the sup norm: no rounding anywhere."""
    rational = st.fractions(min_value=-1, max_value=1, max_denominator=50)
    norm = Sup()

    @MANY
    @given(st.lists(rational, min_size=4, max_size=4), st.lists(rational, min_size=6, max_size=6))
    def attack(entries: list[Fraction], rest: list[Fraction]) -> None:
        rows = [entries[:2], entries[2:]]
        size = max(sum(map(abs, row)) for row in rows)
        # Scale to a factor below one, so that nothing drawn is thrown away.
        A = [[a / (size + Fraction(1, 100)) for a in row] for row in rows]
        mu = max(sum(map(abs, row)) for row in A)
        b, y, anywhere = rest[:2], rest[2:4], rest[4:]

        def G(v: list[Fraction]) -> list[Fraction]:
            return [row[0] * v[0] + row[1] * v[1] + c for row, c in zip(A, b, strict=True)]

        def distance(v: list[Fraction], w: list[Fraction]) -> Fraction:
            return norm.exact([p - q for p, q in zip(v, w, strict=True)])

        determinant = (1 - A[0][0]) * (1 - A[1][1]) - A[0][1] * A[1][0]
        solution = [
            ((1 - A[1][1]) * b[0] + A[0][1] * b[1]) / determinant,
            (A[1][0] * b[0] + (1 - A[0][0]) * b[1]) / determinant,
        ]
        assert G(solution) == solution
        found: list[tuple[Inequality, dict[str, Any]]] = [
            (
                residual_bound,
                {"error": distance(anywhere, solution), "mu": mu, "residual": distance(G(anywhere), anywhere)},
            )
        ]
        first = distance(G(y), y)
        for t in range(1, 5):
            after = G(y)
            error = distance(after, solution)
            found.append((a_priori, {"error": error, "mu": mu, "first_step": first, "steps": t}))
            found.append((a_posteriori, {"error": error, "mu": mu, "last_step": distance(after, y)}))
            y = after
        margins: dict[str, list[Fraction]] = {}
        for bound, quantities in found:
            margins.setdefault(bound.name, []).append(exact_margin(bound.sides(**quantities)))
        for name, values in margins.items():
            evidence.record(Kind.EXACT, instances=1, worst_margin=min(values), quantity=name)

    attack()
